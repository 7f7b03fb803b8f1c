"""Limits the bytes in one direction, over all peers and all cores.

A token bucket that may go into debt: each turn moves at least one block of any size, and the next turn comes
when the debt is paid. So the average is exact, and small messages (heads, announcements) never wait for
blocks. Waiters take turns, each moving about the same number of bytes.

Downloads have a second bound: a budget of bytes that fit on the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

TICK = 0.01
"""Least seconds between two rounds of turns: each costs a turn of the loop."""

MIN_TURN_BYTES = 16 * 1024
"""Least bytes of one turn, a block more or less."""

BURST = 0.2
"""Seconds for which an idle bucket fills: the bytes of so many seconds may come at once after a silence."""

MAX_TURN_BYTES = 1 << 40
"""Bytes of a turn without a rate: no practical bound."""

BLOCK_OVERHEAD = 160
"""Bytes on disk for a stored block beside its content: its part of the tree (80 bytes) and its row; 139 bytes
were measured for empty blocks. Rates and budgets count it, so that empty blocks are not free."""

Resume = Callable[[], None]
"""Resumes a waiter. Equal functions are the same waiter."""


class RateLimit:
    """A rate and a budget. Without both (`active` is false) callers may skip it.

    Call `take_turn` before moving bytes, `consume` for those moved, `wait` when there is more than the turn
    allowed. For requested blocks `reserve` charges their estimated size; `refund` returns it when they come
    (then `consume` them) or are cancelled.
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
        """`on_wake` is called when the deadline moves to an earlier time."""
        self._on_wake = on_wake
        self.active = False
        self.moved = 0
        """Bytes spent so far, while it was active."""
        self.received = 0
        """Bytes of verified blocks received, active or not, each with BLOCK_OVERHEAD."""
        self.reserved = 0
        """Estimated bytes of requested blocks that have not come."""
        self.held_at = float("-inf")
        """When a waiter last had to wait for the rate."""
        self.lacking = 0
        """Bytes of the block that last did not fit the budget; 0 when it does."""
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
        # A debt made under another rate is not carried over
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
        """Set the bytes that may still be reserved (None: any number), and wake transfers that waited for
        it."""
        self._budget = budget
        self._update_active()
        if budget is None or budget >= max(self.lacking, 1):
            self.lacking = 0
            self._resume(self._starving)

    def _update_active(self) -> None:
        self.active = self._rate is not None or self._budget is not None

    def _resume(self, waiters: dict[Resume, None]) -> None:
        resumed = list(waiters)
        waiters.clear()
        for resume in resumed:
            resume()

    # --- moving ---------------------------------------------------------------------------------------------

    def take_turn(self, resume: Resume, now: float) -> int:
        """Bytes that the waiter may move now; its last block may exceed them. 0: `resume` is called when its
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
        """Queue a waiter that has more to move than its turn allowed."""
        rate = self._rate
        if rate is None:
            resume()
            return
        self._waiting[resume] = None
        if self._balance <= 0:
            self.held_at = now
        self._wake_at(now if self._balance > 0 else self._updated - self._balance / rate)

    def remove_waiter(self, resume: Resume) -> None:
        """Remove a waiter."""
        self._waiting.pop(resume, None)
        self._starving.pop(resume, None)
        self._granted.discard(resume)

    def consume(self, size: int) -> None:
        """Charge `size` moved bytes."""
        self.moved += size
        self._balance -= size
        if self._budget is not None:
            self._budget -= size

    def fits(self, size: int, resume: Resume) -> bool:
        """Whether a block fits the budget. If not, `resume` is called when the budget grows."""
        if self._budget is None or size <= self._budget:
            return True
        self.lacking = max(size, 1)
        self._starving[resume] = None
        return False

    def reserve(self, size: int) -> int:
        """Charge the estimated size of requested blocks. Returns the amount for `refund`."""
        self.reserved += size
        self._balance -= size
        if self._budget is not None:
            self._budget -= size
        return size

    def refund(self, size: int) -> None:
        """Undo `reserve`: the blocks have come (`consume` them) or will not come."""
        self.reserved -= size
        self._balance += size
        if self._budget is not None:
            self._budget += size

    # --- time -----------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` must be called; None without waiters."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Give turns to waiters while there are bytes."""
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
    """One peer's turn at requesting blocks of unknown size."""

    __slots__ = ("_expected", "_left", "_limit", "_now", "_resume")

    def __init__(self, limit: RateLimit, resume: Resume, expected: int, now: float) -> None:
        self._limit = limit
        self._resume = resume
        self._expected = expected
        self._now = now
        self._left: int | None = None

    def may_ask(self) -> bool:
        """Whether one more block may be requested. If not, `resume` is called when it may."""
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
