"""Sharing the loop among connections, so that no peer's work holds up the others'.

What a peer makes us do (taking its messages apart, answering it) is done in slices of a millisecond, at most
a few of them in one turn of the loop. Each connection has a debt: the time that it took, less what useful
work is worth (blocks that moved, channels that opened), forgiven at a steady pace. Connections in little
debt come first; those in much debt share a fixed part of the time, so a peer that only keeps us busy slows
down itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Protocol

SLICE_SECONDS = 0.001
"""What a connection gets at a time, if others wait; alone it gets what is left of the turn."""

TURN_SECONDS = 0.004
"""What all connections get in one turn of the loop; then sockets and timers have theirs."""

SMALL_DEBT_SECONDS = 0.005
"""Debt up to which a connection comes before all that are in more."""

MAX_DEBT_SECONDS = 0.25
"""Debt above which a connection gets time from the bounded share alone, even when nothing else is to be
done."""

DEBT_SHARE = 0.15
"""Part of the time that those in more than small debt are sure of, and the most for those above
MAX_DEBT_SECONDS. Also what is forgiven of all debts, divided among those who have any."""

COUNT_SECONDS = 0.1
"""How often those in debt are counted."""

USEFUL_SECONDS = 0.0005
"""What one piece of useful work (see `Muxer.useful`) is worth: about what a block costs."""


class Worker(Protocol):
    debt: Debt

    def work(self, expired: Callable[[], bool]) -> bool:
        """Do what there is to do until `expired()` holds. True if there is more."""

    def take_useful(self) -> int:
        """Pieces of useful work since the last call."""


class Debt:
    """What one connection owes, in seconds."""

    __slots__ = ("_at", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._at = 0.0

    def forgive(self, now: float, share: float) -> float:
        """What is left by `now`, if `share` seconds are forgiven a second."""
        self.seconds = max(0.0, self.seconds - (now - self._at) * share)
        self._at = now
        return self.seconds

    def charge(self, seconds: float) -> None:
        self.seconds = max(0.0, self.seconds + seconds)


class Turns:
    """The queue of connections that have something to do. One for all connections of a store."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = perf_counter,
        work_clock: Callable[[], float] = thread_time,
    ) -> None:
        """`work_clock` counts the work of this thread: what other processes take is no connection's debt."""
        self._loop = loop
        self._clock = clock
        self._work_clock = work_clock
        self._queues: tuple[OrderedDict[Worker, None], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        """In small debt, in debt, above MAX_DEBT_SECONDS."""
        self._debtors: set[Worker] = set()
        self._forgiven = DEBT_SHARE
        """Seconds that are forgiven each of them a second."""
        self._counted = clock()
        self._working: Worker | None = None
        self._until = 0.0
        self._tokens = 0.0
        self._left = TURN_SECONDS
        """What is left of this turn of the loop for `run_now`. Who uses it is added, too: that ends the
        turn."""
        self._seen = clock()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, worker: Worker) -> None:
        """It has something to do. May be called any number of times."""
        if worker is self._working:
            return  # what it returns says whether there is more
        for queue in self._queues:
            if worker in queue:
                return
        self._enqueue(worker)
        self._schedule()

    def run_now(self, worker: Worker, work: Callable[[Callable[[], bool]], object]) -> None:
        """Have a worker in small debt do something before its turn, as far as this turn of the loop has time
        left: what has just come in is still in the processor's cache. `work` may not raise."""
        if self._left <= 0 or self._working is not None or worker.debt.seconds > SMALL_DEBT_SECONDS:
            return
        worked, now = self._work_clock(), self._clock()  # in this order: asking the former may take a while
        self._until = now + self._left
        self._working = worker
        try:
            work(self.expired)
        finally:
            self._working = None
        self._left -= self._clock() - now
        self._charge(worker, self._work_clock() - worked)

    def discard(self, worker: Worker) -> None:
        """It is gone."""
        self._debtors.discard(worker)
        for queue in self._queues:
            queue.pop(worker, None)

    def expired(self) -> bool:
        """Whether the slice in hand is over."""
        return self._clock() >= self._until

    def _enqueue(self, worker: Worker) -> None:
        now = self._clock()
        debt = worker.debt.forgive(now, self._forgiven)
        level = 0 if debt <= SMALL_DEBT_SECONDS else 1 if debt <= MAX_DEBT_SECONDS else 2
        self._queues[level][worker] = None

    def _schedule(self) -> None:
        if self._scheduled:
            return
        first, second, last = self._queues
        if first or second:
            self._scheduled = True
            self._loop.call_soon(self._run)
        elif last and self._timer is None:
            wait = max(SLICE_SECONDS, (SLICE_SECONDS - self._tokens) / DEBT_SHARE)
            self._timer = self._loop.call_later(wait, self._run_late)

    def _run_late(self) -> None:
        self._timer = None
        if not self._scheduled:
            self._scheduled = True
            self._run()

    def _run(self) -> None:
        self._scheduled = False
        now = self._clock()
        self._tokens = min(TURN_SECONDS, self._tokens + (now - self._seen) * DEBT_SHARE)
        self._seen = now
        self._left = TURN_SECONDS
        if now - self._counted > COUNT_SECONDS:
            self._count_debtors(now)
        end = now + TURN_SECONDS
        first, second, last = self._queues
        if first:
            self._serve(first, end)
        for queue, bounded in ((second, bool(first)), (last, True)):
            if not queue:
                continue
            began = self._clock()
            self._serve(queue, min(end, began + self._tokens) if bounded else end)
            self._tokens = max(0.0, self._tokens - (self._clock() - began))
        self._schedule()

    def _serve(self, queue: OrderedDict[Worker, None], end: float) -> None:
        """Let those in the queue work, each a slice, in turns."""
        # A busy system takes the processor away when asked for the work so far: that is no part of a slice
        worked, now = self._work_clock(), self._clock()
        while queue and now < end:
            worker, _ = queue.popitem(last=False)
            # Alone it need not take turns: what it says in one go shares messages
            self._until = min(now + SLICE_SECONDS, end) if queue else end
            self._working = worker
            try:
                more = worker.work(self.expired)
            except Exception as error:
                more = False
                self._loop.call_exception_handler(
                    {"message": "the work of a connection failed", "exception": error}
                )
            finally:
                self._working = None
            before, worked = worked, self._work_clock()
            self._charge(worker, worked - before)
            now = self._clock()
            if more:
                self._enqueue(worker)

    def _charge(self, worker: Worker, seconds: float) -> None:
        worker.debt.charge(seconds - worker.take_useful() * USEFUL_SECONDS)
        if worker.debt.seconds:
            self._debtors.add(worker)

    def _count_debtors(self, now: float) -> None:
        self._forgiven = DEBT_SHARE / max(1, len(self._debtors))
        share = self._forgiven
        self._debtors = {worker for worker in self._debtors if worker.debt.forgive(now, share)}
        self._counted = now
