"""Searches and changes bits in a byte array: bit k is bit k & 7 of byte k >> 3."""

from __future__ import annotations

import re

_NOT_ALL_ONES = re.compile(rb"[^\xff]", re.DOTALL)
_NOT_ALL_ZEROS = re.compile(rb"[^\x00]", re.DOTALL)
_LOWEST_ONE = [(n & -n).bit_length() - 1 for n in range(256)]  # of 0: -1, never looked up
_LOWEST_ZERO = [(~n & (n + 1)).bit_length() - 1 for n in range(256)]


def first_zero(page: bytearray, low: int) -> int:
    """Position of the first zero at or after `low`; behind the last byte all are zero."""
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


def first_one(page: bytearray, low: int) -> int | None:
    """Position of the first one at or after `low`."""
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


def count_ones(page: bytearray, low: int, high: int) -> int:
    """Number of ones in bits low..high; behind the last byte all are zero."""
    chunk = int.from_bytes(page[low >> 3 : (high + 7) >> 3], "little") >> (low & 7)
    return (chunk & ((1 << (high - low)) - 1)).bit_count()


def fill(data: bytearray, low: int, high: int) -> None:
    """Sets the bits low..high; `data` is long enough."""
    a, b = low >> 3, (high + 7) >> 3
    mask = ((1 << (high - low)) - 1) << (low & 7)
    data[a:b] = (int.from_bytes(data[a:b], "little") | mask).to_bytes(b - a, "little")


def empty(data: bytearray, low: int, high: int) -> None:
    """Clears the bits low..high; `data` is long enough."""
    if high <= low:
        return
    a, b = low >> 3, (high + 7) >> 3
    mask = ((1 << (high - low)) - 1) << (low & 7)
    data[a:b] = (int.from_bytes(data[a:b], "little") & ~mask).to_bytes(b - a, "little")
