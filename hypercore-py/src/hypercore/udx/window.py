"""The receive window, reduced when our socket's buffer is too small.

Official peers always offer 4 MiB. A sender that uses it overruns a socket buffer of a few hundred kilobytes,
as many systems have, whenever our program is busy for a moment, and must send packets again. So the window is
reduced when the kernel reports an overrun, and grows slowly otherwise.
"""

from __future__ import annotations

from .limits import RECEIVE_WINDOW_BYTES

SMALLEST_BYTES = 32 << 10
"""Least window in bytes."""

CUT = 0.7
CUT_INTERVAL = 0.02
"""Seconds after a cut in which another overrun counts as the same."""

GROWTH = 1.05
GROWTH_INTERVAL = 0.05
"""The window grows by so much every so many seconds."""


class WindowTuner:
    """`limit` is the largest window to offer, in bytes."""

    __slots__ = ("_changed_at", "limit")

    def __init__(self) -> None:
        self.limit = RECEIVE_WINDOW_BYTES
        self._changed_at = 0.0

    def on_rx_dropped(self, capacity: int, now: float) -> None:
        """The kernel dropped datagrams. Its buffer holds about `capacity` bytes."""
        if now - self._changed_at < CUT_INTERVAL and self.limit < RECEIVE_WINDOW_BYTES:
            return
        self._changed_at = now
        self.limit = max(SMALLEST_BYTES, min(capacity, int(self.limit * CUT)))

    def on_data(self, now: float) -> None:
        """Data arrived."""
        if self.limit < RECEIVE_WINDOW_BYTES and now - self._changed_at >= GROWTH_INTERVAL:
            self._changed_at = now
            self.limit = min(RECEIVE_WINDOW_BYTES, int(self.limit * GROWTH))
