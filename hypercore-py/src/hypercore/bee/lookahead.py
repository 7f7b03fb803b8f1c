"""Reading ahead of an iteration.

A B-tree names its next blocks only once the node above them is here, so an iteration that asks for one
block after the other pays a round trip for each. This walks the tree ahead of the iteration, through
whatever has arrived already, and hints to the source what will be needed. It never waits, and whatever it
meets, it raises nothing: the iteration itself will come to the same place and say what is wrong.
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
"""Most keys hinted ahead (hyperbee index.js sets an inflight range up to 512 for the same purpose)."""

UNKNOWN_KEYS = 4
"""Keys that a node is taken to hold as long as it is not here."""


class Pending(NamedTuple):
    """A tree node not looked at yet, from `slot` on (2i is child i, 2i + 1 is key i), or all of it."""

    child: Child
    depth: int
    slot: int | None = None


class Lookahead:
    """What lies ahead, in the order in which the iteration will come to it: keys (by their blocks), and
    nodes that could not be looked at yet. It ends a window after the iteration, so that is all there is to
    keep."""

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
        """The iteration is about to wait, so this is the time to ask for as much as can be known.

        What was asked for before is asked for again: a source with too much to do may have ignored it.
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
        """Note what a node needs, and return what it consists of."""
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
