"""Reads ahead of an iteration.

The next blocks of a B-tree are known only when the node above them is read, so an iteration that requests one
block after the other waits a round trip for each. This walks the tree ahead of the iteration, over stored
blocks, and hints to the source which blocks follow. It never waits and raises no errors: the iteration itself
comes to the same place and raises them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..blocks import Prefetch
from ..errors import RemoteProtocolError
from .cache import BlockCache
from .messages import MAX_DEPTH, BeeBlock, Child

FIRST_WINDOW = 16
"""Keys hinted ahead when an iteration begins; doubled each time that it has to wait."""

MAX_WINDOW = 512
"""Largest number of keys hinted ahead (hyperbee index.js sets an inflight range up to 512)."""

UNKNOWN_KEYS = 4
"""Assumed number of keys in a node that is not stored yet."""


class Pending(NamedTuple):
    """A tree node not visited yet, from `slot` on (2i is child i, 2i + 1 is key i)."""

    child: Child
    depth: int
    slot: int | None = None


class Lookahead:
    """Keys (by their blocks) and unvisited nodes ahead of the iteration, in its order. At most a window of
    keys is kept."""

    def __init__(
        self,
        cache: BlockCache,
        prefetch: Prefetch,
        *,
        reverse: bool,
        limit: int | None,
        start: Iterable[Pending],
    ) -> None:
        self._cache = cache
        self._prefetch = prefetch
        self._reverse = reverse
        self._max_window = MAX_WINDOW if limit is None else min(limit, MAX_WINDOW)
        self._window = min(FIRST_WINDOW, self._max_window)
        self._ahead: list[Pending | int] = list(start)
        self._ahead.reverse()  # the nearest last
        self._until_walk = 0
        self._walk({})

    def consumed(self) -> None:
        """The iteration has used one key."""
        self._until_walk -= 1
        if self._until_walk <= 0 or (self._ahead and not isinstance(self._ahead[-1], int)):
            self._walk({})
        if self._ahead and isinstance(self._ahead[-1], int):
            self._ahead.pop()

    def waiting(self) -> None:
        """The iteration is about to wait: hint as many blocks as are known.

        Earlier hints are repeated: a busy source may have ignored them.
        """
        self._window = min(2 * self._window, self._max_window)
        wanted: dict[int, None] = {}
        for item in self._ahead[: -self._window - 1 : -1]:
            wanted[item if isinstance(item, int) else item.child.seq] = None
        self._walk(wanted)

    def _walk(self, wanted: dict[int, None]) -> None:
        todo, passed, keys = self._ahead, list[Pending | int](), 0
        while todo and keys < self._window:
            item = todo.pop()
            if isinstance(item, int):
                keys += 1
                passed.append(item)
                continue
            try:
                block = self._cache.peek(item.child.seq)
                if block is None:
                    keys += UNKNOWN_KEYS
                    passed.append(item)
                else:
                    todo.extend(reversed(self._expand(item, block, wanted)))
            except RemoteProtocolError:
                continue
        todo.extend(reversed(passed))
        self._until_walk = self._window // 4
        if wanted:
            self._prefetch(list(wanted))

    def _expand(self, pending: Pending, block: BeeBlock, wanted: dict[int, None]) -> list[Pending | int]:
        """Add the blocks of a node to `wanted`. Returns its parts."""
        node = block.node(pending.child.offset)
        slots: Iterable[int] = range(2 * len(node.keys) + 1)
        if self._reverse:
            slots = reversed(range(2 * len(node.keys) + 1 if pending.slot is None else pending.slot + 1))
        elif pending.slot is not None:
            slots = range(pending.slot, 2 * len(node.keys) + 1)
        parts: list[Pending | int] = []
        for slot in slots:
            if slot & 1:
                seq = node.keys[slot >> 1]
                parts.append(seq)
            elif node.children and pending.depth < MAX_DEPTH:
                child = node.children[slot >> 1]
                seq = child.seq
                parts.append(Pending(child, pending.depth + 1))
            else:
                continue
            wanted[seq] = None
        return parts
