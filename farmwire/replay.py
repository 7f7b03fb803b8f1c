"""Replay protection: each numbered message of a sender is accepted once, in any order within a window."""

from __future__ import annotations

WINDOW = 1024
"""How far behind the highest number a message may arrive and be accepted: four minutes of the clock that
numbers follow (`envelope.NUMBERS_PER_SECOND`), less what was sent in that time."""


class ReplayWindow:
    """`highest` number accepted and a `mask` of those below it: bit i stands for `highest - i`."""

    __slots__ = ("highest", "mask")

    def __init__(self, highest: int = 0, mask: int = 0) -> None:
        self.highest = highest
        self.mask = mask

    def accept(self, seq: int) -> bool:
        """Record `seq`. Returns whether it is new."""
        ahead = seq - self.highest
        if ahead > 0:
            self.mask = ((self.mask << ahead) | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self.highest = seq
            return True
        bit = 1 << -ahead
        if -ahead >= WINDOW or self.mask & bit:
            return False
        self.mask |= bit
        return True

    def to_text(self) -> str:
        """Serialise for a database column."""
        return f"{self.highest}:{self.mask:x}"

    @classmethod
    def from_text(cls, text: str) -> ReplayWindow:
        """The reverse of `to_text`; empty text is an empty window."""
        if not text:
            return cls()
        highest, mask = text.split(":")
        return cls(int(highest), int(mask, 16))
