"""Keys of a seed-list Hyperbee (seedbee, written by simple-seeder), from any source of blocks. No clock, no
network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from hypercore.bee import Bee, BeeEntry
from hypercore.bee.seedlist import ENTRIES, SeedEntry, decode_seed
from hypercore.blocks import BlockSource
from hypercore.errors import BlockNotAvailable, InvalidContent, SnapshotNotAvailable
from hypercore.keys import encode_key
from hypercore.manifest import Manifest
from workers.engine.model.kind import Kind

from .list_formats import Entry, EntryCollector, Parsed, SourceError, clean

MAX_LIST_BYTES: Final = 256 << 20
"""Bytes of blocks that one reading uses. Ours: what MAX_ENTRIES entries need, with the nodes above them."""
BREATHE: Final = 200
"""Entries after which the event loop gets a turn: a stored list is read without waiting."""
_KINDS: Final = {kind.value for kind in Kind}


async def read_list(blocks: BlockSource) -> Parsed:
    """Read the whole current list. A kind other than core, bee or drive is detected from the content; entries
    that are lists themselves are refused, as in simple-seeder.

    Raises SourceError if it is not a seed list, is damaged, too long, or was rewritten while it was read.
    """
    try:
        bee = Bee(blocks).snapshot()
        await bee.header()
        found = EntryCollector()
        count = 0
        async for item in bee.sub(ENTRIES).iterate():
            found.take(partial(_entry, item))
            count += 1
            if count % BREATHE == 0:
                await asyncio.sleep(0)
    except InvalidContent as error:
        raise SourceError(f"this is no seed list: {clean(str(error))}") from None
    except SnapshotNotAvailable:
        raise SourceError("the list was rewritten while it was read") from None
    except BlockNotAvailable as error:
        raise SourceError(f"a part of the list is not available: {clean(str(error))}") from None
    return found.parsed()


def _entry(item: BeeEntry) -> Entry:
    try:
        seed = decode_seed(item.key, item.value)
    except InvalidContent as error:
        raise ValueError(str(error)) from None
    if seed.type == "list":
        raise ValueError(f"{encode_key(seed.key)} is a list; lists of lists are not followed")
    kind = seed.type if seed.type in _KINDS else ""
    return Entry(seed.key.hex(), kind, clean(seed.description), _as_listed(seed))


def _as_listed(seed: SeedEntry) -> dict[str, object]:
    return {
        "type": clean(seed.type, 40),
        "description": clean(seed.description),
        "seeders": seed.seeders,
    }


class BoundedBlocks:
    """A `BlockSource` that raises after MAX_LIST_BYTES and records which blocks were read."""

    def __init__(self, blocks: BlockSource, peek: Callable[[int], bytes | None]) -> None:
        self.wanted: set[int] = set()
        self._blocks = blocks
        self._peek = peek
        self._left = MAX_LIST_BYTES
        self.prefetch: Callable[[Sequence[int]], None] | None = getattr(blocks, "prefetch", None)

    @property
    def key(self) -> bytes:
        return self._blocks.key

    @property
    def length(self) -> int:
        return self._blocks.length

    @property
    def fork(self) -> int:
        return self._blocks.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._blocks.manifest

    async def get(self, index: int) -> bytes:
        return self._count(index, await self._blocks.get(index))

    def peek(self, index: int) -> bytes | None:
        """The block if it is stored, else None. It counts like one that is fetched."""
        block = self._peek(index)
        return None if block is None else self._count(index, block)

    async def update(self) -> bool:
        return await self._blocks.update()

    def _count(self, index: int, block: bytes) -> bytes:
        """Blocks evicted from the reader's cache count again: this bounds work, too."""
        self.wanted.add(index)
        self._left -= len(block)
        if self._left < 0:
            raise SourceError(f"the list is larger than {MAX_LIST_BYTES >> 20} MiB")
        return block
