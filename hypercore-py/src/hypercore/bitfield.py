"""Which blocks are there: a bitfield without an end, small where it is regular.

Cores fill from the front and end up complete, so the leading run of ones is one integer, the *prefix*; a
complete core of any length has nothing else. Bits behind the prefix live in pages of 32,768 bits (the page of
the official implementation, hypercore lib/bitfield.js); a page that is all ones is one shared object, a page
that is absent is all zeros, and the others are byte arrays that end at their last bit.

Bit k of a page is bit k & 7 of byte k >> 3, which is the order of the little-endian 32-bit words on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ._types import Buffer

PAGE_BITS = 32768
"""Bits in a page."""

PAGE_BYTES = PAGE_BITS // 8

_SHIFT = PAGE_BITS.bit_length() - 1
_MASK = PAGE_BITS - 1
_FULL = b"\xff" * PAGE_BYTES
_NOT_ALL_ONES = re.compile(rb"[^\xff]", re.DOTALL)
_NOT_ALL_ZEROS = re.compile(rb"[^\x00]", re.DOTALL)
_LOWEST_ONE = [(n & -n).bit_length() - 1 for n in range(256)]  # of 0: -1, never looked up
_LOWEST_ZERO = [(~n & (n + 1)).bit_length() - 1 for n in range(256)]
_ZEROS = [tuple(bit for bit in range(8) if not n >> bit & 1) for n in range(256)]


class Bitfield:
    """A set of non-negative integers.

    `max_pages` bounds what a peer can make us remember: a bit that would need one page more is not stored and
    stays unset (forgetting that somebody has a block is always safe). The prefix costs nothing, whatever its
    length.
    """

    __slots__ = ("_beyond", "_max_pages", "_pages", "_prefix")

    def __init__(self, *, max_pages: int | None = None) -> None:
        self._prefix = 0  # every bit below is set and this one is not
        self._beyond = 0  # ones at or above the prefix
        self._pages: dict[int, bytes | bytearray] = {}  # bits below the prefix mean nothing in here
        self._max_pages = max_pages

    @classmethod
    def restore(cls, contiguous: int, pages: Mapping[int, bytes]) -> Bitfield:
        """From `contiguous` and what `page_image` gave for the pages behind it."""
        field = cls()
        field._prefix = contiguous
        for page, image in pages.items():
            if page >= contiguous >> _SHIFT:
                field._pages[page] = _FULL if image == _FULL else bytearray(image[:PAGE_BYTES])
                field._beyond += field._ones(page, 0, PAGE_BITS)
        field._absorb()
        return field

    def copy(self) -> Bitfield:
        other = Bitfield(max_pages=self._max_pages)
        other._prefix, other._beyond = self._prefix, self._beyond
        other._pages = {page: b if b is _FULL else bytearray(b) for page, b in self._pages.items()}
        return other

    # --- looking ------------------------------------------------------------------------------------------

    @property
    def contiguous(self) -> int:
        """How many leading bits are set."""
        return self._prefix

    @property
    def count(self) -> int:
        """How many bits are set."""
        return self._prefix + self._beyond

    def get(self, index: int) -> bool:
        if index < self._prefix:
            return index >= 0
        page = self._pages.get(index >> _SHIFT)
        if page is None:
            return False
        at = (index & _MASK) >> 3
        return at < len(page) and bool(page[at] >> (index & 7) & 1)

    __contains__ = get

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self.count == other.count and list(self.runs()) == list(other.runs())

    __hash__ = None  # type: ignore[assignment]  # changes

    def __repr__(self) -> str:
        shown = ", ".join(f"{start}..{end}" for start, end in list(self.runs())[:8])
        return f"<Bitfield {self.count} set: {shown}>"

    def count_range(self, start: int, end: int) -> int:
        """How many bits of start..end are set."""
        total = max(0, min(end, self._prefix) - start)
        start = max(start, self._prefix)
        for page in self._present(start, end):
            first = page << _SHIFT
            total += self._ones(page, max(start - first, 0), min(end - first, PAGE_BITS))
        return total

    def first_unset(self, start: int = 0, end: int | None = None) -> int | None:
        """The lowest unset bit at or after `start` and below `end`. Without an `end` there always is one."""
        at = max(start, self._prefix)
        while end is None or at < end:
            page = self._pages.get(at >> _SHIFT)
            found = at & _MASK if page is None else _first_zero(page, at & _MASK)
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
        for page in self._present(start, end):
            first = page << _SHIFT
            found = _first_one(self._pages[page], max(start - first, 0))
            if found is not None:
                return first + found if end is None or first + found < end else None
        return None

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

    def iter_unset(self, start: int, end: int) -> Iterator[int]:
        """The unset bits of start..end in order. Bits that change on the way may or may not be seen."""
        at = max(start, self._prefix)
        while at < end:
            page = self._pages.get(at >> _SHIFT)
            first = at & ~_MASK
            stop = min(first + PAGE_BITS, end)
            if page is None:
                yield from range(at, stop)
            elif page is not _FULL:
                yield from _zeros(bytes(page), first, at, stop)
            at = max(stop, self._prefix)

    def words(self, start: int, end: int) -> bytes:
        """Bits start..end as little-endian 32-bit words; `start` is a multiple of 32, `end` is rounded up."""
        _check_aligned(start)
        end = (end + 31) & ~31
        if end <= start:
            return b""
        out = bytearray((end - start) >> 3)
        for page in self._present(max(start, self._prefix), end):
            first = page << _SHIFT
            low, high = max(start - first, 0) >> 3, min(end - first, PAGE_BITS) >> 3
            chunk = self._pages[page][low:high]
            at = (first - start >> 3) + low
            out[at : at + len(chunk)] = chunk
        if (covered := min(self._prefix, end) - start) > 0:
            out[: covered >> 3] = b"\xff" * (covered >> 3)
            if covered & 7:
                out[covered >> 3] |= (1 << (covered & 7)) - 1
        return bytes(out)

    # --- changing -----------------------------------------------------------------------------------------

    def set(self, index: int) -> bool:
        """Sets a bit. True if it was unset."""
        prefix = self._prefix
        if index == prefix:
            self._prefix = prefix + 1
            if self._beyond:
                if not self._prefix & _MASK:
                    self._pages.pop(prefix >> _SHIFT, None)
                self._absorb()
            return True
        if index < prefix:
            _check_positive(index)
            return False
        page = self._writable(index >> _SHIFT)
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
        """Clears a bit. True if it was set."""
        return self.get(index) and self.set_range(index, index + 1, False) > 0

    def set_range(self, start: int, end: int | None, value: bool = True) -> int:
        """Sets or clears start..end and says how many bits changed. `end` None clears all from `start` on."""
        _check_positive(start)
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
        """Overwrites the bits from `start` (a multiple of 32) on with little-endian 32-bit words."""
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
            if chunk == _FULL and self._room(first >> _SHIFT):
                self._pages[first >> _SHIFT] = _FULL
            elif (page := self._writable(first >> _SHIFT)) is not None:
                if len(page) < low:
                    page.extend(bytes(low - len(page)))
                page[low : low + len(chunk)] = chunk
            else:
                continue
            self._beyond += ones
        self._absorb()

    # --- persistence --------------------------------------------------------------------------------------

    def pages(self, start: int = 0, end: int | None = None) -> list[int]:
        """Numbers of the pages between the bits start..end that may have an image, in order."""
        return self._present(max(start, self._prefix), end)

    def page_image(self, page: int) -> bytes:
        """What `restore` needs of a page: empty if the page has no bit at or above the prefix."""
        if not self._beyond or page not in self._pages or not self._ones(page, 0, PAGE_BITS):
            return b""
        return bytes(self._pages[page]).rstrip(b"\0")

    # --- inside -------------------------------------------------------------------------------------------

    def _present(self, start: int, end: int | None) -> list[int]:
        """The pages that exist and may hold bits of start..end, in order."""
        low = start >> _SHIFT
        if end is None:
            return sorted(page for page in self._pages if page >= low)
        if end <= start:
            return []
        high = (end - 1) >> _SHIFT
        if high - low < len(self._pages):
            return [page for page in range(low, high + 1) if page in self._pages]
        return sorted(page for page in self._pages if low <= page <= high)

    def _ones(self, page: int, low: int, high: int) -> int:
        """Set bits of low..high of a page, without those below the prefix."""
        low = max(low, self._prefix - (page << _SHIFT))
        if high <= low:
            return 0
        data = self._pages[page]
        if data is _FULL:
            return high - low
        chunk = int.from_bytes(data[low >> 3 : (high + 7) >> 3], "little") >> (low & 7)
        return (chunk & ((1 << (high - low)) - 1)).bit_count()

    def _room(self, page: int) -> bool:
        return self._max_pages is None or page in self._pages or len(self._pages) < self._max_pages

    def _writable(self, page: int) -> bytearray | None:
        """The byte array of a page, made if there is none; None if there is no room for it."""
        data = self._pages.get(page)
        if isinstance(data, bytearray):
            return data
        if data is None and not self._room(page):
            return None
        made = bytearray(data or b"")
        self._pages[page] = made
        return made

    def _absorb(self) -> None:
        """Moves the prefix over the ones that follow it, and forgets the pages it has passed."""
        while self._beyond:
            data = self._pages.get(self._prefix >> _SHIFT)
            if data is None:
                return
            low = self._prefix & _MASK
            run = _first_zero(data, low) - low
            self._prefix += run
            self._beyond -= run
            if low + run < PAGE_BITS:
                break
            del self._pages[(self._prefix >> _SHIFT) - 1]
        if not self._beyond:
            self._pages.clear()

    def _advance(self, end: int) -> None:
        """Moves the prefix to `end` at least."""
        if end <= self._prefix:
            return
        for page in self._present(self._prefix, end):
            first = page << _SHIFT
            self._beyond -= self._ones(page, 0, min(end - first, PAGE_BITS))
            if first + PAGE_BITS <= end:
                del self._pages[page]
        self._prefix = end
        if self._beyond:
            self._absorb()
        else:
            self._pages.clear()

    def _fill_pages(self, start: int, end: int) -> None:
        """Sets start..end, which lies behind the prefix."""
        for page in range(start >> _SHIFT, ((end - 1) >> _SHIFT) + 1):
            if not self._room(page):
                for existing in self._present(page << _SHIFT, end):
                    self._fill_page(existing, start, end)
                return
            self._fill_page(page, start, end)

    def _fill_page(self, page: int, start: int, end: int) -> None:
        first = page << _SHIFT
        low, high = max(start - first, 0), min(end - first, PAGE_BITS)
        had = self._ones(page, low, high) if page in self._pages else 0
        if high - low == PAGE_BITS:
            self._pages[page] = _FULL
        elif (data := self._pages.get(page)) is not _FULL:
            data = self._writable(page)
            assert data is not None
            if (need := (high + 7) >> 3) > len(data):
                data.extend(bytes(need - len(data)))
            _fill(data, low, high)
        self._beyond += high - low - had

    def _clear(self, start: int, end: int | None) -> None:
        if start < self._prefix:
            old, self._prefix = self._prefix, start
            for page in [p for p in self._pages if p <= old >> _SHIFT]:
                self._trim_below(page, old)
            if end is not None and end < old:
                self._fill_pages(end, old)
        for page in self._present(start, end):
            first = page << _SHIFT
            low, high = max(start - first, 0), PAGE_BITS if end is None else min(end - first, PAGE_BITS)
            self._beyond -= self._ones(page, low, high)
            if high - low == PAGE_BITS:
                del self._pages[page]
            else:
                data = self._writable(page)
                assert data is not None
                _empty(data, low, min(high, 8 * len(data)))
        if not self._beyond:
            self._pages.clear()

    def _trim_below(self, page: int, end: int) -> None:
        """Zeroes the bits below `end`, which meant nothing while the prefix covered them."""
        data = self._writable(page)
        assert data is not None
        _empty(data, 0, min(end - (page << _SHIFT), PAGE_BITS, 8 * len(data)))


def _first_zero(page: bytes | bytearray, low: int) -> int:
    """Position of the first zero at or after `low`; PAGE_BITS if there is none. Absent bytes are zero."""
    if page is _FULL:
        return PAGE_BITS
    at = low >> 3
    if at >= len(page):
        return low
    here = page[at] | ((1 << (low & 7)) - 1)
    if here != 0xFF:
        return 8 * at + _LOWEST_ZERO[here]
    match = _NOT_ALL_ONES.search(page, at + 1)
    if match is None:
        return 8 * len(page)
    return 8 * match.start() + _LOWEST_ZERO[page[match.start()]]


def _first_one(page: bytes | bytearray, low: int) -> int | None:
    at = low >> 3
    if at >= len(page):
        return None
    here = page[at] >> (low & 7) << (low & 7)
    if here:
        return 8 * at + _LOWEST_ONE[here]
    match = _NOT_ALL_ZEROS.search(page, at + 1)
    if match is None:
        return None
    return 8 * match.start() + _LOWEST_ONE[page[match.start()]]


def _zeros(page: bytes, first: int, start: int, end: int) -> Iterator[int]:
    """The zeros of a page that begins at bit `first`, between `start` and `end`."""
    for match in _NOT_ALL_ONES.finditer(page, (start - first) >> 3, (end - first + 7) >> 3):
        base = first + 8 * match.start()
        for bit in _ZEROS[page[match.start()]]:
            if start <= base + bit < end:
                yield base + bit
    yield from range(max(first + 8 * len(page), start), end)


def _fill(data: bytearray, low: int, high: int) -> None:
    """Sets the bits low..high; `data` is long enough."""
    a, b = low >> 3, (high + 7) >> 3
    mask = ((1 << (high - low)) - 1) << (low & 7)
    data[a:b] = (int.from_bytes(data[a:b], "little") | mask).to_bytes(b - a, "little")


def _empty(data: bytearray, low: int, high: int) -> None:
    """Clears the bits low..high; `data` is long enough."""
    if high <= low:
        return
    a, b = low >> 3, (high + 7) >> 3
    mask = ((1 << (high - low)) - 1) << (low & 7)
    data[a:b] = (int.from_bytes(data[a:b], "little") & ~mask).to_bytes(b - a, "little")


def _check_positive(index: int) -> None:
    if index < 0:
        raise ValueError(f"bit {index} is below 0")


def _check_aligned(start: int) -> None:
    if start < 0 or start % 32:
        raise ValueError(f"expected a multiple of 32, got {start}")
