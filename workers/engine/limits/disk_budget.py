"""Measures how much may still be stored: by a quota, and by the space that stays free on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hypercore.aio.cores.corestore import DATABASE_SLACK, Corestore

from ...units import format_size
from ..settings.settings import LimitSettings, headroom

NEAR_BYTES = 1 << 30
"""Free bytes from which downloads need not reserve budget: more than arrives between two checks."""

MEASURE_INTERVAL = 600.0
"""Seconds after which stored bytes are counted again, if a bound needs it. In between, received bytes are
added."""

MEASURE_WHEN_FULL = 60.0
"""The same while the disk is full: the writer of a core may have truncated it."""


class DiskBudget(NamedTuple):
    """Bytes that may still be stored, and the bound that decides."""

    left: int
    stored: int
    quota: bool
    """True: the quota; False: the disk."""
    text: str
    """Used and allowed amounts, for people."""


class DiskMeter:
    """`disk_usage` returns (total, used, free) bytes of the disk with `data`."""

    def __init__(
        self, cores: Corestore, data: Path, disk_usage: Callable[[Path], tuple[int, int, int]]
    ) -> None:
        self._cores = cores
        self._data = data
        self._disk_usage = disk_usage
        self._measured: tuple[float, int, int, int] | None = None
        """Time of the last count, the sum, bytes received by then, and size of the database; all bytes."""

    def count_again(self) -> None:
        """Blocks were deleted, or the quota changed: count stored bytes at the next measurement."""
        self._measured = None

    def measure(self, settings: LimitSettings, now: float, *, full: bool) -> DiskBudget:
        """The space left now. `full`: downloads stopped for lack of it, so stored bytes are counted often.

        Raises OSError or StorageError.
        """
        total, _, free = self._disk_usage(self._data)
        kept = headroom(total) if settings.keep_free is None else settings.keep_free
        # Blocks in memory will be on the disk soon
        on_disk = free - kept - self._cores.store.dirty_bytes
        quota = settings.max_bytes
        if quota is None and on_disk >= NEAR_BYTES:
            return DiskBudget(on_disk, 0, False, "")
        stored = self._stored(now, full=full)
        if quota is not None and quota - stored <= on_disk:
            text = f"{format_size(stored)} are stored, {format_size(quota)} may be"
            return DiskBudget(quota - stored, stored, True, text)
        text = f"the disk has {format_size(free)} free"
        if kept:
            text += f", and {format_size(kept)} stay free"
        return DiskBudget(on_disk, stored, False, text)

    def _stored(self, now: float, *, full: bool) -> int:
        """Bytes that stored blocks take."""
        cores = self._cores
        received, database = cores.received_bytes, cores.store.database_bytes()
        every = MEASURE_WHEN_FULL if full else MEASURE_INTERVAL
        if self._measured is None or now - self._measured[0] >= every:
            self._measured = (now, cores.stored_bytes(), received, database)
        _, stored, received_then, database_then = self._measured
        # Separate blocks have many tree nodes, so the database may be larger than their overheads
        return stored + max(received - received_then, database - database_then - DATABASE_SLACK)
