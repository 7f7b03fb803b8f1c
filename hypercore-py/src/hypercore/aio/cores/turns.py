"""Shares the loop's time among connections, so that one peer's work does not delay the others'.

Work for a peer (processing its messages, answering them) is done in slices of a millisecond, at most four
milliseconds in one turn of the loop. Each connection has a debt (`debts`): the time it took, that of its
packets included, less the worth of its useful work (blocks that moved, channels that opened). Connections
with little debt come first, in turns. The others share a fixed part of the time, those with less debt before
those with more, so a peer that causes only useless work slows itself down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import perf_counter, thread_time
from typing import NamedTuple, Protocol

from .debts import FORGIVEN_SHARE, Debt, Debts

SLICE_SECONDS = 0.001
"""Seconds for a connection at a time while others wait. One alone gets the rest of the turn."""

TURN_SECONDS = 0.004
"""Seconds for all connections in one turn of the loop; sockets and timers run between turns."""

DEBTORS_TURN_SECONDS = 0.001
"""The same while all that wait are above SMALL_DEBT_SECONDS, so that a message of another one waits no
longer."""

SMALL_DEBT_SECONDS = 0.005
"""Debt in seconds up to which a connection is served before those with more."""

ACTIVE_SECONDS = 0.02
"""Seconds for which connections above SMALL_DEBT_SECONDS keep to DEBT_SHARE after another one had work to do,
so that its next message finds the loop idle: about a round trip, and the time the peer takes to answer."""

MAX_DEBT_SECONDS = 0.25
"""Debt in seconds above which a connection gets only its bounded share, even when no other one waits."""

DEBT_SHARE = FORGIVEN_SHARE
"""Part of the time reserved for connections above SMALL_DEBT_SECONDS, and the bound for those above
MAX_DEBT_SECONDS: as much as debts shrink."""

USEFUL_SECONDS = 0.0005
"""Seconds that one piece of useful work (see `Muxer.useful`) takes off a debt: about what a small block
costs."""

USEFUL_BYTE_SECONDS = 8e-9
"""Seconds for each byte of it on top of that. A block of 64 KiB costs another half of a millisecond, packets
included."""

ASSUMED_BLOCK_BYTES = 65536
"""Assumed size, in bytes, of a block that is requested and not here yet: that of most blocks of drives."""

MAX_ASSUMED_BLOCKS = 64
"""Blocks of a connection that count before they are processed: those of an official message of 4 MB. Ours."""

ASSUMED_BLOCK_SECONDS = USEFUL_SECONDS + ASSUMED_BLOCK_BYTES * USEFUL_BYTE_SECONDS
"""Seconds that such a block will take off a debt."""


class Useful(NamedTuple):
    """Useful work of one connection."""

    pieces: int
    size: int
    """Bytes of the blocks among them."""
    received: bool
    """Whether the peer gave us any of them."""


class TurnTaker(Protocol):
    debt: Debt

    @property
    def requested(self) -> int:
        """Blocks that were requested from the peer and that it has not answered yet."""

    @property
    def unprocessed(self) -> int:
        """Bytes that were received and not processed yet."""

    def work(self, expired: Callable[[], bool]) -> bool:
        """Work until there is nothing to do or `expired()`. True if there is more to do."""

    def take_useful(self) -> Useful:
        """Useful work since the last call."""


class _Queue:
    """Workers that wait: lowest rank first, and first come, first served within a rank."""

    __slots__ = ("_entries", "_number", "_waiting")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, TurnTaker]] = []
        """A heap. Entries of takers that were discarded stay for a while."""
        self._waiting: dict[TurnTaker, int] = {}
        """TurnTaker -> number of its entry."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, taker: TurnTaker) -> bool:
        return taker in self._waiting

    def push(self, taker: TurnTaker, rank: float) -> None:
        self._number += 1
        self._waiting[taker] = self._number
        heappush(self._entries, (rank, self._number, taker))

    def pop(self) -> TurnTaker:
        """Remove and return the first taker. The queue must not be empty."""
        while True:
            _, number, taker = heappop(self._entries)
            if self._waiting.get(taker) == number:
                del self._waiting[taker]
                return taker

    def discard(self, taker: TurnTaker) -> None:
        if self._waiting.pop(taker, None) is not None and len(self._entries) > 2 * len(self._waiting) + 16:
            waiting = self._waiting
            self._entries = [entry for entry in self._entries if waiting.get(entry[2]) == entry[1]]
            heapify(self._entries)


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
        self._queues = (_Queue(), _Queue(), _Queue())
        """Connections up to SMALL_DEBT_SECONDS, above it, and above MAX_DEBT_SECONDS."""
        self._debts = Debts(clock())
        self._active_at = float("-inf")
        """When a connection up to SMALL_DEBT_SECONDS last had work to do."""
        self._working: TurnTaker | None = None
        self._until = 0.0
        self._tokens = 0.0
        self._left = TURN_SECONDS
        """Seconds left in this turn of the loop for `run_now`. A taker that uses it is queued too, which
        ends the turn."""
        self._seen = clock()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, taker: TurnTaker) -> None:
        """Queue a taker that has work to do. It may be queued already."""
        if taker is self._working:
            return  # the return value of `work` decides whether it is queued again
        for queue in self._queues:
            if taker in queue:
                return
        self._enqueue(taker)
        self._schedule()

    def run_now(self, taker: TurnTaker, work: Callable[[Callable[[], bool]], object]) -> None:
        """Run `work` of a taker in small debt before its turn, if this turn of the loop has time left: data
        that has just arrived is still in the processor's cache. `work` must not raise. The caller charges the
        time."""
        if self._left <= 0 or self._working is not None or self._owed(taker) > SMALL_DEBT_SECONDS:
            return
        now = self._clock()
        self._until = now + self._left
        self._working = taker
        try:
            work(self.expired)
        finally:
            self._working = None
        self._left -= self._clock() - now

    def charge(self, taker: TurnTaker, seconds: float) -> None:
        """Add time that the taker took outside its turns to its debt, in seconds of the work clock."""
        pieces, size, received = taker.take_useful()
        paid = pieces * USEFUL_SECONDS + size * USEFUL_BYTE_SECONDS
        self._debts.charge(taker.debt, seconds, paid=paid, earned=paid if received else 0.0)

    def discard(self, taker: TurnTaker) -> None:
        """Remove a taker whose connection is closed."""
        self._debts.discard(taker.debt)
        for queue in self._queues:
            queue.discard(taker)

    def expired(self) -> bool:
        """Whether the current slice is over."""
        return self._clock() >= self._until

    def _enqueue(self, taker: TurnTaker) -> None:
        self._debts.advance(self._clock())
        owed = self._owed(taker)
        if owed <= SMALL_DEBT_SECONDS:
            self._queues[0].push(taker, 0.0)  # in turns: useful work keeps debts at 0, however long it takes
        else:
            self._queues[1 if owed <= MAX_DEBT_SECONDS else 2].push(taker, self._debts.clock + owed)

    def _owed(self, taker: TurnTaker) -> float:
        """The debt in seconds, less what requested blocks are worth that have arrived and are not counted.

        Official peers send dozens of blocks in one message of megabytes. Its packets are charged as they
        come, its blocks counted only when it is whole: without this a publisher would fall behind hundreds
        of others in a little less debt, in the middle of its first message. The store's bound on received
        bytes bounds what all connections get ahead."""
        owed = self._debts.owed(taker.debt)
        if owed > SMALL_DEBT_SECONDS:
            arrived = min(taker.requested, taker.unprocessed / ASSUMED_BLOCK_BYTES, MAX_ASSUMED_BLOCKS)
            owed -= ASSUMED_BLOCK_SECONDS * arrived
        return max(0.0, owed)

    def _schedule(self) -> None:
        if self._scheduled:
            return
        first, second, last = self._queues
        if first or (second and self._clock() - self._active_at >= ACTIVE_SECONDS):
            self._scheduled = True
            self._loop.call_soon(self._run)
        elif (second or last) and self._timer is None:
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
        first, second, last = self._queues
        end = now + (TURN_SECONDS if first else DEBTORS_TURN_SECONDS)
        if first:
            self._active_at = now
            self._serve(first, end)
        for queue, bounded in ((second, now - self._active_at < ACTIVE_SECONDS), (last, True)):
            if not queue:
                continue
            began = self._clock()
            self._serve(queue, min(end, began + self._tokens) if bounded else end)
            self._tokens = max(0.0, self._tokens - (self._clock() - began))
        self._schedule()

    def _serve(self, queue: _Queue, end: float) -> None:
        """Serve the takers of a queue in turns, a slice each."""
        # Reading the work clock can switch processes on a busy system: that time is no part of a slice
        worked, now = self._work_clock(), self._clock()
        while queue and now < end:
            taker = queue.pop()
            # A taker alone takes the whole turn: output of one call shares messages
            self._until = min(now + SLICE_SECONDS, end) if queue else end
            self._working = taker
            try:
                more = taker.work(self.expired)
            except Exception as error:
                more = False
                self._loop.call_exception_handler(
                    {"message": "the work of a connection failed", "exception": error}
                )
            finally:
                self._working = None
            before, worked = worked, self._work_clock()
            self.charge(taker, worked - before)
            now = self._clock()
            if more:
                self._enqueue(taker)
