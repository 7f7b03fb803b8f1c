"""Blocks that were hashed lately need no hash when they are read again.

What is guaranteed: either the bytes that are served were hashed after they had been read; or their file had,
after they had been read, the same state (inode, size, times of the last write and change) as before another
reading of these blocks, HASHED_SECONDS ago at most, whose bytes had the hashes of the same core on the same
fork. The system sets the time of change with every write, and no program can set it. So what is written is
noticed at once. A medium that decays without a write is noticed after HASHED_SECONDS, and by the proofs of
the worker.

A file that was changed less than QUIET_SECONDS ago proves nothing: a second write in the same tick of the
file system's clock would look like the first.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hypercore.core import StoredRun
from hypercore.ranges import RangeSet

HASHED_SECONDS: Final = 600
"""Seconds after which blocks are hashed again. Ours."""
QUIET_SECONDS: Final = 3
"""Seconds without a change after which the times of a file show a later one: FAT has steps of two. Ours."""
MAX_RANGES: Final = 4096
"""Ranges of blocks that are remembered for one file, at some 100 bytes each; beyond, all are forgotten.
Ours."""
MAX_CORES: Final = 256
"""Cores of which blocks are remembered, those that were opened last; most are read in one range. Ours."""

_State = tuple[int, int, int, int, int]


class HashedBlocks:
    """Those of one core on one fork. Its methods may be called in any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` is that of the file system: seconds since 1970."""
        self._clock = clock
        self._lock = threading.Lock()
        self._blocks = RangeSet()
        self._state: _State | None = None
        self._since = 0.0

    def read(self, run: StoredRun) -> bytes | None:
        """The blocks of the run joined, as guaranteed above. None if one is missing or corrupt."""
        try:
            before = run.file_state()
            data = run.load()
            if data is None or self._knows(run, run.file_state()):
                return data
        except OSError:
            return None
        if not run.matches(data):
            return None
        self._remember(run, before)
        return data

    def _knows(self, run: StoredRun, found: os.stat_result) -> bool:
        with self._lock:
            if _state(found) != self._state or self._is_old:
                return False
            end = self._blocks.end_of(run.start)
            return end is not None and end >= run.start + len(run)

    def _remember(self, run: StoredRun, before: os.stat_result) -> None:
        if self._clock() - max(before.st_ctime, before.st_mtime) < QUIET_SECONDS:
            return
        with self._lock:
            state = _state(before)
            if state != self._state or self._is_old or len(self._blocks) >= MAX_RANGES:
                self._blocks, self._state, self._since = RangeSet(), state, self._clock()
            self._blocks.add(run.start, run.start + len(run))

    @property
    def _is_old(self) -> bool:
        return not 0 <= self._clock() - self._since <= HASHED_SECONDS


class HashedCores:
    """The `HashedBlocks` of cores, also while no drive is open."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Path, bytes, int], HashedBlocks] = OrderedDict()

    def of(self, directory: Path, key: bytes, fork: int) -> HashedBlocks:
        """Those of a core on one fork in the data directory of an engine."""
        place = directory, key, fork
        found = self._found.setdefault(place, HashedBlocks())
        self._found.move_to_end(place)
        if len(self._found) > MAX_CORES:
            self._found.popitem(last=False)
        return found


def _state(found: os.stat_result) -> _State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
