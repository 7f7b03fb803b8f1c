"""Heartbeats to a silent peer, which it must acknowledge."""

from __future__ import annotations

from .limits import HALF_CLOSED_HEARTBEAT, MAX_TIMEOUTS


class Heartbeat:
    """Sends one after `interval` seconds without a sent packet. None: never."""

    __slots__ = ("at", "due", "interval", "unanswered")

    def __init__(self, interval: float | None, now: float) -> None:
        self.interval = interval
        self.at = None if interval is None else now + interval
        self.due = False
        """Whether one must be sent now."""
        self.unanswered = 0
        """Heartbeats in a row without any packet of the peer, after our side has ended."""

    @property
    def given_up(self) -> bool:
        """Whether too many were not answered."""
        return self.unanswered > MAX_TIMEOUTS

    def restart(self, now: float) -> None:
        """A packet is sent: start the interval again."""
        if self.interval is not None:
            self.at = now + self.interval

    def hurry(self, now: float) -> None:
        """Beat sooner, since our side has ended: only an unanswered heartbeat shows that the peer is gone."""
        interval = self.interval
        self.interval = HALF_CLOSED_HEARTBEAT if interval is None else min(interval, HALF_CLOSED_HEARTBEAT)
        self.restart(now)

    def expire(self, now: float, *, counts: bool) -> None:
        """Set `due` if the interval has passed. `counts`: count it as unanswered."""
        if self.at is not None and now >= self.at:
            self.due = True
            self.unanswered += counts
            self.restart(now)
