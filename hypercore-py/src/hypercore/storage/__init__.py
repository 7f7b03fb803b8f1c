"""Keeping cores: what is held in memory until it is durable, and the two places it can be kept in.

Nothing in here knows how content is verified: `hypercore.core` puts that on top.
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
