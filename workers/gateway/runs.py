"""Content that an engine of this machine has stored, read many blocks at a time.

A thread reads and verifies the next run of blocks while the last one is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from hypercore.core import StoredRun
from hypercore.drive import BlobId
from hypercore.errors import BlockNotAvailable

from .hashed import HashedBlocks
from .stored import StoredCore

FIRST_BYTES: Final = 128 << 10
"""Bytes of the first run: a reader waits for it. The following ones are RUN_BYTES."""
RUN_BYTES: Final = 1 << 20
"""Bytes that are read at a time, if the blocks are smaller. A reader holds two runs. Ours."""
MAX_BLOCKS: Final = 256
"""Blocks of a run, if they are tiny."""
THREADS: Final = 4
"""Runs that are read at once, by all readers. Ours."""

Chunk = bytes | memoryview
"""Bytes of a file. They stay as they are."""

_threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="read")


async def stored_content(
    core: StoredCore, blob: BlobId, start: int, length: int
) -> AsyncGenerator[memoryview, None]:
    """Verified bytes of a file whose blocks are in order, from byte `start` on, `length` or fewer: as many
    as can be read in runs. Raises SnapshotNotAvailable as `StoredCore` does."""
    found = _first_block(core, blob, start)
    if found is None:
        return
    index, skip = found
    end = blob.block_offset + blob.block_length
    left, limit = length, FIRST_BYTES
    reading = _begin(core, index, end, min(limit, skip + left))
    while reading is not None:
        # Also read if the reader leaves now: the thread closes the file
        data = await asyncio.shield(reading.data)
        if data is None:
            return
        index += reading.blocks
        piece = memoryview(data)[skip : skip + left]
        skip, left, limit = 0, left - len(piece), RUN_BYTES
        reading = _begin(core, index, end, min(limit, left)) if left else None
        yield piece


class _Reading:
    """A run that a thread reads."""

    def __init__(self, run: StoredRun, hashed: HashedBlocks) -> None:
        self.blocks = len(run)
        self._run = run
        self._hashed = hashed
        self.data = asyncio.get_running_loop().run_in_executor(_threads, self._read)

    def _read(self) -> bytes | None:
        try:
            return self._hashed.read(self._run)
        finally:
            self._run.close()


def _begin(core: StoredCore, index: int, end: int, limit: int) -> _Reading | None:
    run = core.run(index, min(end, index + MAX_BLOCKS), limit) if index < end else None
    return None if run is None else _Reading(run, core.hashed)


def _first_block(core: StoredCore, blob: BlobId, start: int) -> tuple[int, int] | None:
    """The block with byte `start` of the file, and the bytes before it in that block. None if its place is
    not known here."""
    try:
        begin, _ = core.byte_range(blob.block_offset)
        index, skip = core.core.seek(begin + start)
    except (BlockNotAvailable, ValueError):
        return None
    return (index, skip) if index < blob.block_offset + blob.block_length else None
