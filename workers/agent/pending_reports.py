"""The reports that wait to be sent: replicas, samples, events and answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice

from farmwire.audit import Answer
from farmwire.blind_cores import MAX_BLIND_CORES, BlindCore
from farmwire.message import MAX_COUNT
from farmwire.report import MAX_EVENTS, MAX_REPLICAS, MAX_SAMPLES, Heartbeat, Report, WorkerEvent
from farmwire.traffic import MAX_PEER_LISTS, MAX_SERVED, MAX_WATCHED, PeerList, Served

from ..state import State
from .blind_cores import BlindCores
from .repeats import Repeats
from .replica_tracker import ReplicaTracker
from .spread import Spread

MAX_ANSWERS = 100
"""Answers to challenges that wait for the broker. Late ones are worthless: the oldest are dropped first."""

REPORT_ALL_INTERVAL = 600.0
"""Seconds after which every replica is reported again, since reports may be lost; spread over as many
seconds: the broker holds 482 bytes for each."""

REPORT_ALL_SOON = 60.0
"""Seconds over which they are spread if control asked, or the broker was away."""


class Batch:
    """A report, and what to drop once the broker has it."""

    def __init__(self, report: Report, samples: list[int], events: list[int]) -> None:
        self.report = report
        self.samples = samples
        self.events = events


class PendingReports:
    """Any thread may call any method; `replicas` and `blind_cores` may be used under `lock` alone.

    `heartbeat` returns the state of the worker; `blind_peer`: the worker is one.
    """

    def __init__(self, state: State, *, heartbeat: Callable[[], Heartbeat], blind_peer: bool = False) -> None:
        self.lock = threading.RLock()
        self.wake = threading.Event()
        """Set when there is something to send."""
        self.replicas = ReplicaTracker()
        self.blind_cores = BlindCores(enabled=blind_peer)
        self._served: dict[str, int] = {}
        """Bytes served by key that were not reported yet. They are lost with this process."""
        self._peers: dict[str, PeerList] = {}
        """The newest lists, by key."""
        self.answers: deque[Answer] = deque(maxlen=MAX_ANSWERS)
        self._state = state
        self._heartbeat = heartbeat
        self._spread, self._blind_spread = Spread(), Spread()
        self._repeats = Repeats()
        self._reported_all_at = time.monotonic()

    def record_event(self, code: str, text: str, key: str | None = None) -> None:
        """Buffer an event for the flight recorder."""
        self._state.add_event(WorkerEvent(at=time.time(), code=code[:50], key=key, text=text[:500]))
        self.wake.set()

    def record_repeated_event(self, code: str, text: str, key: str | None) -> None:
        """Record an event that a writer can cause at will; repeats are limited."""
        left_out = 0 if key is None else self._repeats.admit(key, code, time.monotonic())
        if left_out is not None:
            self.record_event(
                code, f"{text} ({left_out} more since the last event)" if left_out else text, key
            )

    def add_served(self, served: Mapping[str, int]) -> None:
        """Report bytes served, by key, with the next report. Keys that are not kept are left out."""
        with self.lock:
            for key, size in served.items():
                if key in self.replicas:
                    self._served[key] = min(MAX_COUNT, self._served.get(key, 0) + size)
        self.wake.set()

    def put_peers(self, peers: PeerList) -> None:
        """Report the peers of a copy soon. Only the newest list of each is kept."""
        with self.lock:
            if peers.key in self._peers or len(self._peers) < MAX_WATCHED:
                self._peers[peers.key] = peers
        self.wake.set()

    def add_answer(self, answer: Answer) -> None:
        """Send an answer to a challenge soon."""
        self.answers.append(answer)
        self.wake.set()

    def report_all(self, seconds: float) -> None:
        """Report every replica within `seconds`, those of one report at once."""
        with self.lock:
            self._reported_all_at = time.monotonic()
            self.replicas.report_all()
            self._spread.begin(
                self.replicas.again, seconds=seconds, first=MAX_REPLICAS, now=self._reported_all_at
            )
            self.blind_cores.report_all()
            self._blind_spread.begin(
                self.blind_cores.again, seconds=seconds, first=MAX_BLIND_CORES, now=self._reported_all_at
            )
        self.wake.set()

    def next_batch(self, *, with_heartbeat: bool, share: float = 1.0, quiet: bool = False) -> Batch | None:
        """The next message, or None if there is nothing to send. Call `sent` or `not_sent` with it.

        `share`: part of a full report that it may contain. `quiet`: only a heartbeat; the rest is kept.
        """
        if quiet:
            return Batch(Report(heartbeat=self._heartbeat()), [], []) if with_heartbeat else None
        now = time.monotonic()
        if now - self._reported_all_at > REPORT_ALL_INTERVAL:
            self.report_all(REPORT_ALL_INTERVAL)
        with self.lock:
            before = self.replicas.again
            limit = max(1, int(MAX_REPLICAS * share))
            replicas = self.replicas.take(limit, again=self._spread.budget(now))
            self._spread.used(before - self.replicas.again)
            blind_cores = self._take_blind_cores(max(1, int(MAX_BLIND_CORES * share)), now)
            served = self._take_served(max(1, int(MAX_SERVED * share)))
            peers = [self._peers.pop(key) for key in list(self._peers)[: max(1, int(MAX_PEER_LISTS * share))]]
        samples = self._state.samples(max(1, int(MAX_SAMPLES * share)))
        events = self._state.events(max(1, int(MAX_EVENTS * share)))
        if not (with_heartbeat or replicas or samples or events or served or peers or blind_cores):
            return None
        report = Report(
            heartbeat=self._heartbeat() if with_heartbeat else None,
            replicas=replicas,
            samples=[sample for _, sample in samples],
            events=[event for _, event in events],
            served=served,
            peers=peers,
            blind_cores=blind_cores,
        )
        return Batch(report, [number for number, _ in samples], [number for number, _ in events])

    def _take_blind_cores(self, limit: int, now: float) -> list[BlindCore]:
        before = self.blind_cores.again
        found = self.blind_cores.take(limit, again=self._blind_spread.budget(now))
        self._blind_spread.used(before - self.blind_cores.again)
        return found

    def _take_served(self, limit: int) -> list[Served]:
        keys = list(islice(self._served, limit))
        return [Served(key=key, bytes=self._served.pop(key)) for key in keys]

    def sent(self, batch: Batch) -> None:
        """The broker has it."""
        if batch.samples or batch.events:
            self._state.mark_sent(samples=batch.samples, events=batch.events)

    def not_sent(self, batch: Batch) -> None:
        """Keep a batch that was not sent, to send it again."""
        with self.lock:
            self.replicas.requeue(batch.report.replicas)
            self.blind_cores.requeue(batch.report.blind_cores)
            for served in batch.report.served:  # peers are listed again in a moment
                self._served[served.key] = self._served.get(served.key, 0) + served.bytes
