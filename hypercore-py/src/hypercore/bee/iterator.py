"""Iterates over a range of the tree in the order of its keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple

from ..blocks import Prefetch
from ..errors import InvalidContent
from .cache import BlockCache
from .lookahead import Lookahead, Pending
from .messages import MAX_DEPTH, BeeBlock, Child, TreeNode

LOOKAHEAD_LIMIT = 8
"""Largest number of keys (one full node) for which an iteration does not read ahead."""


class Range(NamedTuple):
    """Bounds of an iteration; None is unbounded."""

    low: bytes | None = None
    low_inclusive: bool = True
    high: bytes | None = None
    high_inclusive: bool = True

    def is_above_low(self, key: bytes) -> bool:
        return self.low is None or key > self.low or (self.low_inclusive and key == self.low)

    def is_below_high(self, key: bytes) -> bool:
        return self.high is None or key < self.high or (self.high_inclusive and key == self.high)


@dataclass(slots=True)
class Place:
    """A position in one tree node. `slot` is next: 2i is child i, 2i + 1 is key i."""

    child: Child
    node: TreeNode
    slot: int


class RangeIterator:
    """An iteration over the tree of one version. Raises InvalidContent for invalid trees: keys out of order
    (as in every cycle), references out of range, too deep."""

    def __init__(
        self,
        cache: BlockCache,
        root: Child,
        range_: Range,
        *,
        reverse: bool = False,
        limit: int | None = None,
        prefetch: Prefetch | None = None,
    ) -> None:
        self._cache = cache
        self._root = root
        self._range = range_
        self._reverse = reverse
        self._limit = limit
        self._prefetch = prefetch
        self._path: list[Place] = []
        self._previous: bytes | None = None
        self._lookahead: Lookahead | None = None

    async def blocks(self) -> AsyncGenerator[BeeBlock, None]:
        """The blocks with the keys of the range, in order."""
        remaining = self._limit
        if remaining is not None and remaining <= 0:
            return
        await self._seek()
        self._lookahead = self._look_ahead()
        while (block := await self._next()) is not None:
            yield block
            if remaining is not None:
                remaining -= 1
                if remaining == 0:
                    return
            if self._lookahead is not None:
                self._lookahead.consumed()

    async def _seek(self) -> None:
        """Go down to the start of the range."""
        child, wanted = self._root, self._range.high if self._reverse else self._range.low
        if wanted is None:
            await self._enter(child)
            return
        inclusive = self._range.high_inclusive if self._reverse else self._range.low_inclusive
        while True:
            place = await self._enter(child)
            index, found = await find_key(self._cache, place.node, wanted, self._prefetch)
            if found and inclusive:
                place.slot = 2 * index + 1
                return
            if found:
                place.slot = 2 * index + (0 if self._reverse else 2)
                return
            place.slot = 2 * index - 1 if self._reverse else 2 * index + 1
            if not place.node.children:
                return
            child = place.node.children[index]

    async def _enter(self, child: Child) -> Place:
        if len(self._path) >= MAX_DEPTH:
            raise InvalidContent(f"bee: the tree is more than {MAX_DEPTH} nodes deep")
        node = (await self._get(child.seq)).node(child.offset)
        place = Place(child, node, 2 * len(node.keys) if self._reverse else 0)
        self._path.append(place)
        return place

    async def _get(self, seq: int) -> BeeBlock:
        if self._lookahead is not None and self._cache.peek(seq) is None:
            self._lookahead.waiting()
        return await self._cache.get(seq)

    async def _next(self) -> BeeBlock | None:
        step = -1 if self._reverse else 1
        while self._path:
            place = self._path[-1]
            node, slot = place.node, place.slot
            if not 0 <= slot <= 2 * len(node.keys):
                self._path.pop()
                continue
            place.slot = slot + step
            if slot & 1:
                block = await self._get(node.keys[slot >> 1])
                return block if self._is_in_range(block) else None
            if node.children:
                await self._enter(node.children[slot >> 1])
        return None

    def _is_in_range(self, block: BeeBlock) -> bool:
        """Whether the key of a block is in the range. Raises InvalidContent if keys are out of order."""
        key, previous = block.key, self._previous
        if previous is not None and not (key < previous if self._reverse else key > previous):
            raise InvalidContent(f"bee: the key of block {block.seq} is out of order")
        self._previous = key
        return self._range.is_above_low(key) if self._reverse else self._range.is_below_high(key)

    def _look_ahead(self) -> Lookahead | None:
        if self._prefetch is None or (self._limit is not None and self._limit <= LOOKAHEAD_LIMIT):
            return None
        deepest_first = [
            Pending(place.child, depth, place.slot)
            for depth, place in enumerate(self._path)
            if place.slot >= 0
        ][::-1]
        return Lookahead(
            self._cache, self._prefetch, reverse=self._reverse, limit=self._limit, start=deepest_first
        )


async def find_key(
    cache: BlockCache, node: TreeNode, key: bytes, prefetch: Prefetch | None = None
) -> tuple[int, bool]:
    """Number of keys of the node below `key`, and whether the next one is `key`."""
    if prefetch is not None and any(cache.cached(seq) is None for seq in node.keys):
        # Bisecting reads a few keys in sequence, and then a child: fetch them at once
        prefetch([*node.keys, *(child.seq for child in node.children)])
    low, high = 0, len(node.keys)
    while low < high:
        middle = (low + high) >> 1
        found = (await cache.get(node.keys[middle])).key
        if found == key:
            return middle, True
        if found < key:
            low = middle + 1
        else:
            high = middle
    return low, False
