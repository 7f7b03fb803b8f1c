"""Counts the files of drives and their bytes, from the stored blocks, within bounds.

A writer may put millions of entries into a drive. Counting stops at a bound, and takes a small share of the
loop's time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import NamedTuple

from farmwire.message import MAX_COUNT
from hypercore.core import Core
from hypercore.drive import Drive
from hypercore.errors import HypercoreError, InvalidContent
from hypercore.keys import encode_key

from ..model.interfaces import CoreSession
from .changed_drives import ChangedDrives
from .title import Budget, StoredBlocks

MAX_ENTRIES = 20_000
"""Entries of a drive up to which its files are counted. Larger drives have no count. Ours."""

MAX_READ_BLOCKS = 4 * MAX_ENTRIES
"""Blocks that are read for it: a tree has some more than entries. Ours."""

MAX_READ_BYTES = 64 << 20
"""Bytes of these blocks. Ours."""

SLICE_SECONDS = 0.004
"""Seconds of counting in one turn of the loop. Ours."""

PAUSE_SECONDS = 0.2
"""Seconds of rest after each slice: counting takes a fiftieth of the time. Ours."""

COUNT_INTERVAL = 60.0
"""Seconds between two counts of a drive at least. Ours."""

REST = 20.0
"""A drive that takes long to count is not counted again for this many times as long. Ours."""

log = logging.getLogger(__name__)


class Files(NamedTuple):
    """The files and links of one version of a drive."""

    version: int
    """Length of the core that the drive's key names."""
    number: int
    bytes: int | None
    """None: some files have a list of blocks, which alone has their size."""


class _Slices:
    """Rests after each slice."""

    def __init__(self) -> None:
        self._began = perf_counter()

    async def rest(self) -> None:
        if perf_counter() - self._began >= SLICE_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)
            self._began = perf_counter()


class _PacedBlocks(StoredBlocks):
    def __init__(self, core: Core, budget: Budget, slices: _Slices) -> None:
        super().__init__(core, budget)
        self._slices = slices

    async def get(self, index: int) -> bytes:
        await self._slices.rest()
        return self.read(index)


async def count_files(key: bytes, open_session: Callable[[bytes], CoreSession | None]) -> Files | None:
    """Count the files of the drive `key` in what is stored of it. None: it is no readable drive, blocks are
    missing, or there are too many."""
    session = open_session(key)
    if session is None:
        return None
    try:
        budget = Budget(MAX_READ_BLOCKS, MAX_READ_BYTES)
        drive = Drive(_PacedBlocks(session.core, budget, _Slices()), _no_blobs).snapshot()
        await drive.header()  # raises for what is no drive
        version, count, size = drive.version, 0, 0
        is_known = True
        async for entry in drive.list(on_invalid=_skip):
            count += 1
            if count > MAX_ENTRIES:
                return None
            is_known = is_known and entry.size is not None
            size += entry.size or 0
        return Files(version, count, size if is_known and size <= MAX_COUNT else None)
    except HypercoreError:
        return None
    finally:
        session.close()


async def _no_blobs(key: bytes) -> StoredBlocks:
    raise InvalidContent("names and sizes are in the db")


def _skip(path: bytes, error: HypercoreError) -> None:
    """An entry that does not decode is no file."""


class FileCounts:
    """Counts the files of changed drives, one after the other."""

    def __init__(
        self,
        open_session: Callable[[bytes], CoreSession | None],
        *,
        is_wanted: Callable[[bytes], bool],
        on_count: Callable[[bytes, Files | None], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`on_count` is called with each result."""
        self._open_session = open_session
        self._is_wanted = is_wanted
        self._on_count = on_count
        self._clock = clock
        self._drives = ChangedDrives(self._count, is_wanted=is_wanted, pause=PAUSE_SECONDS)

    def changed(self, key: bytes) -> None:
        """A drive changed; its files may have changed."""
        self._drives.changed(key)

    def discard(self, key: bytes) -> None:
        """The key is no longer seeded."""
        self._drives.discard(key)

    async def run(self) -> None:
        """Run until cancelled. An error of one drive is logged and does not affect others."""
        await self._drives.run()

    async def _count(self, key: bytes) -> float:
        began = self._clock()
        try:
            files = await count_files(key, self._open_session)
        except Exception:
            log.exception("cannot count the files of %s", encode_key(key))
            files = None
        if self._is_wanted(key):
            self._on_count(key, files)
        return max(COUNT_INTERVAL, REST * (self._clock() - began))
