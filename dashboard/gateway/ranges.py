"""The header `Range` (RFC 9110, 14). Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_RANGES: Final = 16
"""Ranges of one request; with more, the header is ignored and the whole file is sent. Ours."""
MAX_HEADER: Final = 1000
"""Characters of the header; a longer one is ignored. Ours."""
MAX_DIGITS: Final = 18
_RANGE: Final = re.compile(r"(\d*)-(\d*)", re.ASCII)


class Span(NamedTuple):
    """Bytes `start` to `end`, without `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Its number of bytes."""
        return self.end - self.start

    def header(self, size: int) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def spans(header: str, size: int) -> list[Span] | None:
    """The ranges of a file of `size` bytes, in the order asked for; those that overlap or touch are one.

    None: the header is malformed, of another unit, or asks for too much; the caller ignores it. Empty: none
    of them is in the file (416).
    """
    unit, equals, text = header.strip().partition("=")
    if unit.strip().lower() != "bytes" or not equals or len(header) > MAX_HEADER:
        return None
    words = [word.strip() for word in text.split(",")]
    words = [word for word in words if word]
    if not words or len(words) > MAX_RANGES:
        return None
    found: list[Span] = []
    for word in words:
        match = _RANGE.fullmatch(word)
        if match is None or word == "-" or max(len(match[1]), len(match[2])) > MAX_DIGITS:
            return None
        if match[1] and match[2] and int(match[2]) < int(match[1]):
            return None
        span = _span(match[1], match[2], size)
        if span is not None:
            found.append(span)
    return _joined(found)


def _span(first: str, last: str, size: int) -> Span | None:
    """None: not in the file."""
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if not last else min(size, int(last) + 1)
    return Span(start, end) if start < end else None


def _joined(found: list[Span]) -> list[Span]:
    """In ascending order if some overlap or touch (RFC 9110 lets us coalesce), else as asked for."""
    ordered = sorted(found)
    joined = ordered[:1]
    for span in ordered[1:]:
        if span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return found if len(joined) == len(found) else joined


def matches(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags (`If-None-Match`, `If-Match`) has this strong one.

    `weak`: weak tags of the same text match too."""
    if header.strip() == "*":
        return True
    tags = [tag.strip() for tag in header[:4000].split(",")]
    return etag in tags or (weak and f"W/{etag}" in tags)
