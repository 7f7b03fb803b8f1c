"""Shares the loop's time among connections, so that one peer's work does not delay the others'.

Work for a peer (processing its messages, answering them) is done in slices of a millisecond, at most four
milliseconds in one turn of the loop. Each connection has a debt: the time it took, less the worth of its
useful work (blocks that moved, channels that opened). Debts shrink at a steady rate. Connections with little
debt come first; those with much debt share a fixed part of the time, so a peer that causes only useless work
slows itself down.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Protocol

SLICE_SECONDS = 0.001
"""Seconds for a connection at a time while others wait. One alone gets the rest of the turn."""

TURN_SECONDS = 0.004
"""Seconds for all connections in one turn of the loop; sockets and timers run between turns."""

SMALL_DEBT_SECONDS = 0.005
"""Debt in seconds up to which a connection is served before those with more."""

MAX_DEBT_SECONDS = 0.25
"""Debt in seconds above which a connection gets only its bounded share, even when no other one waits."""

DEBT_SHARE = 0.15
"""Part of the time reserved for connections above SMALL_DEBT_SECONDS, and the bound for those above
MAX_DEBT_SECONDS. Also the seconds a second by which all debts together shrink."""

COUNT_SECONDS = 0.1
"""Seconds between two counts of the connections in debt."""

USEFUL_SECONDS = 0.0005
"""Seconds that one piece of useful work (see `Muxer.useful`) takes off a debt: about what a block costs."""


class Worker(Protocol):
    debt: Debt

    def work(self, expired: Callable[[], bool]) -> bool:
        """Work until there is nothing to do or `expired()`. True if there is more to do."""

    def take_useful(self) -> int:
        """Pieces of useful work since the last call."""


class Debt:
    """Debt of one connection, in seconds."""

    __slots__ = ("_at", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._at = 0.0

    def forgive(self, now: float, share: float) -> float:
        """The debt at `now`, if it shrinks by `share` seconds a second."""
        self.seconds = max(0.0, self.seconds - (now - self._at) * share)
        self._at = now
        return self.seconds

    def charge(self, seconds: float) -> None:
        self.seconds = max(0.0, self.seconds + seconds)


class Turns:
    """The queue of connections with work to do. One for all connections of a store."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = perf_counter,
        work_clock: Callable[[], float] = thread_time,
    ) -> None:
        """`work_clock` counts the processor time of this thread: time of other processes is no debt."""
        self._loop = loop
        self._clock = clock
        self._work_clock = work_clock
        self._queues: tuple[OrderedDict[Worker, None], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        """Connections up to SMALL_DEBT_SECONDS, above it, and above MAX_DEBT_SECONDS."""
        self._debtors: set[Worker] = set()
        self._forgiven = DEBT_SHARE
        """Seconds a second by which each debt shrinks."""
        self._counted = clock()
        self._working: Worker | None = None
        self._until = 0.0
        self._tokens = 0.0
        self._left = TURN_SECONDS
        """Seconds left in this turn of the loop for `run_now`. A worker that uses it is queued too, which
        ends the turn."""
        self._seen = clock()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, worker: Worker) -> None:
        """Queue a worker that has work to do. It may be queued already."""
        if worker is self._working:
            return  # the return value of `work` decides whether it is queued again
        for queue in self._queues:
            if worker in queue:
                return
        self._enqueue(worker)
        self._schedule()

    def run_now(self, worker: Worker, work: Callable[[Callable[[], bool]], object]) -> None:
        """Run `work` of a worker in small debt before its turn, if this turn of the loop has time left: data
        that has just arrived is still in the processor's cache. `work` must not raise."""
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
        """Remove a worker whose connection is closed."""
        self._debtors.discard(worker)
        for queue in self._queues:
            queue.pop(worker, None)

    def expired(self) -> bool:
        """Whether the current slice is over."""
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
        """Serve the workers of a queue in turns, a slice each."""
        # Reading the work clock can switch processes on a busy system: that time is no part of a slice
        worked, now = self._work_clock(), self._clock()
        while queue and now < end:
            worker, _ = queue.popitem(last=False)
            # A worker alone takes the whole turn: output of one call shares messages
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
