"""Asking a silent peer for a sign of life."""

from __future__ import annotations

from .limits import HALF_CLOSED_HEARTBEAT, MAX_TIMEOUTS


class Heartbeat:
    """When to ask: after `interval` seconds in which nothing was sent. None: never."""

    __slots__ = ("at", "due", "interval", "unanswered")

    def __init__(self, interval: float | None, now: float) -> None:
        self.interval = interval
        self.at = None if interval is None else now + interval
        self.due = False
        """One is to be sent now."""
        self.unanswered = 0
        """Those in a row without any packet of the peer since, after our side has ended."""

    @property
    def given_up(self) -> bool:
        """Whether the peer has not answered too many."""
        return self.unanswered > MAX_TIMEOUTS

    def restart(self, now: float) -> None:
        """Something is sent."""
        if self.interval is not None:
            self.at = now + self.interval

    def hurry(self, now: float) -> None:
        """Beat sooner, since our side has ended: only an unanswered heartbeat shows that the peer is gone."""
        interval = self.interval
        self.interval = HALF_CLOSED_HEARTBEAT if interval is None else min(interval, HALF_CLOSED_HEARTBEAT)
        self.restart(now)

    def expire(self, now: float, *, counts: bool) -> None:
        """Asks if it is time; `counts` if an answer is all that is waited for."""
        if self.at is not None and now >= self.at:
            self.due = True
            self.unanswered += counts
            self.restart(now)
