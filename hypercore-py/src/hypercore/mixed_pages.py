"""Byte arrays by page number, in the order of the numbers."""

from __future__ import annotations

from bisect import bisect_left, insort


class MixedPages(dict[int, bytearray]):
    """Change it only with the methods below."""

    __slots__ = ("order",)

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []
        """Page numbers, sorted."""

    def store(self, page: int, data: bytearray) -> None:
        """Add an absent page."""
        self[page] = data
        if self.order and page < self.order[-1]:
            insort(self.order, page)
        else:
            self.order.append(page)

    def discard(self, page: int) -> None:
        """Remove a page that is present."""
        del self[page]
        del self.order[bisect_left(self.order, page)]

    def discard_range(self, first: int, last: int) -> None:
        """Remove the pages of first..last."""
        low = bisect_left(self.order, first)
        high = bisect_left(self.order, last, low)
        for page in self.order[low:high]:
            del self[page]
        del self.order[low:high]

    def within(self, first: int, last: int | None) -> list[int]:
        """Numbers of present pages in first..last, in order."""
        low = bisect_left(self.order, first)
        return self.order[low:] if last is None else self.order[low : bisect_left(self.order, last, low)]
