"""Debts of connections for the time that they took.

Debts shrink in virtual time, as in fair queueing: a clock advances by the seconds that each connection in
debt is forgiven. A charge moves `due`, the time at which the debt is zero, away from the clock. So
connections that took equally much have equal debts, however often they were looked at and however many others
were in debt.
"""

from __future__ import annotations

FORGIVEN_SHARE = 0.15
"""Seconds a second by which all debts together shrink, in equal parts."""

MAX_CREDIT_SECONDS = 0.05
"""Most seconds that a connection keeps in its favour, for blocks that the peer gave us. Ours."""

PRUNE_SECONDS = 0.1
"""Seconds between two searches for debts that have become zero."""


class Debt:
    """Debt of one connection."""

    __slots__ = ("credit", "due")

    def __init__(self) -> None:
        self.due = 0.0
        """Virtual time at which the debt is zero."""
        self.credit = 0.0
        """Seconds in favour of the connection. Charges use them up before they become debt."""


class Debts:
    """The clock of all connections of a store. `now` is seconds of any monotonic clock."""

    __slots__ = ("_at", "_debtors", "_pruned", "clock")

    def __init__(self, now: float) -> None:
        self.clock = 0.0
        """Virtual seconds: what a connection that was always in debt has been forgiven so far."""
        self._at = self._pruned = now
        self._debtors: set[Debt] = set()

    def __len__(self) -> int:
        """Debts above zero. Those that became zero since the last search count too."""
        return len(self._debtors)

    def advance(self, now: float) -> None:
        """Shrink the debts by what is forgiven until `now`."""
        debtors = self._debtors
        if debtors:
            self.clock += (now - self._at) * FORGIVEN_SHARE / len(debtors)
            if now - self._pruned > PRUNE_SECONDS:
                self._pruned = now
                self._debtors = {debt for debt in debtors if debt.due > self.clock}
        self._at = now

    def owed(self, debt: Debt) -> float:
        """The debt in seconds at the last `advance`."""
        return max(0.0, debt.due - self.clock)

    def charge(self, debt: Debt, seconds: float, *, paid: float = 0.0, earned: float = 0.0) -> None:
        """Add `seconds` to a debt, less `paid` for useful work. Of what remains of that, up to `earned`
        becomes credit."""
        owed = self.owed(debt) + seconds - paid
        if owed < 0:
            debt.credit = min(MAX_CREDIT_SECONDS, debt.credit + min(-owed, earned))
        elif debt.credit:
            used = min(owed, debt.credit)
            debt.credit -= used
            owed -= used
        if owed > 0:
            debt.due = self.clock + owed
            self._debtors.add(debt)
        else:
            debt.due = self.clock
            self._debtors.discard(debt)

    def discard(self, debt: Debt) -> None:
        """Remove the debt of a connection that is closed."""
        self._debtors.discard(debt)
