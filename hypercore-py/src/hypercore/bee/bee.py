"""Hyperbee: a sorted key-value store in an append-only core. Reading.

Format: hyperbee index.js (2.27.3). The version of a bee is the length of its core: version v has its root
in tree node 0 of block v - 1, and version 1 (a header alone) is empty.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from ..blocks import BlockSource, prefetch_of
from ..errors import BlockNotAvailable, InvalidContent, LocalProtocolError, SnapshotNotAvailable
from .cache import BlockCache
from .iterator import Range, RangeIterator, find_key
from .messages import MAX_DEPTH, PROTOCOL, BeeBlock, Child, Header

SEPARATOR = b"\0"
"""The separator between the prefix of a sub-database and its keys."""

HISTORY_WINDOW = 256
"""Blocks hinted ahead while the history is read."""


class BeeEntry(NamedTuple):
    """A key and its value. `seq` is their block, so the entry is new in version `seq + 1`."""

    seq: int
    key: bytes
    value: bytes | None


class Change(NamedTuple):
    """One block of the history: a put, or a deletion."""

    seq: int
    key: bytes
    value: bytes | None
    deleted: bool


class Bee:
    """A view of a bee: of its latest version, or pinned to one; of all keys, or of a sub-database.

    Views of one source share a cache. Reading raises InvalidContent if the blocks are no valid bee,
    BlockNotAvailable if the source cannot get a block, and SnapshotNotAvailable if the core is truncated
    meanwhile.
    """

    def __init__(
        self,
        source: BlockSource,
        *,
        version: int | None = None,
        prefix: bytes = b"",
        cache: BlockCache | None = None,
    ) -> None:
        self.source = source
        self.prefix = prefix
        self._version = version
        self._cache = cache or BlockCache(source)
        self._prefetch = prefetch_of(source)

    @property
    def version(self) -> int:
        """The version, from 1."""
        return max(1, self.source.length if self._version is None else self._version)

    def checkout(self, version: int) -> Bee:
        """A view of `version`, which must be the end of a batch."""
        if version < 0:
            raise LocalProtocolError(f"version {version} cannot be")
        return Bee(self.source, version=max(1, version), prefix=self.prefix, cache=self._cache)

    def snapshot(self) -> Bee:
        """A view of the current version."""
        return self.checkout(self.version)

    def sub(self, name: bytes | str, *, separator: bytes = SEPARATOR) -> Bee:
        """The sub-database `name`. Its entries have keys without the prefix."""
        raw = name.encode() if isinstance(name, str) else name
        return Bee(
            self.source, version=self._version, prefix=self.prefix + raw + separator, cache=self._cache
        )

    async def update(self) -> bool:
        """Ask the source for a newer head. Returns whether there is one."""
        return await self.source.update()

    async def header(self) -> Header:
        """Block 0. Raises InvalidContent if the core is no bee."""
        header = Header.decode(await self.source.get(0))
        if header.protocol != PROTOCOL:
            raise InvalidContent(f"the core holds {header.protocol[:40]!r}, not a bee")
        return header

    async def get(self, key: bytes) -> BeeEntry | None:
        """The entry with exactly this key."""
        wanted = self.prefix + key
        child = await self._root()
        fork = self.source.fork
        try:
            return await self._find(child, wanted)
        except (InvalidContent, BlockNotAvailable):
            self._require_fork(fork)
            raise

    async def _find(self, child: Child | None, wanted: bytes) -> BeeEntry | None:
        for _ in range(MAX_DEPTH):
            if child is None:
                return None
            node = (await self._cache.get(child.seq)).node(child.offset)
            index, found = await find_key(self._cache, node, wanted, self._prefetch)
            if found:
                return self._entry(await self._cache.get(node.keys[index]))
            child = node.children[index] if node.children else None
        raise InvalidContent(f"bee: the tree is more than {MAX_DEPTH} nodes deep")

    async def iterate(
        self,
        *,
        gt: bytes | None = None,
        gte: bytes | None = None,
        lt: bytes | None = None,
        lte: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[BeeEntry, None]:
        """The entries of a range in the order of their raw key bytes.

        The version is that at the first step. If the writer truncates the core during the iteration, the
        next step raises SnapshotNotAvailable.
        """
        root = await self._root()
        if root is None:
            return
        fork = self.source.fork
        walk = RangeIterator(
            self._cache,
            root,
            self._range(gt, gte, lt, lte),
            reverse=reverse,
            limit=limit,
            prefetch=self._prefetch,
        )
        try:
            async for block in walk.blocks():
                self._require_fork(fork)
                yield self._entry(block)
        except (InvalidContent, BlockNotAvailable):
            self._require_fork(fork)  # a part of the tree is of another history: not invalid content
            raise

    async def history(self, *, since: int = 1) -> AsyncGenerator[Change, None]:
        """The change of each block from version `since` on, oldest first, without those of other
        sub-databases."""
        start, end = max(1, since), self.version
        for seq in range(start, end):
            if self._prefetch is not None and (seq - start) % (HISTORY_WINDOW // 2) == 0:
                self._prefetch(range(seq, min(end, seq + HISTORY_WINDOW)))
            block = await self._cache.get(seq)
            if block.key.startswith(self.prefix):
                yield Change(*self._entry(block), deleted=block.is_deletion())

    async def _root(self) -> Child | None:
        if self._version is None and self.source.length == 0:
            await self.source.update()
        version = self.version
        return Child(version - 1, 0) if version > 1 else None

    def _require_fork(self, fork: int) -> None:
        if self.source.fork != fork:
            raise SnapshotNotAvailable("the core was truncated while it was read")

    def _entry(self, block: BeeBlock) -> BeeEntry:
        return BeeEntry(block.seq, block.key[len(self.prefix) :], block.value)

    def _range(self, gt: bytes | None, gte: bytes | None, lt: bytes | None, lte: bytes | None) -> Range:
        if (gt is not None and gte is not None) or (lt is not None and lte is not None):
            raise LocalProtocolError("give gt or gte, and lt or lte, not both")
        low, high = gt if gt is not None else gte, lt if lt is not None else lte
        high_inclusive = lt is None
        if high is not None:
            high = self.prefix + high
        elif self.prefix:
            high, high_inclusive = end_of_prefix(self.prefix), False
        return Range(
            low=self.prefix + low if low is not None else self.prefix or None,
            low_inclusive=gt is None,
            high=high,
            high_inclusive=high_inclusive,
        )


def end_of_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
