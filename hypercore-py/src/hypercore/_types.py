"""Types shared by the packages."""

from __future__ import annotations

from typing import Protocol

Buffer = bytes | bytearray | memoryview
"""Bytes in any container. A function that keeps them longer than the call documents whether they may
change."""


class Random(Protocol):
    """A source of randomness, such as `random.Random`. With a seed, runs can be repeated."""

    def random(self) -> float:
        """A number from 0 to below 1."""

    def randrange(self, stop: int, /) -> int:
        """An integer from 0 to below `stop`."""

    def randbytes(self, n: int, /) -> bytes: ...
