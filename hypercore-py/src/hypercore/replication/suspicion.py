"""Failed requests for a core at a peer, kept over reconnects, and when they are repeated.

An official peer ends the whole connection at a request that it cannot prove, so one block of one core would
stop all other cores of that peer. When a peer ends a connection, the requests in flight are *suspected*: on
the next connection they are repeated apart from others, on *trial*. One core at a time has trials at a peer,
and only trials are blamed if the connection ends meanwhile. The only request on trial when a connection ends
is *refused*: that peer gets it no more for a while, longer each time.

A core for which a peer sends data that does not verify or decode is backed off as a whole at that peer. After
several such cores the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

HEAD = -1
"""Stands for a request about the head, in place of a block."""

MAX_RECORDS = 4096
"""Records, each of a peer and a core. The oldest are deleted first, those of peers that gave nothing of the
core before others. Ours."""
MAX_SUSPECTS = 512
"""Suspects of one record: as many as may be in flight to one peer. The product with MAX_RECORDS is about 200
MiB, so there is a budget over all records as well (MAX_ALL_SUSPECTS)."""
MAX_ALL_SUSPECTS = 65536
"""Suspects of all records, about 100 bytes each. The oldest records are deleted first. Ours."""
MAX_DOUBTED = 64
"""Blocks of a record that are suspected in advance. Ours."""
SINGLE_TRIALS = 8
"""Number of first trials that are made one at a time: the cause is mostly among the oldest unanswered
requests. Ours."""
MAX_TRIALS = 64
"""Bound on requests on trial at a time after those; they double with each answer. Ours."""
MAX_BAD_CORES = 3
"""Cores with bad data after which the connection to a peer is closed. Ours."""

MAX_FALSE_ALARMS = 4
"""Blocks suspected in advance that a peer has proven, after which it is trusted to prove all. Ours."""

FIRST_TRIAL = 0.2
"""Seconds until suspects of a core are tried if the ended connection had brought blocks of it."""
IDLE_TRIAL = 2.0
"""Seconds until they are tried if it had not: such a core is more likely to be the cause, so the others go
first."""
CORE_BACKOFF = 1.0
"""Seconds that a core waits for its next trial at a peer after a trial has ended a connection; doubles each
time."""
BLOCK_BACKOFF = 300.0
"""Seconds until a refused request may be repeated if the peer has reported a new head of the core since;
doubles each time. Without a new report it is MAX_BACKOFF."""
BAD_DATA_BACKOFF = 60.0
"""Seconds for which a core has no channel with a peer that sent bad data; doubles each time."""
MAX_BACKOFF = 21600.0
"""Largest of these times, in seconds."""


NOTHING_AVOIDED: Collection[int] = frozenset()
"""Shared by the peers without suspects."""


class Refused(NamedTuple):
    """A request at which the peer ends the connection."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    """The block, or HEAD."""
    seconds: float
    """Seconds until it may be repeated."""


class Refusal(NamedTuple):
    """A request that is not repeated."""

    times: int
    """Number of connections that it ended."""
    until: float
    """When it may be repeated if the peer has reported a new head of the core."""
    until_unchanged: float
    """When it may be repeated without a new report."""
    state: tuple[int, int] | None
    """Fork and length in the peer's report at that time."""


class Record:
    """The failed requests for one core at one peer."""

    __slots__ = (
        "avoided",
        "bad",
        "closed_until",
        "deaths",
        "doubted",
        "false_alarms",
        "gave",
        "refused",
        "retry_at",
        "state",
        "suspects",
        "testing",
        "tried",
        "window",
    )

    def __init__(self) -> None:
        self.avoided: dict[int, None] = {}
        """Suspected and refused requests, which are sent only as trials or not at all."""
        self.suspects: dict[int, None] = {}
        self.doubted: dict[int, None] = {}
        """Blocks that are suspected in advance."""
        self.false_alarms = 0
        """Number of doubted blocks that were answered."""
        self.gave = False
        """Whether the peer gave blocks of the core, which makes the record more valuable."""
        self.refused: dict[int, Refusal] = {}
        self.state: tuple[int, int] | None = None
        """Fork and length in the peer's last report."""
        self.testing: dict[int, None] = {}
        """Trials in flight."""
        self.window = 1
        self.tried = 0
        """Answered trials since a connection ended; below 0 while more than SINGLE_TRIALS are single."""
        self.deaths = 0
        """Connections that trials have ended."""
        self.retry_at = 0.0
        self.bad = 0
        """Number of times the peer sent bad data."""
        self.closed_until = 0.0
        """When the core's channel with the peer may be opened again."""

    def suspect(self, index: int) -> bool:
        """Keep a request for a trial. False if the record is full."""
        if index not in self.avoided:
            if len(self.avoided) >= MAX_SUSPECTS:
                return False
            self.suspects[index] = self.avoided[index] = None
        return True

    def drop(self, index: int) -> None:
        """Remove a request from all tables."""
        for table in (self.testing, self.suspects, self.avoided, self.doubted):
            table.pop(index, None)
        self.refused.pop(index, None)

    def answered(self, index: int) -> None:
        """A trial was answered, so the request is harmless."""
        self.false_alarms += index in self.doubted
        self.drop(index)
        self.tried += 1
        if self.tried > SINGLE_TRIALS:
            self.window = min(2 * self.window, MAX_TRIALS)
        if not self.suspects and not self.refused:
            self.deaths = 0

    def refuse(self, index: int, now: float) -> float:
        """A request ended the connection. Returns the least seconds until it may be repeated."""
        before = self.refused.get(index)
        times = 1 if before is None else before.times + 1
        seconds = _doubled(BLOCK_BACKOFF, times)
        self.refused[index] = Refusal(times, now + seconds, now + MAX_BACKOFF, self.state)
        self.avoided[index] = None
        self.suspects.pop(index, None)
        self.doubted.pop(index, None)
        self.false_alarms = 0
        return seconds

    def expire_refusals(self, now: float) -> None:
        """Make requests whose refusal has expired suspects again."""
        for index, refusal in self.refused.items():
            if now >= self._until(refusal):
                self.suspects[index] = None

    def _until(self, refusal: Refusal) -> float:
        return refusal.until_unchanged if refusal.state == self.state else refusal.until

    def next_at(self, now: float) -> float | None:
        """Time of the next trial that has to wait; None without one."""
        times = [self._until(entry) for index, entry in self.refused.items() if index not in self.suspects]
        if self.suspects:
            times.append(self.retry_at)
        return min((at for at in times if at > now), default=None)


class Suspicions:
    """All records, shared by the replicators of one corestore."""

    def __init__(self) -> None:
        self._records: dict[tuple[bytes, bytes], Record] = {}
        self._suspects = 0
        """Suspects of all records, at most: they are counted anew when that is too many."""
        self._testers: dict[bytes, tuple[bytes, dict[Callable[[], None], None]]] = {}
        """Peer -> the core that has trials there, and the callbacks of waiting cores."""
        self._blamed: dict[bytes, float] = {}
        """Peer -> when a trial was last blamed for the end of a connection."""
        self._bad: dict[bytes, dict[bytes, None]] = {}
        """Peer -> the cores with which it sent bad data on its connection."""

    def find(self, peer: bytes, core: bytes) -> Record | None:
        """Return the record of a peer and a core, or None."""
        return self._records.get((peer, core))

    def record(self, peer: bytes, core: bytes) -> Record:
        """The record of a peer and a core, made if needed."""
        key = (peer, core)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record()
            self._make_room(record)
        return record

    def suspect(self, record: Record, index: int) -> bool:
        """See `Record.suspect`."""
        self._suspects += index not in record.avoided
        return record.suspect(index)

    def _make_room(self, kept: Record) -> None:
        """Delete the oldest records, a sixteenth at a time, if a budget is exceeded. A connection that ends
        calls it for thousands of cores, so that it visits all records only now and then."""
        if len(self._records) <= MAX_RECORDS and self._suspects <= MAX_ALL_SUSPECTS:
            return
        total = self._suspects = sum(len(record.avoided) for record in self._records.values())
        if len(self._records) <= MAX_RECORDS and total <= MAX_ALL_SUSPECTS:
            return
        for key in sorted(self._records, key=lambda key: self._records[key].gave):
            if len(self._records) <= MAX_RECORDS * 15 // 16 and total <= MAX_ALL_SUSPECTS * 15 // 16:
                break
            if self._records[key] is not kept:
                total -= len(self._records.pop(key).avoided)
        self._suspects = total

    # --- requests that end the connection -------------------------------------------------------------------

    def ended(
        self, peer: bytes, core: bytes, asked: Iterable[int], now: float, *, gave: bool = True
    ) -> list[Refused]:
        """The peer has ended the connection without answering `asked`. Returns the requests that are now
        refused.

        `gave`: it had answered a request before. Call it at one time for each core with a channel.
        """
        if not peer:
            return []  # the peer has no key by which to recognise it
        record = self.find(peer, core)
        tester = self._testers.get(peer)
        if record is not None and record.testing:
            self._blamed[peer] = now
            return self._trial_failed(record, now)
        others_trial = tester is not None and tester[0] != core
        if others_trial or self._blamed.get(peer) == now:
            return []
        asked = list(asked)
        if asked:
            record = self.record(peer, core)
            record.gave |= gave
            for index in asked:
                self.suspect(record, index)
            self._make_room(record)
            record.window, record.tried = 1, 0
            record.retry_at = max(record.retry_at, now + (FIRST_TRIAL if gave else IDLE_TRIAL))
        return []

    def _trial_failed(self, record: Record, now: float) -> list[Refused]:
        record.deaths += 1
        record.retry_at = now + _doubled(CORE_BACKOFF, record.deaths)
        tried = list(record.testing)
        record.testing.clear()
        record.window, record.tried = 1, min(0, SINGLE_TRIALS - len(tried))
        if len(tried) != 1:
            # One of these is the cause: try them first, one at a time
            rest = [index for index in record.suspects if index not in tried]
            record.suspects.clear()
            record.suspects.update(dict.fromkeys(tried + rest))
            return []
        return [Refused(tried[0], record.refuse(tried[0], now))]

    def may_test(self, peer: bytes, core: bytes, waiter: Callable[[], None]) -> bool:
        """Whether the core may have trials at the peer now; if not, `waiter` is called when it may."""
        tester = self._testers.get(peer)
        if tester is None:
            self._testers[peer] = (core, {})
            return True
        if tester[0] == core:
            return True
        tester[1][waiter] = None
        return False

    def tests_over(self, peer: bytes, core: bytes) -> None:
        """The core has no trial in flight at the peer: call a waiting core."""
        tester = self._testers.get(peer)
        if tester is not None and tester[0] == core:
            del self._testers[peer]
            for waiter in tester[1]:
                waiter()

    # --- bad data -------------------------------------------------------------------------------------------

    def bad_data(self, peer: bytes, core: bytes, now: float) -> float | None:
        """The peer has sent too much bad data for a core.

        Returns the seconds until the core's channel with it may be opened again; None if the connection must
        be closed, after bad data for several cores.
        """
        record = self.record(peer, core)
        record.bad += 1
        seconds = _doubled(BAD_DATA_BACKOFF, record.bad)
        record.closed_until = now + seconds
        bad = self._bad.setdefault(peer, {})
        bad[core] = None
        return None if not peer or len(bad) >= MAX_BAD_CORES else seconds

    def disconnected(self, peer: bytes) -> None:
        """The connection to the peer is closed."""
        self._bad.pop(peer, None)
        self._blamed.pop(peer, None)
        tester = self._testers.pop(peer, None)
        if tester is not None:
            record = self.find(peer, tester[0])
            if record is not None:
                record.testing.clear()


def _doubled(seconds: float, times: int) -> float:
    return min(seconds * 2.0 ** min(times - 1, 32), MAX_BACKOFF)
