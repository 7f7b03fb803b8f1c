"""What went wrong with a core at a peer, over reconnects, and what to ask it for later, alone, or not at all.

An official peer ends the whole connection at a request that it cannot prove, so one block of one core would
starve all other cores of that peer. When a connection is ended by the peer, whatever was asked for and not
answered is *suspected*: on the next connection it is asked for apart from the rest, on trial. One core at
a time has trials at a peer, and nothing but a trial is blamed if the connection ends meanwhile. What ends it
when it is the only trial is *refused*: that block is not asked of that peer for a while, longer each time.

A core with which a peer sends what does not verify or decode is backed off as a whole, at that peer. A peer
that does so with several cores is not worth its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

HEAD = -1
"""Stands for a request about the head of the core where others stand for a block."""

MAX_RECORDS = 4096
"""Pairs of a peer and a core that are remembered; the oldest is forgotten first, those of peers that have
given nothing of the core before others. Ours."""
MAX_SUSPECTS = 512
"""Blocks that one record remembers: as many as may be in flight to one peer. The product with MAX_RECORDS is
about 200 MiB, so there is a budget over all of them as well (MAX_ALL_SUSPECTS)."""
MAX_ALL_SUSPECTS = 65536
"""Blocks that all records remember, about 100 bytes each; the oldest records are forgotten first. Ours."""
MAX_DOUBTED = 64
"""Blocks of a record that may wait because they are suspected in advance. Ours."""
SINGLE_TRIALS = 8
"""Trials that are made one at a time: what ended a connection is mostly among the oldest unanswered requests.
Ours."""
MAX_TRIALS = 64
"""Requests on trial at a time after those: twice as many with each answer. Ours."""
MAX_BAD_CORES = 3
"""Cores with which one peer may send bad data before its connection is cut. Ours."""

MAX_FALSE_ALARMS = 4
"""Blocks that a peer has proven against expectation after which we expect it to prove all. Ours."""

FIRST_TRIAL = 0.2
"""Seconds until suspects of a core are tried if the ended connection had brought something of it."""
IDLE_TRIAL = 2.0
"""Seconds until they are tried if it had not: such a core is more likely to be the cause, so the others go
first."""
CORE_BACKOFF = 1.0
"""Seconds that a core waits for its next trial at a peer after a trial has ended a connection; doubles each
time."""
BLOCK_BACKOFF = 300.0
"""Seconds that a refused request is not repeated if the peer has reported anything new of the core since;
doubles each time. Otherwise there is nothing to find out, and MAX_BACKOFF counts."""
BAD_DATA_BACKOFF = 60.0
"""Seconds that a core is not spoken about with a peer that sent bad data; doubles each time."""
MAX_BACKOFF = 21600.0
"""Seconds that any of these last at most."""


NOTHING_AVOIDED: Collection[int] = frozenset()
"""What is avoided at nearly all peers."""


class Refused(NamedTuple):
    """A request at which the peer ends the connection."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    """The block, or HEAD."""
    seconds: float
    """How long it is not repeated."""


class Refusal(NamedTuple):
    """A request that is not repeated."""

    times: int
    """How often it has ended the connection."""
    until: float
    """When it may be repeated if the peer has reported anything new of the core."""
    until_unchanged: float
    """When it may be repeated if not."""
    state: tuple[int, int] | None
    """The peer's report at that time."""


class Record:
    """One core at one peer."""

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
        """What is not asked for in the ordinary way: all that is suspected or refused."""
        self.suspects: dict[int, None] = {}
        self.doubted: dict[int, None] = {}
        """Those of them that are suspected in advance."""
        self.false_alarms = 0
        """Doubted ones that were answered."""
        self.gave = False
        """Whether the peer has given anything of the core: it costs more than a connection then."""
        self.refused: dict[int, Refusal] = {}
        self.state: tuple[int, int] | None = None
        """Fork and length in the peer's last report."""
        self.testing: dict[int, None] = {}
        """Suspects that are asked for right now."""
        self.window = 1
        self.tried = 0
        """Trials that went well since a connection ended; below 0 while more than usual are single."""
        self.deaths = 0
        """Connections that trials have ended."""
        self.retry_at = 0.0
        self.bad = 0
        """How often the peer sent bad data."""
        self.closed_until = 0.0
        """The core is not spoken about with the peer before then."""

    def suspect(self, index: int) -> bool:
        """Leave it for a trial. False if there is no room for more."""
        if index not in self.avoided:
            if len(self.avoided) >= MAX_SUSPECTS:
                return False
            self.suspects[index] = self.avoided[index] = None
        return True

    def drop(self, index: int) -> None:
        """There is nothing left to find out about it."""
        for table in (self.testing, self.suspects, self.avoided, self.doubted):
            table.pop(index, None)
        self.refused.pop(index, None)

    def answered(self, index: int) -> None:
        """There was an answer to a trial: it does no harm."""
        self.false_alarms += index in self.doubted
        self.drop(index)
        self.tried += 1
        if self.tried > SINGLE_TRIALS:
            self.window = min(2 * self.window, MAX_TRIALS)
        if not self.suspects and not self.refused:
            self.deaths = 0

    def refuse(self, index: int, now: float) -> float:
        """It ends connections. Returns for how many seconds at least it is not repeated."""
        before = self.refused.get(index)
        times = 1 if before is None else before.times + 1
        seconds = _doubled(BLOCK_BACKOFF, times)
        self.refused[index] = Refusal(times, now + seconds, now + MAX_BACKOFF, self.state)
        self.avoided[index] = None
        self.suspects.pop(index, None)
        self.doubted.pop(index, None)
        self.false_alarms = 0
        return seconds

    def revive(self, now: float) -> None:
        """What was refused long enough ago is worth another trial."""
        for index, refusal in self.refused.items():
            if now >= self._until(refusal):
                self.suspects[index] = None

    def _until(self, refusal: Refusal) -> float:
        return refusal.until_unchanged if refusal.state == self.state else refusal.until

    def next_at(self, now: float) -> float | None:
        """When there is something to try that has to wait until then."""
        times = [self._until(entry) for index, entry in self.refused.items() if index not in self.suspects]
        if self.suspects:
            times.append(self.retry_at)
        return min((at for at in times if at > now), default=None)


class Suspicions:
    """Shared by the replicators of all cores of one corestore."""

    def __init__(self) -> None:
        self._records: dict[tuple[bytes, bytes], Record] = {}
        self._testers: dict[bytes, tuple[bytes, dict[Callable[[], None], None]]] = {}
        """Peer -> the core that has trials there, and who waits for its turn."""
        self._blamed: dict[bytes, float] = {}
        """Peer -> when the end of a connection was last put down to a trial."""
        self._bad: dict[bytes, dict[bytes, None]] = {}
        """Peer -> the cores with which it sent bad data on its connection."""

    def find(self, peer: bytes, core: bytes) -> Record | None:
        return self._records.get((peer, core))

    def record(self, peer: bytes, core: bytes) -> Record:
        """The record, made if there is none."""
        key = (peer, core)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record()
            self._make_room(record)
        return record

    def _make_room(self, kept: Record) -> None:
        """Forget the oldest records, a sixteenth at a time, if there is too much."""
        total = sum(len(record.avoided) for record in self._records.values())
        if len(self._records) <= MAX_RECORDS and total <= MAX_ALL_SUSPECTS:
            return
        for key in sorted(self._records, key=lambda key: self._records[key].gave):
            if len(self._records) <= MAX_RECORDS * 15 // 16 and total <= MAX_ALL_SUSPECTS * 15 // 16:
                return
            if self._records[key] is not kept:
                total -= len(self._records.pop(key).avoided)

    # --- requests that end the connection -------------------------------------------------------------------

    def ended(
        self, peer: bytes, core: bytes, asked: Iterable[int], now: float, *, gave: bool = True
    ) -> list[Refused]:
        """The peer has ended the connection and not answered `asked`. Returns what it is now known to refuse.

        `gave`: it had answered something before.

        To be called for each core that was spoken about, at the same time.
        """
        if not peer:
            return []  # nobody that we would know again
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
                record.suspect(index)
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
            # It is one of these: they come first, and alone
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
        """The core has no trial under way at the peer: others may."""
        tester = self._testers.get(peer)
        if tester is not None and tester[0] == core:
            del self._testers[peer]
            for waiter in tester[1]:
                waiter()

    # --- bad data -------------------------------------------------------------------------------------------

    def bad_data(self, peer: bytes, core: bytes, now: float) -> float | None:
        """The peer has sent bad data once too often.

        Returns for how many seconds the core is not spoken about with it; None if that was so with several
        cores, and the connection is not worth keeping.
        """
        record = self.record(peer, core)
        record.bad += 1
        seconds = _doubled(BAD_DATA_BACKOFF, record.bad)
        record.closed_until = now + seconds
        bad = self._bad.setdefault(peer, {})
        bad[core] = None
        return None if not peer or len(bad) >= MAX_BAD_CORES else seconds

    def is_closed(self, peer: bytes, core: bytes, now: float) -> bool:
        record = self.find(peer, core)
        return record is not None and now < record.closed_until

    def disconnected(self, peer: bytes) -> None:
        """There is no connection to the peer any more."""
        self._bad.pop(peer, None)
        self._blamed.pop(peer, None)
        tester = self._testers.pop(peer, None)
        if tester is not None:
            record = self.find(peer, tester[0])
            if record is not None:
                record.testing.clear()


def _doubled(seconds: float, times: int) -> float:
    return min(seconds * 2.0 ** min(times - 1, 32), MAX_BACKOFF)
