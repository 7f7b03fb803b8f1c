"""Tree nodes of one core, in pages of 128 slots of 40 bytes.

A slot is the size under the node plus one (8 bytes, little endian; 0: no node) and the hash. A page ends at
its last node. Stored pages end with a CRC-32: a corrupt page counts as lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from struct import Struct
from zlib import crc32

from ..node import Node, new_node
from .base import Backend

NODES_PER_PAGE = 128
NODE_BYTES = 40

_SHIFT = 7
_MASK = NODES_PER_PAGE - 1
_SLOT = Struct("<Q32s")
_read, _write = _SLOT.unpack_from, _SLOT.pack
_EMPTY_PAGE = bytearray()


class PageCache:
    """Unchanged pages of all cores of a store; drops the least recently used first."""

    __slots__ = ("_bytes", "_limit", "_pages")

    OVERHEAD = 250
    """Bytes that a page takes in memory besides its slots (measured)."""

    def __init__(self, limit: int) -> None:
        self._pages: OrderedDict[tuple[int, int], bytearray] = OrderedDict()
        self._bytes = 0
        self._limit = limit

    @property
    def bytes(self) -> int:
        return self._bytes

    def get(self, key: tuple[int, int]) -> bytearray | None:
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def put(self, key: tuple[int, int], page: bytearray) -> None:
        self.take(key)
        self._pages[key] = page
        self._bytes += len(page) + self.OVERHEAD
        while self._bytes > self._limit and len(self._pages) > 1:
            _, old = self._pages.popitem(last=False)
            self._bytes -= len(old) + self.OVERHEAD

    def take(self, key: tuple[int, int]) -> bytearray | None:
        """Remove and return a page; None if it is not cached."""
        page = self._pages.pop(key, None)
        if page is not None:
            self._bytes -= len(page) + self.OVERHEAD
        return page

    def discard(self, core_id: int, first: int, end: int) -> None:
        """Remove the pages first..end of a core."""
        if end - first <= len(self._pages):
            for page in range(first, end):
                self.take((core_id, page))
        else:
            for key in [k for k in self._pages if k[0] == core_id and first <= k[1] < end]:
                self.take(key)


class NodePages:
    """A `NodeSource`. Pages that are not durable are held here, others in the cache."""

    __slots__ = (
        "_backend",
        "_cache",
        "_dirty",
        "_end",
        "_floor",
        "_held",
        "_id",
        "_saving",
        "_valid_end",
        "_void",
        "lost",
    )

    def __init__(self, core_id: int, backend: Backend, cache: PageCache, stored_length: int) -> None:
        self._id = core_id
        self._backend = backend
        self._cache = cache
        self._end = _pages_of(stored_length)  # no page from here on is stored, or in a running flush
        self._held: dict[int, bytearray] = {}
        self._dirty: set[int] | None = None
        self._saving: set[int] | None = None
        self._floor: int | None = None
        self._void: int | None = None  # the floor of the running flush
        self._valid_end = self._end
        """Stored pages from this number on are outdated."""
        self.lost: list[int] | None = None
        """Corrupt pages that were found. The core handles them and removes them from the list."""

    def get(self, index: int, /) -> Node | None:
        page = self._held.get(index >> _SHIFT)
        if page is None:
            page = self._load(index >> _SHIFT)
        at = (index & _MASK) * NODE_BYTES
        if at >= len(page):
            return None
        size, node_hash = _read(page, at)
        return new_node((index, size - 1, node_hash)) if size else None

    def put(self, nodes: Iterable[Node]) -> int:
        """Store nodes. Returns the number of changed slots."""
        changed = 0
        number, page, ours = -1, _EMPTY_PAGE, False  # neighbours share pages: look up each page once
        for index, size, node_hash in nodes:
            if index >> _SHIFT != number:
                number = index >> _SHIFT
                page, ours = self._page(number), False
            slot = _write(size + 1, node_hash)
            at = (index & _MASK) * NODE_BYTES
            if page[at : at + NODE_BYTES] == slot:
                continue
            if not ours:
                page, ours = self._change(number, page), True
            if at > len(page):
                page.extend(bytes(at - len(page)))
            page[at : at + NODE_BYTES] = slot
            changed += 1
        return changed

    def remove(self, index: int) -> None:
        """Remove one node."""
        number, at = index >> _SHIFT, (index & _MASK) * NODE_BYTES
        page = self._page(number)
        if at < len(page):
            self._change(number, page)[at : at + NODE_BYTES] = bytes(NODE_BYTES)

    def truncate(self, length: int) -> None:
        """Remove every node that covers a block from `length` on."""
        first = 2 * length
        depth, left, at = 0, first, first
        while left or at < first:  # ancestors of the first removed leaf that start left of it
            depth += 1
            left = first >> (depth + 1) << (depth + 1)
            at = left + (1 << depth) - 1
            if at < first:
                self.remove(at)
        number, cut = first >> _SHIFT, (first & _MASK) * NODE_BYTES
        self._drop_pages(number + 1 if cut else number)
        if cut and len(page := self._page(number)) > cut:
            del self._change(number, page)[cut:]

    def lose_page(self, number: int) -> None:
        """Treat a page as corrupt."""
        self._change(number, bytearray()).clear()
        self.lost = [*(self.lost or ()), number]

    # --- becoming durable

    def snapshot_changes(self) -> tuple[int | None, list[tuple[int, bytes]]]:
        """The number from which stored pages are deleted (None: none), and the pages to write."""
        floor, self._floor = self._floor, None
        self._void = floor
        self._saving, self._dirty = self._dirty or set(), None
        self._end = max(self._end, max(self._saving, default=-1) + 1)
        self._update_valid_end()
        return floor, [(number, seal(self._held[number])) for number in sorted(self._saving)]

    def commit(self) -> None:
        for number in self._saving or ():
            if self._dirty is None or number not in self._dirty:
                self._cache.put((self._id, number), self._held.pop(number))
        self._saving = self._void = None
        self._update_valid_end()

    def rollback(self, floor: int | None) -> None:
        """The changes of `snapshot_changes` did not become durable: write them again."""
        if self._saving:
            self._dirty = self._saving | (self._dirty or set())
        self._saving = self._void = None
        if floor is not None:
            self._floor = floor if self._floor is None else min(floor, self._floor)
        self._update_valid_end()

    # --- inside

    def _update_valid_end(self) -> None:
        self._valid_end = min(end for end in (self._end, self._floor, self._void) if end is not None)

    def _page(self, number: int) -> bytearray:
        held = self._held.get(number)
        return self._load(number) if held is None else held

    def _load(self, number: int) -> bytearray:
        """A page that is not held here; an absent one is empty. Must not be changed."""
        if number >= self._valid_end:
            return _EMPTY_PAGE
        page = self._cache.get((self._id, number))
        if page is None:
            stored = self._backend.read_node_page(self._id, number)
            page = bytearray() if stored is None else unseal(stored)
            if page is None:
                self.lose_page(number)
                page = self._held[number]
            else:
                self._cache.put((self._id, number), page)
        return page

    def _change(self, number: int, page: bytearray) -> bytearray:
        """A page, held here and marked to be written."""
        held = self._held.get(number)
        if held is None:
            self._cache.take((self._id, number))
            held = self._held[number] = bytearray() if page is _EMPTY_PAGE else page
        if self._dirty is None:
            self._dirty = {number}
        else:
            self._dirty.add(number)
        return held

    def _drop_pages(self, first: int) -> None:
        self._cache.discard(self._id, first, max(self._end, first))
        for number in [n for n in self._held if n >= first]:
            del self._held[number]
        for pages in (self._dirty, self._saving):
            if pages:
                pages.difference_update([n for n in pages if n >= first])
        if first < self._end:
            self._end = first
            self._floor = first if self._floor is None else min(self._floor, first)
            self._update_valid_end()


def seal(page: bytes | bytearray) -> bytes:
    """The stored form of a page."""
    return bytes(page) + crc32(page).to_bytes(4, "little")


def unseal(stored: bytes) -> bytearray | None:
    """The page, or None if the stored form is corrupt."""
    page = bytearray(stored[:-4])
    sound = (
        len(page) % NODE_BYTES == 0
        and len(page) <= NODES_PER_PAGE * NODE_BYTES
        and crc32(page).to_bytes(4, "little") == stored[-4:]
    )
    return page if sound else None


def _pages_of(length: int) -> int:
    """Number of pages of a tree with `length` blocks."""
    return (2 * length + _MASK) >> _SHIFT
