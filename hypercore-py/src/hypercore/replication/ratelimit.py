"""Limits the bytes in one direction, over all peers and all cores.

A token bucket that may go into debt: each turn moves one block however large it is, and the next turn comes
when that is paid for. So the average is exact, and small messages (heads, announcements) are never held back
behind blocks. Waiters take turns, each moving about the same number of bytes.

There is a second bound, for downloads: a budget of bytes that the disk has room for.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

TICK = 0.01
"""Seconds between two rounds of turns, at least: each costs a turn of the loop."""

MIN_TURN_BYTES = 16 * 1024
"""What one turn moves at least, a block more or less."""

BURST = 0.2
"""Seconds that an idle bucket fills for: what may come at once after a silence."""

MAX_TURN_BYTES = 1 << 40
"""Bytes of a turn without a rate: practically unlimited."""

BLOCK_OVERHEAD = 160
"""Bytes that a stored block takes beside its content: its part of the tree (80 bytes) and its row. 139 bytes
in all were measured for empty blocks. Rates and budgets count it: blocks without content are not free."""

Resume = Callable[[], None]
"""Resumes a waiter. Equal functions are the same waiter."""


class RateLimit:
    """Without a rate and a budget (`active` is false) no caller needs to ask.

    `take_turn` before moving anything, `consume` for what was moved, `wait` when there is more than the turn
    allowed. A download requests blocks that come later: `reserve` charges their estimated size, which
    `refund` returns when they come (and are consumed), or do not.
    """

    __slots__ = (
        "_balance",
        "_budget",
        "_deadline",
        "_granted",
        "_on_wake",
        "_rate",
        "_starving",
        "_updated",
        "_waiting",
        "active",
        "held_at",
        "lacking",
        "moved",
        "received",
        "reserved",
    )

    def __init__(self, on_wake: Callable[[], None] | None = None) -> None:
        """`on_wake` is called when the deadline has become an earlier one."""
        self._on_wake = on_wake
        self.active = False
        self.moved = 0
        """Bytes spent so far, while it was active."""
        self.received = 0
        """Bytes of verified blocks that came, active or not, each with BLOCK_OVERHEAD."""
        self.reserved = 0
        """Bytes asked for that have not come."""
        self.held_at = float("-inf")
        """When a waiter last had to wait for the rate."""
        self.lacking = 0
        """Bytes of a block that the budget had no room for, when it was last too small."""
        self._rate: float | None = None
        self._budget: int | None = None
        self._balance = 0.0
        self._updated = 0.0
        self._waiting: dict[Resume, None] = {}
        self._granted: set[Resume] = set()
        self._starving: dict[Resume, None] = {}
        self._deadline: float | None = None

    # --- bounds ---------------------------------------------------------------------------------------------

    @property
    def rate(self) -> float | None:
        """Bytes a second. None: any number."""
        return self._rate

    def set_rate(self, rate: float | None, now: float) -> None:
        """Raises ValueError if it is not above 0."""
        if rate is not None and not rate > 0:
            raise ValueError(f"a rate is above 0 bytes a second, not {rate}")
        if rate == self._rate:
            return
        self._rate = rate
        # A debt is not carried over to a rate that it was not made under
        self._balance, self._updated = 0.0, now
        self._update_active()
        if rate is None:
            self._granted.clear()
            self._resume(self._waiting)
        elif self._waiting:
            self._wake_at(now)

    @property
    def budget(self) -> int | None:
        """Bytes that may still be reserved. None: any number."""
        return self._budget

    def set_budget(self, budget: int | None) -> None:
        self._budget = budget
        self._update_active()
        if budget is None or budget >= max(self.lacking, 1):
            self.lacking = 0
            self._resume(self._starving)

    def _update_active(self) -> None:
        self.active = self._rate is not None or self._budget is not None

    def _resume(self, who: dict[Resume, None]) -> None:
        resumed = list(who)
        who.clear()
        for resume in resumed:
            resume()

    # --- moving ---------------------------------------------------------------------------------------------

    def take_turn(self, resume: Resume, now: float) -> int:
        """Bytes that this one may move now; it may exceed them with its last block. 0: it is called when its
        turn comes."""
        rate = self._rate
        if rate is None:
            return MAX_TURN_BYTES
        self._refill(now)
        if resume in self._granted:
            self._granted.discard(resume)
        elif self._waiting:
            self.wait(resume, now)
            return 0
        if self._balance <= 0:
            self.wait(resume, now)
            return 0
        return self._turn_bytes(rate)

    def wait(self, resume: Resume, now: float) -> None:
        """It has more to move than its turn allowed."""
        rate = self._rate
        if rate is None:
            resume()
            return
        self._waiting[resume] = None
        if self._balance <= 0:
            self.held_at = now
        self._wake_at(now if self._balance > 0 else self._updated - self._balance / rate)

    def remove_waiter(self, resume: Resume) -> None:
        """It is gone."""
        self._waiting.pop(resume, None)
        self._starving.pop(resume, None)
        self._granted.discard(resume)

    def consume(self, size: int) -> None:
        """So many bytes were moved."""
        self.moved += size
        self._balance -= size
        if self._budget is not None:
            self._budget -= size

    def fits(self, size: int, resume: Resume) -> bool:
        """Whether the budget has room for a block. If not, `resume` is called when it has."""
        if self._budget is None or size <= self._budget:
            return True
        self.lacking = max(size, 1)
        self._starving[resume] = None
        return False

    def reserve(self, size: int) -> int:
        """So many bytes, about, were asked for. Returns what is to be settled."""
        self.reserved += size
        self._balance -= size
        if self._budget is not None:
            self._budget -= size
        return size

    def refund(self, size: int) -> None:
        """What was reserved is not on its way any more: it is here (`consume` it), or does not come."""
        self.reserved -= size
        self._balance += size
        if self._budget is not None:
            self._budget += size

    # --- time -----------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` must be called; None without waiters."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Give turns to as many as there are bytes for."""
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        rate = self._rate
        if rate is None or not self._waiting:
            return
        self._refill(now)
        if self._balance > 0:
            turns = ceil(self._balance / self._turn_bytes(rate))
            for resume in list(self._waiting)[:turns]:
                del self._waiting[resume]
                self._granted.add(resume)
                resume()
        if self._waiting:
            self._wake_at(max(now + TICK, self._updated - self._balance / rate))

    def _turn_bytes(self, rate: float) -> int:
        return max(MIN_TURN_BYTES, int(rate * TICK))

    def _refill(self, now: float) -> None:
        rate = self._rate
        if rate is not None and now > self._updated:
            max_balance = max(rate * BURST, self._turn_bytes(rate))
            self._balance = min(max_balance, self._balance + rate * (now - self._updated))
            self._updated = now

    def _wake_at(self, time: float) -> None:
        if self._deadline is None or time < self._deadline:
            self._deadline = time
            if self._on_wake is not None:
                self._on_wake()


class Waiter:
    """One peer's turn at asking for blocks of which it is not known how long they are."""

    __slots__ = ("_expected", "_left", "_limit", "_now", "_resume")

    def __init__(self, limit: RateLimit, resume: Resume, expected: int, now: float) -> None:
        self._limit = limit
        self._resume = resume
        self._expected = expected
        self._now = now
        self._left: int | None = None

    def may_ask(self) -> bool:
        """Whether one block more may be asked for. If not, `resume` is called when that has changed."""
        limit, left = self._limit, self._left
        if not limit.fits(self._expected, self._resume):
            return False
        if left is None:
            left = limit.take_turn(self._resume, self._now)
            if not left:
                return False
        elif left <= 0:
            limit.wait(self._resume, self._now)
            return False
        self._left = left - self._expected
        return True
