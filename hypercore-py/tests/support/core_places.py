"""Stores that can be restarted, and cut off without a flush, over memory and over disk alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from hypercore.core import Core, Store
from hypercore.storage import DiskBackend, MemoryBackend


class Place(ABC):
    store: Store

    @abstractmethod
    def crash(self) -> Store:
        """Loses whatever was not flushed, and starts again."""

    def restart(self) -> Store:
        """Closes in an orderly way, and starts again."""
        self.store.flush()
        return self.crash()

    def close(self) -> None:
        self.store.close()

    def core(self, key: bytes) -> Core:
        core = self.store.open_core(key, create=False)
        assert core is not None
        return core


class MemoryPlace(Place):
    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.store = Store(self.backend)

    def crash(self) -> Store:
        self.store = Store(self.backend)
        return self.store


class DiskPlace(Place):
    def __init__(self, path: Path, *, page_cache_bytes: int = 1 << 20, max_open_files: int = 8) -> None:
        self.path = path
        self.page_cache_bytes = page_cache_bytes
        self.max_open_files = max_open_files
        self.store = self._open()

    def _open(self) -> Store:
        backend = DiskBackend(self.path, max_open_files=self.max_open_files)
        return Store(backend, page_cache_bytes=self.page_cache_bytes)

    def crash(self) -> Store:
        self.store.backend.close()  # lets go of the lock; writes nothing
        self.store.closed = True
        self.store = self._open()
        return self.store


def contents(core: Core) -> dict[int, bytes]:
    """Every block that is present and reads back."""
    found = {}
    for start, end in list(core.bitfield.runs()):
        for index in range(start, end):
            value = core.get(index)
            assert value is not None, f"block {index} is announced and not readable"
            found[index] = value
    return found


def whole(core: Core) -> list[bytes]:
    """All blocks of a complete core."""
    assert core.complete
    return list(contents(core).values())
