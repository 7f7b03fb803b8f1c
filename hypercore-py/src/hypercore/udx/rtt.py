"""Round trip times: the smoothed estimate, the timeout from it, and the smallest recent one."""

from __future__ import annotations

from .limits import INITIAL_RTO, MAX_RTO, MIN_RTO, MIN_RTT_WINDOW, RTT_OUTLIER


class RoundTrip:
    """RFC 6298 with the gains of udx.c:1319-1339. Times in seconds."""

    __slots__ = ("_min_at", "latest", "minimum", "rto", "smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed = 0.0
        self.variation = 0.0
        self.latest = 0.0
        self.minimum = 0.0
        """Smallest sample of the last MIN_RTT_WINDOW, 0 before any."""
        self.rto = INITIAL_RTO
        self._min_at = float("-inf")

    @property
    def known(self) -> bool:
        return self.smoothed > 0.0

    def sample(self, rtt: float, now: float) -> None:
        """Add the round trip of a packet that was sent only once."""
        rtt = max(rtt, 1e-6)
        if not self.known:
            self.smoothed = rtt
            self.variation = rtt / 2
        else:
            ceiling = self.smoothed + 5 * self.variation
            if rtt > ceiling and rtt > RTT_OUTLIER:
                rtt = ceiling
            self.variation += (abs(self.smoothed - rtt) - self.variation) / 4
            self.smoothed += (rtt - self.smoothed) / 8
        self.latest = rtt
        if rtt <= self.minimum or now - self._min_at > MIN_RTT_WINDOW:
            self.minimum = rtt
            self._min_at = now
        self.rto = min(max(self.smoothed + 4 * self.variation, MIN_RTO), MAX_RTO)
