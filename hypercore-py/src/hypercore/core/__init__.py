"""Cores, and the stores that hold them."""

from ..change import Change
from .core import MAX_CORE_BYTES, Core
from .store import Flush, Store, disk_store, memory_store, read_only_store
from .stored_run import StoredRun
from .writing import MAX_BLOCK_BYTES

__all__ = [
    "MAX_BLOCK_BYTES",
    "MAX_CORE_BYTES",
    "Change",
    "Core",
    "Flush",
    "Store",
    "StoredRun",
    "disk_store",
    "memory_store",
    "read_only_store",
]
