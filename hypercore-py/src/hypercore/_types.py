"""Types that rooms hand to each other."""

from __future__ import annotations

from typing import Protocol

Buffer = bytes | bytearray | memoryview
"""Bytes in any container. A function that keeps them longer than the call documents whether they may
change."""


class Random(Protocol):
    """Where chance comes from: `random.Random` is one. With a seed, what happened happens again."""

    def random(self) -> float:
        """From 0 to below 1."""

    def randrange(self, stop: int, /) -> int:
        """From 0 to below `stop`."""

    def randbytes(self, n: int, /) -> bytes: ...
