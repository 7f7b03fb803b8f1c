"""Spreads packets over time: a bucket of credit that fills at the pacing rate."""

from __future__ import annotations

from .bbr import INITIAL_WINDOW
from .limits import MAX_BURST_PACKETS, TIMER_GRANULARITY

BUCKET_TIME = 0.01
"""Seconds of credit that are kept: the delay of an event loop."""

ROUNDING = 1e-6
"""Seconds added against floating-point errors, so that the credit is complete at its time."""

BUCKET_PACKETS = 16
"""Least capacity of the bucket in packets."""


class Pacer:
    """Counts in packets; `rate` is packets per second."""

    __slots__ = ("_at", "_credit")

    def __init__(self, now: float) -> None:
        self._at = now
        self._credit = float(INITIAL_WINDOW)

    def budget(self, now: float, rate: float) -> int:
        """Number of packets that may be sent now."""
        if now > self._at:
            bucket = max(BUCKET_PACKETS, rate * BUCKET_TIME)
            self._credit = min(self._credit + (now - self._at) * rate, bucket)
            self._at = now
        return int(self._credit)

    def spend(self, packets: int) -> None:
        self._credit -= packets

    def ready_at(self, packets: int, rate: float) -> float:
        """When the allowance will be `packets`."""
        return self._at + max(0.0, packets - self._credit) / rate + ROUNDING

    @staticmethod
    def quantum(rate: float) -> int:
        """Least number of packets for a wake-up: a timer tick of data."""
        return min(MAX_BURST_PACKETS, max(2, int(rate * TIMER_GRANULARITY)))
