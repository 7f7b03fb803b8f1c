"""A set of block numbers: a bitfield without an end, small for regular contents.

Cores fill from the front and end up complete, so the leading run of ones is one integer, the *prefix*; a
complete core of any length has nothing else. Bits behind the prefix are in pages of 32,768 bits (as in
hypercore lib/bitfield.js). Pages of ones are kept as runs of page numbers, so that setting or clearing a
range of any length changes two pages at most; absent pages are all zeros; *mixed* pages are byte arrays that
end at their last set bit.

Bit k of a page is bit k & 7 of byte k >> 3, which is the order of the little-endian 32-bit words on the wire.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from ._types import Buffer
from .bits import count_ones, empty, fill, first_one, first_zero
from .mixed_pages import MixedPages
from .ranges import RangeSet

PAGE_BITS = 32768
"""Bits in a page."""

PAGE_BYTES = PAGE_BITS // 8
PAGE_OVERHEAD = 200
"""Bytes of memory for a mixed page beside its bits, about."""

RUN_BYTES = 96
"""Bytes of memory for a run of whole pages, about."""

_SHIFT = PAGE_BITS.bit_length() - 1
_MASK = PAGE_BITS - 1
_FULL = b"\xff" * PAGE_BYTES
_NO_RUNS = RangeSet()  # shared, as the next one: most fields have only a prefix
_NO_PAGES = MixedPages()


class Bitfield:
    """A set of non-negative integers.

    `max_pages` bounds the mixed pages and runs of whole pages that a peer can cause. A bit that would need
    another one stays unset (an unknown block of a peer is always safe). The prefix needs no memory.
    """

    __slots__ = ("_beyond", "_full", "_max_pages", "_pages", "_prefix", "extent")

    def __init__(self, *, max_pages: int | None = None) -> None:
        self.extent: int | None = None
        """Mixed pages that begin at this bit or beyond are not stored."""
        self._prefix = 0  # every bit below is set and this one is not
        self._beyond = 0  # number of ones above the prefix
        self._full = _NO_RUNS  # pages of ones, none below the prefix
        self._pages = _NO_PAGES  # mixed pages; their bits below the prefix are ignored
        self._max_pages = max_pages

    @classmethod
    def restore(cls, contiguous: int, pages: Mapping[int, bytes]) -> Bitfield:
        """Restore from `contiguous` and the page images behind it."""
        field = cls()
        field._prefix = contiguous
        for page, image in pages.items():
            if page < contiguous >> _SHIFT:
                continue
            if image == _FULL:
                field._add_full(page, page + 1)
                field._beyond += PAGE_BITS - max(contiguous - (page << _SHIFT), 0)
            else:
                field._store(page, bytearray(image[:PAGE_BYTES]))
                field._beyond += field._ones(page, 0, PAGE_BITS)
        field._absorb()
        return field

    def copy(self) -> Bitfield:
        other = Bitfield(max_pages=self._max_pages)
        other.extent = self.extent
        other._prefix, other._beyond = self._prefix, self._beyond
        for start, end in self._full:
            other._add_full(start, end)
        for page in self._pages.order:
            other._store(page, bytearray(self._pages[page]))
        return other

    # --- queries ------------------------------------------------------------------------------------------

    @property
    def contiguous(self) -> int:
        """Number of leading ones."""
        return self._prefix

    @property
    def count(self) -> int:
        """Number of ones."""
        return self._prefix + self._beyond

    @property
    def held_bytes(self) -> int:
        """Bytes of memory for the bits behind the prefix, about."""
        return len(self._pages) * (PAGE_BYTES + PAGE_OVERHEAD) + len(self._full) * RUN_BYTES

    def get(self, index: int) -> bool:
        if index < self._prefix:
            return index >= 0
        page = self._pages.get(index >> _SHIFT)
        if page is None:
            return bool(self._full) and index >> _SHIFT in self._full
        at = (index & _MASK) >> 3
        return at < len(page) and bool(page[at] >> (index & 7) & 1)

    __contains__ = get

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self.count == other.count and list(self.runs()) == list(other.runs())

    __hash__ = None  # type: ignore[assignment]  # changes

    def __repr__(self) -> str:
        return f"<Bitfield {self.count} set: {list(self.runs())[:8]}>"

    def first_unset(self, start: int = 0, end: int | None = None) -> int | None:
        """The lowest unset bit at or after `start` and below `end`. Without an `end` there always is one."""
        at = max(start, self._prefix)
        while end is None or at < end:
            page = at >> _SHIFT
            data = self._pages.get(page)
            if data is None:
                if (stop := self._full.end_of(page)) is None:
                    return at
                at = stop << _SHIFT
                continue
            found = first_zero(data, at & _MASK)
            at = (at & ~_MASK) + found
            if found < PAGE_BITS:
                return at if end is None or at < end else None
        return None

    def first_set(self, start: int = 0, end: int | None = None) -> int | None:
        """The lowest set bit at or after `start` and below `end`."""
        if start < self._prefix:
            return start if end is None or start < end else None
        if not self._beyond:
            return None
        order = self._pages.order
        full = self._full.next(start >> _SHIFT)
        for at in range(bisect_left(order, start >> _SHIFT), len(order)):
            page = order[at]
            if full is not None and full < page:
                break
            first = page << _SHIFT
            if end is not None and first >= end:
                return None
            found = first_one(self._pages[page], max(start - first, 0))
            if found is not None:
                return first + found if end is None or first + found < end else None
        if full is None:
            return None
        start = max(start, full << _SHIFT)
        return start if end is None or start < end else None

    def runs(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """The set bits of start..end as half-open runs, in order."""
        at: int | None = start
        while at is not None and (at := self.first_set(at, end)) is not None:
            stop = self.first_unset(at, end)
            if stop is None:
                assert end is not None
                stop = end
            yield at, stop
            at = stop if end is None or stop < end else None

    def count_range(self, start: int, end: int) -> int:
        """Number of ones in start..end."""
        total = max(0, min(end, self._prefix) - start)
        at = self.first_set(max(start, self._prefix), end)
        while at is not None:
            stop = self.first_unset(at, end) or end
            if stop - at >= PAGE_BITS:
                total += stop - at
            else:
                first, stop = at & ~31, min(end, (at & ~_MASK) + PAGE_BITS)
                bits = int.from_bytes(self.words(first, stop), "little") & ((1 << stop - first) - 1)
                total += (bits >> at - first).bit_count()
            at = self.first_set(stop, end) if stop < end else None
        return total

    def words(self, start: int, end: int) -> bytes:
        """Bits start..end as little-endian 32-bit words; `start` is a multiple of 32, `end` is rounded up."""
        _check_aligned(start)
        end = (end + 31) & ~31
        if end <= start:
            return b""
        out = bytearray((end - start) >> 3)
        behind = max(start, self._prefix)
        for page in self._mixed(behind, end):
            first = page << _SHIFT
            low, high = max(start - first, 0) >> 3, min(end - first, PAGE_BITS) >> 3
            chunk = self._pages[page][low:high]
            at = (first - start >> 3) + low
            out[at : at + len(chunk)] = chunk
        for low, high in self._full.within(behind >> _SHIFT, (end + _MASK) >> _SHIFT):
            low, high = max(low << _SHIFT, start) - start >> 3, min(high << _SHIFT, end) - start >> 3
            out[low:high] = b"\xff" * (high - low)
        if (covered := min(self._prefix, end) - start) > 0:
            out[: covered >> 3] = b"\xff" * (covered >> 3)
            if covered & 7:
                out[covered >> 3] |= (1 << (covered & 7)) - 1
        return bytes(out)

    # --- changing -----------------------------------------------------------------------------------------

    def set(self, index: int) -> bool:
        """Set a bit. True if it was unset."""
        prefix = self._prefix
        if index == prefix:
            self._prefix = prefix + 1
            if self._beyond:
                if not self._prefix & _MASK and prefix >> _SHIFT in self._pages:
                    self._pages.discard(prefix >> _SHIFT)
                self._absorb()
            return True
        if index < prefix:
            if index < 0:
                raise ValueError(f"bit {index} is below 0")
            return False
        page = self._pages.get(index >> _SHIFT)
        if page is None:
            page = None if index >> _SHIFT in self._full else self._made(index >> _SHIFT)
            if page is None:
                return False
        at, bit = (index & _MASK) >> 3, 1 << (index & 7)
        if at >= len(page):
            page.extend(bytes(at + 1 - len(page)))
        elif page[at] & bit:
            return False
        page[at] |= bit
        self._beyond += 1
        return True

    def unset(self, index: int) -> bool:
        """Clear a bit. True if it was set."""
        return self.get(index) and self.set_range(index, index + 1, False) > 0

    def set_range(self, start: int, end: int | None, value: bool = True) -> int:
        """Set or clear start..end. Returns the number of changed bits. `end` None clears all from `start`
        on."""
        if start < 0:
            raise ValueError(f"bit {start} is below 0")
        if end is not None and end <= start:
            return 0
        before = self.count
        if not value:
            self._clear(start, end)
        elif end is None:
            raise ValueError("bits can be set up to an end only")
        elif start <= self._prefix:
            self._advance(end)
        else:
            self._fill_pages(start, end)
        return abs(self.count - before)

    def load_words(self, start: int, words: Buffer) -> None:
        """Overwrite the bits from `start` (a multiple of 32) with little-endian 32-bit words."""
        _check_aligned(start)
        if len(words) % 4:
            raise ValueError(f"expected 32-bit words, got {len(words)} bytes")
        self.set_range(start, start + 8 * len(words), False)
        at = 0
        while at < len(words):
            first = start + 8 * at
            low = (first & _MASK) >> 3
            chunk = bytes(words[at : at + PAGE_BYTES - low])
            at += len(chunk)
            ones = int.from_bytes(chunk, "little").bit_count()
            if not ones:
                continue
            if ones == PAGE_BITS:
                self._fill_whole(first >> _SHIFT, (first >> _SHIFT) + 1)
                continue
            page = self._pages.get(first >> _SHIFT)
            if page is None and (page := self._made(first >> _SHIFT)) is None:
                continue
            if len(page) < low:
                page.extend(bytes(low - len(page)))
            page[low : low + len(chunk)] = chunk
            self._beyond += ones
        self._absorb()

    def discard_pages(self) -> None:
        """Drop all bits behind the prefix."""
        self._beyond = 0
        self._full, self._pages = _NO_RUNS, _NO_PAGES

    # --- persistence --------------------------------------------------------------------------------------

    def pages(self, start: int = 0, end: int | None = None) -> list[int]:
        """Numbers of the pages between the bits start..end that may have an image, in order."""
        start = max(start, self._prefix)
        stop = None if end is None else (end + _MASK) >> _SHIFT
        full = self._full.within(start >> _SHIFT, stop)
        return sorted([*self._mixed(start, end), *(page for run in full for page in range(*run))])

    def page_image(self, page: int) -> bytes:
        """The image of a page for `restore`; empty if it has no bit at or above the prefix."""
        if not self._beyond:
            return b""
        if page not in self._pages:
            return _FULL if page in self._full else b""
        return bytes(self._pages[page]).rstrip(b"\0") if self._ones(page, 0, PAGE_BITS) else b""

    # --- inside -------------------------------------------------------------------------------------------

    def _mixed(self, start: int, end: int | None) -> list[int]:
        """The mixed pages that may hold bits of start..end, in order."""
        if not self._pages or (end is not None and end <= start):
            return []
        return self._pages.within(start >> _SHIFT, None if end is None else (end + _MASK) >> _SHIFT)

    def _full_bits(self, start: int, end: int) -> int:
        """Number of bits of start..end in pages of ones. `start` is not below the prefix."""
        if not self._full or end <= start:
            return 0
        runs = self._full.within(start >> _SHIFT, (end + _MASK) >> _SHIFT)
        return sum(min(high << _SHIFT, end) - max(low << _SHIFT, start) for low, high in runs)

    def _ones(self, page: int, low: int, high: int) -> int:
        """Set bits of low..high of a mixed page, without those below the prefix."""
        low = max(low, self._prefix - (page << _SHIFT))
        return count_ones(self._pages[page], low, high) if low < high else 0

    def _add_full(self, first: int, last: int) -> int:
        if self._full is _NO_RUNS:
            self._full = RangeSet()
        return self._full.add(first, last)

    def _store(self, page: int, data: bytearray) -> None:
        if self._pages is _NO_PAGES:
            self._pages = MixedPages()
        self._pages.store(page, data)

    def _made(self, page: int, data: bytes = b"") -> bytearray | None:
        """Add a mixed page; None if `max_pages` is reached."""
        if self._max_pages is not None and len(self._pages) >= self._max_pages:
            return None
        if self.extent is not None and page << _SHIFT >= self.extent:
            return None
        made = bytearray(data)
        self._store(page, made)
        return made

    def _absorb(self) -> None:
        """Extend the prefix over the ones that follow it, and drop the pages below it."""
        while self._beyond:
            page = self._prefix >> _SHIFT
            data = self._pages.get(page)
            if data is None:
                stop = self._full.end_of(page)
                if stop is None:
                    return
                self._full.remove_below(stop)
                self._beyond -= (stop << _SHIFT) - self._prefix
                self._prefix = stop << _SHIFT
                continue
            low = self._prefix & _MASK
            run = first_zero(data, low) - low
            self._prefix += run
            self._beyond -= run
            if low + run < PAGE_BITS:
                break
            self._pages.discard(page)
        if not self._beyond:
            self.discard_pages()

    def _advance(self, end: int) -> None:
        """Extend the prefix at least to `end`."""
        if end <= self._prefix:
            return
        self._beyond -= self._full_bits(self._prefix, end)
        self._full.remove_below(end >> _SHIFT)
        passed = self._mixed(self._prefix, end)
        for page in passed:
            first = page << _SHIFT
            self._beyond -= self._ones(page, 0, min(end - first, PAGE_BITS))
        for page in passed:
            if (page + 1) << _SHIFT <= end:
                self._pages.discard(page)
        self._prefix = end
        if self._beyond:
            self._absorb()
        else:
            self.discard_pages()

    def _fill_pages(self, start: int, end: int) -> None:
        """Sets start..end, which lies behind the prefix."""
        first, last = start >> _SHIFT, (end - 1) >> _SHIFT
        if first == last:
            self._fill_page(first, start & _MASK, ((end - 1) & _MASK) + 1)
            return
        if start & _MASK:
            self._fill_page(first, start & _MASK, PAGE_BITS)
            first += 1
        if end & _MASK:
            self._fill_page(last, 0, end & _MASK)
        else:
            last += 1
        if first < last:
            self._fill_whole(first, last)

    def _fill_whole(self, first: int, last: int) -> None:
        """Sets all bits of the pages first..last, which lie behind the prefix."""
        new = self._add_full(first, last)
        if self._max_pages is not None and len(self._full) > self._max_pages:
            self._full.remove(first, last)  # it touched no other run
            return
        self._beyond += new * PAGE_BITS
        self._drop_mixed(first, last)

    def _drop_mixed(self, first: int, last: int) -> None:
        """Drop the mixed pages of first..last."""
        for page in self._pages.within(first, last):
            self._beyond -= self._ones(page, 0, PAGE_BITS)
        self._pages.discard_range(first, last)

    def _fill_page(self, page: int, low: int, high: int) -> None:
        """Sets bits low..high of one page."""
        data = self._pages.get(page)
        if data is None:
            if page in self._full:
                return
            if high - low == PAGE_BITS:
                self._fill_whole(page, page + 1)
                return
            if (data := self._made(page)) is None:
                return
        had = self._ones(page, low, high)
        if (need := (high + 7) >> 3) > len(data):
            data.extend(bytes(need - len(data)))
        fill(data, low, high)
        self._beyond += high - low - had
        if len(data) == PAGE_BYTES and data == _FULL and page > self._prefix >> _SHIFT:
            self._pages.discard(page)
            self._beyond -= PAGE_BITS
            self._fill_whole(page, page + 1)

    def _clear(self, start: int, end: int | None) -> None:
        if start < self._prefix:
            old, self._prefix = self._prefix, start
            data = self._pages.get(old >> _SHIFT)
            if data is not None:  # its bits below `old` were ignored while the prefix covered them
                empty(data, 0, min(old & _MASK, 8 * len(data)))
            if end is not None and end < old:
                self._fill_pages(end, old)
        if end is None:
            end = self._end()
        # The first page that is cleared as a whole, and one behind the last
        whole, stop = (start + _MASK) >> _SHIFT, end >> _SHIFT
        if start & _MASK and start < end:
            self._clear_page(start >> _SHIFT, start & _MASK, end)
        if whole < stop:
            self._drop_mixed(whole, stop)
            self._beyond -= self._full.remove(whole, stop) * PAGE_BITS
        if end & _MASK and stop >= whole:
            self._clear_page(stop, 0, end)
        while self._max_pages is not None and len(self._full) > self._max_pages:
            low, high = self._full.remove_last_run()
            self._beyond -= (high - low) * PAGE_BITS
        if not self._beyond:
            self.discard_pages()

    def _end(self) -> int:
        """Where the last page ends."""
        mixed = self._pages.order[-1] + 1 if self._pages else 0
        return max(mixed, self._full.highest if self._full else 0) << _SHIFT

    def _clear_page(self, page: int, low: int, end: int) -> None:
        """Clears the bits of one page from its bit `low` on, and below bit `end` of the field."""
        high = min(end - (page << _SHIFT), PAGE_BITS)
        data = self._pages.get(page)
        if data is None:
            if not self._full.remove(page, page + 1):
                return
            self._beyond -= PAGE_BITS
            data = self._made(page, _FULL)
            if data is None:
                return
            self._beyond += PAGE_BITS
        self._beyond -= self._ones(page, low, high)
        empty(data, low, min(high, 8 * len(data)))
        if first_one(data, 0) is None:
            self._pages.discard(page)


def _check_aligned(start: int) -> None:
    if start < 0 or start % 32:
        raise ValueError(f"expected a multiple of 32, got {start}")
