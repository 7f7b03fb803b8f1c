"""Stores cores: changes in memory until they are durable, and two backends (disk, memory).

Content is not verified here: `hypercore.core` does that.
"""

from .base import Backend, Batch, BlockRun, CoreChanges, CoreInfo, CoreRow, Dropped
from .disk import DiskBackend
from .memory import MemoryBackend

__all__ = [
    "Backend",
    "Batch",
    "BlockRun",
    "CoreChanges",
    "CoreInfo",
    "CoreRow",
    "DiskBackend",
    "Dropped",
    "MemoryBackend",
]
