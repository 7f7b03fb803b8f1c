"""The worker: gives its assignment to its engines, executes messages of control, and collects reports.

Knows no Celery. Any thread may call any method.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from typing import Any

from farmwire import tasks
from farmwire.assignment import AssignmentAssembler, AssignmentPage
from farmwire.audit import Answer, Challenge
from farmwire.envelope import node_id, open_envelope
from farmwire.message import decode, to_builtins
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.report import (
    MAX_EVENTS,
    MAX_REPLICAS,
    MAX_SAMPLES,
    Heartbeat,
    Phase,
    ReplicaStatus,
    Report,
    Sample,
    WorkerEvent,
)
from farmwire.tasks import Configure, Refresh
from hypercore.crypto import KeyPair

from ..engine.limits.limits import cap, divide
from ..engine.settings.settings import LimitSettings, headroom
from ..state import State
from ..units import format_size
from .challenges import Challenges
from .engine_stats import engine_stats, quota_left, stored_bytes, total
from .host import disk_bytes, host_stats
from .repeats import Repeats
from .replica_tracker import ReplicaTracker
from .settings import WorkerSettings
from .shard import Shard
from .shard_map import ShardMap
from .spread import Spread

MAX_ANSWERS = 100
"""Answers to challenges that wait for the broker. Late ones are worthless: the oldest are dropped first."""

REPORT_ALL_INTERVAL = 600.0
"""Seconds after which every replica is reported again, since reports may be lost; spread over as many
seconds: the broker holds 482 bytes for each."""

REPORT_ALL_SOON = 60.0
"""Seconds over which they are spread if control asked, or the broker was away."""

SYNC_PORTION = 5000
"""Keys in one line to an engine: half a megabyte, which it reads in a few milliseconds."""

FACTS_TIMEOUT = 600.0
"""Seconds without a line from an engine, restarts included, after which its copies are reported as errors, so
that control replaces them."""

REPEAT_REFUSAL = 60.0
"""Seconds between events for rejections with the same reason. Each one is counted."""

log = logging.getLogger(__name__)


class Batch:
    """A report, and what to drop once the broker has it."""

    def __init__(self, report: Report, samples: list[int], events: list[int]) -> None:
        self.report = report
        self.samples = samples
        self.events = events


class Agent:
    """One worker. `identity` signs its messages; the caller that opened `state` closes it."""

    def __init__(self, settings: WorkerSettings, state: State, identity: KeyPair) -> None:
        self.settings = settings
        self.state = state
        self.identity = identity
        self.id = node_id(identity.public_key)
        self.wake = threading.Event()
        """Set when there is something to send."""
        self.connections = 0
        """Connections to the broker since the start."""
        self.answers: deque[Answer] = deque(maxlen=MAX_ANSWERS)
        self._lock = threading.RLock()
        self._ledger = ReplicaTracker()
        self._spread = Spread()
        self._repeats = Repeats()
        self._assembler = AssignmentAssembler()
        self._order = Configure()
        self._challenges = Challenges(self._ask)
        self._refused_at: dict[RejectReason, float] = {}
        self._counters: dict[int, tuple[int | None, int, int]] = {}
        self._bytes = [0, 0]
        """Received and sent since the last sample."""
        self._reported_all_at = time.monotonic()
        self._stop = threading.Event()
        self._pulse = threading.Thread(target=self._keep_sampling, name="pulse", daemon=True)
        self._homes = ShardMap(state, settings.shards)
        self._shards = {
            index: Shard(
                index,
                settings,
                on_start=self._on_engine_start,
                on_line=self._on_engine_line,
                on_end=self._on_engine_end,
                on_hung=self._on_engine_hung,
            )
            for index in self._homes.engines
        }
        self.shards = list(self._shards.values())
        self._syncing = {index: threading.Lock() for index in self._shards}

    # --- life

    def start(self) -> None:
        """Seed the assignment of the last run, whether or not the farm can be reached. Safe to call twice."""
        if self._pulse.is_alive():
            return
        if saved := self.state.get("configure"):
            self._order = decode(json.loads(saved), Configure)
        with self._lock:
            self._ledger.assign(entry.key for entry in self.state.assignment().entries)
        for shard in self.shards:
            shard.start()
        self._pulse.start()

    def stop(self) -> None:
        """Safe to call twice."""
        self._stop.set()
        stoppers = [threading.Thread(target=shard.stop) for shard in self.shards]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()

    # --- messages of control

    def handle(self, name: str, sealed: object) -> None:
        """Verify and execute the argument of task `name`. A rejected message is counted and has no effect."""
        try:
            farm = self.state.farm
            if farm is None:
                raise MessageRejected(RejectReason.WRONG_SENDER, "this worker belongs to no farm")
            envelope = self.state.opened(
                farm.control,
                lambda window: open_envelope(
                    sealed, sender=farm.control, me=self.id, name=name, now=time.time(), window=window
                ),
            )
            match name:
                case tasks.SYNC_ASSIGNMENT:
                    self._on_page(decode(envelope.body, AssignmentPage))
                case tasks.AUDIT:
                    self._on_challenge(decode(envelope.body, Challenge))
                case tasks.CONFIGURE:
                    self._on_configure(decode(envelope.body, Configure))
                case tasks.REFRESH:
                    self._on_refresh(decode(envelope.body, Refresh))
        except MessageRejected as refused:
            self.refuse(name, refused)

    def refuse(self, name: str, refused: MessageRejected) -> None:
        """Count a rejected message, log it, and report it at most once a REPEAT_REFUSAL."""
        log.warning("refused %s: %s", name, refused)
        self.state.count_refusal(refused.reason)
        now = time.monotonic()
        if now - self._refused_at.get(refused.reason, float("-inf")) >= REPEAT_REFUSAL:
            self._refused_at[refused.reason] = now
            self.record_event("refused", f"{name}: {refused}")

    def _on_refresh(self, refresh: Refresh) -> None:
        if not refresh.look_again:
            self.report_all(REPORT_ALL_SOON)
            return
        by_shard: dict[int, list[str]] = {}
        for key in refresh.look_again:
            by_shard.setdefault(self._homes.of(key), []).append(key)
        for index, keys in by_shard.items():
            self._shards[index].send({"cmd": "look_again", "keys": keys})

    def _on_page(self, page: AssignmentPage) -> None:
        with self._lock:
            if page.version < self.state.assignment_version:
                return
            assignment = self._assembler.add(page)
            if assignment is None or not self.state.replace_assignment(assignment, time.time()):
                return
            self._homes.place(entry.key for entry in assignment.entries)
            self._ledger.assign(entry.key for entry in assignment.entries)
        log.info("assignment %d: %d keys", assignment.version, len(assignment.entries))
        for shard in self.shards:
            self._sync(shard)
        self.wake.set()

    def _on_challenge(self, challenge: Challenge) -> None:
        if not self.paused:  # a paused engine has no keys, and would answer that the copy is missing
            self._challenges.add(self._homes.of(challenge.key), challenge)

    def _ask(self, engine: int, challenge: Challenge) -> None:
        with self._syncing[engine]:  # not between portions of what it keeps
            self._shards[engine].send({"cmd": "prove"} | to_builtins(challenge))

    def _answer(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.wake.set()

    def _on_configure(self, order: Configure) -> None:
        with self._lock:
            known = {name: value for name, value in to_builtins(order).items() if value is not None}
            lifted = dict.fromkeys(order.lift)
            self._order = decode(to_builtins(self._order) | known | lifted | {"lift": []}, Configure)
            self.state.set(configure=json.dumps(to_builtins(self._order)))
            if self.paused:
                self._ledger.rest()
        for shard in self.shards:
            self._configure(shard)
            self._sync(shard)
        self.wake.set()

    def report_all(self, seconds: float) -> None:
        """Report every replica within `seconds`, those of one report at once."""
        with self._lock:
            self._reported_all_at = time.monotonic()
            self._ledger.report_all()
            self._spread.begin(
                self._ledger.again, seconds=seconds, first=MAX_REPLICAS, now=self._reported_all_at
            )
        self.wake.set()

    # --- the engines

    @property
    def limits(self) -> LimitSettings:
        """The lower of the limits of control and of this machine's operator."""
        order = self._order
        return cap(
            self.settings.limits,
            up=order.up_bytes_per_second,
            down=order.down_bytes_per_second,
            max_bytes=order.quota_bytes,
        )

    @property
    def headroom(self) -> int:
        """Bytes of the disk that stay free."""
        kept = self.settings.limits.keep_free
        return headroom(disk_bytes(self.settings.data)) if kept is None else kept

    @property
    def paused(self) -> bool:
        return bool(self._order.paused)

    def _on_engine_start(self, shard: Shard) -> None:
        self._configure(shard)
        self._sync(shard)
        self._challenges.engine_ready(shard.index)

    def _configure(self, shard: Shard) -> None:
        limits = divide(self.limits, len(self.shards))
        shard.send(
            {
                "cmd": "configure",
                "quota_bytes": limits.max_bytes,
                "headroom_bytes": self.headroom,
                "up": str(limits.up),
                "down": str(limits.down),
                "max_blocks": limits.max_blocks,
                "max_peers": limits.max_peers,
            }
        )

    def _sync(self, shard: Shard) -> None:
        assignment = self.state.assignment()
        entries = [
            to_builtins(entry) for entry in assignment.entries if self._homes.of(entry.key) == shard.index
        ]
        drop = [key for key in self.state.removals() if self._homes.of(key) == shard.index]
        if self.paused:
            entries = []
        count = max(1, len(entries), len(drop))
        with self._syncing[shard.index]:  # portions of two must not mix
            for start in range(0, count, SYNC_PORTION):
                end = start + SYNC_PORTION
                portion = {"cmd": "sync", "entries": entries[start:end], "drop": drop[start:end]}
                shard.send(portion | {"first": start == 0, "more": end < count})

    def _on_engine_line(self, shard: Shard, fields: dict[str, Any]) -> None:
        match fields.get("event"):
            case "status":
                self._on_status(fields["keys"])
            case "engine":
                self._count(shard, fields)
            case "proof" if self._challenges.answered(fields["id"]):
                self._answer(
                    decode({name: fields[name] for name in ("id", "core", "proofs", "error")}, Answer)
                )
            case "dropped":
                self.state.removed(fields["key"])
                with self._lock:
                    self._homes.removed(fields["key"])
                    self._ledger.removed(fields["key"])
                self.wake.set()
            case "synced" if fields["news"]:
                text = f"version {fields['version']}, {format_size(fields['bytes'])}"
                self._record_repeated_event("synced", text, fields["key"])
            case "error":
                self._record_repeated_event(fields["code"].lower(), fields["message"], fields["key"])
            case "limit" if fields["limit"] == "disk" and fields["state"] == "cleared":
                self.record_event("room_again", "there is room again: downloads go on")
            case "network" if fields["state"] == "reached":
                self.record_event("network_reached", f"engine {shard.index} reaches the DHT")
            case "ready":
                self.record_event(
                    "engine_ready", f"engine {shard.index} at {fields['host']}:{fields['port']}"
                )

    def _on_status(self, keys: list[object]) -> None:
        for fields in keys:
            try:
                status = decode(fields, ReplicaStatus)
            except MessageRejected as refused:
                log.error("an engine reports %.200r: %s", fields, refused)
                continue
            with self._lock:
                if not self.paused:
                    self._ledger.note(status)
        self.wake.set()

    def _on_engine_end(self, shard: Shard, status: int) -> None:
        self._challenges.engine_ended(shard.index)
        self.record_event(
            "engine_ended", f"engine {shard.index} ended with status {status}; it is started again"
        )

    def _on_engine_hung(self, shard: Shard, silence: float) -> None:
        self.record_event(
            "engine_hung", f"engine {shard.index} has said nothing for {silence:.0f} s; it is started again"
        )

    def _expire(self, shard: Shard) -> None:
        """Discard the last status of a silent engine's copies."""
        keys = [
            entry.key for entry in self.state.assignment().entries if self._homes.of(entry.key) == shard.index
        ]
        with self._lock:
            self._ledger.expire(keys, f"the engine has said nothing for {FACTS_TIMEOUT / 60:.0f} minutes")
        self.wake.set()

    def _count(self, shard: Shard, fields: dict[str, Any]) -> None:
        """Add the engine's counters, which start at 0 with each child and lose removed keys."""
        with self._lock:
            pid, *before = self._counters.get(shard.index, (None, 0, 0))
            now = (fields["bytes_in"], fields["bytes_out"])
            if pid != shard.pid:
                before = [0, 0]
            for i in range(2):
                self._bytes[i] += max(0, now[i] - before[i])
            self._counters[shard.index] = (shard.pid, *now)

    # --- reports

    def record_event(self, code: str, text: str, key: str | None = None) -> None:
        """Buffer an event for the flight recorder."""
        self.state.add_event(WorkerEvent(at=time.time(), code=code[:50], key=key, text=text[:500]))
        self.wake.set()

    def _record_repeated_event(self, code: str, text: str, key: str | None) -> None:
        """The same for events that a writer can cause at will; repeats are limited."""
        left_out = 0 if key is None else self._repeats.admit(key, code, time.monotonic())
        if left_out is not None:
            self.record_event(
                code, f"{text} ({left_out} more since the last event)" if left_out else text, key
            )

    def _keep_sampling(self) -> None:
        host_stats(self.settings.data)  # processor time is counted from here on
        start = time.time()
        while not self._stop.wait(self.settings.sample):
            now = time.time()
            # A clock that was set: the stretch is as long as it was meant to be
            seconds = now - start if 0 < now - start < 10 * self.settings.sample else self.settings.sample
            for shard in self.shards:
                if shard.silence > FACTS_TIMEOUT and not self.paused:
                    self._expire(shard)
            try:
                self.state.add_sample(self._sample(now - seconds, seconds))
            except Exception:
                log.exception("no sample could be taken")
            start = now

    def _sample(self, start: float, seconds: float) -> Sample:
        host = host_stats(self.settings.data)
        with self._lock:
            bytes_in, bytes_out = self._bytes
            self._bytes = [0, 0]
        return Sample(
            start=start,
            seconds=seconds,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            cpu_percent=host.cpu_percent,
            memory_used_bytes=host.memory_used_bytes,
            disk_free_bytes=host.disk_free_bytes,
            stored_bytes=stored_bytes(self.shards),
            peers=total(self.shards, "peers"),
        )

    def heartbeat(self) -> Heartbeat:
        settings, quota = self.settings, self.limits.max_bytes
        host = host_stats(settings.data)
        free = max(0, host.disk_free_bytes - self.headroom)
        engine = engine_stats(self.shards)
        if quota is not None:
            free = min(free, max(0, quota - engine.stored_bytes), quota_left(self.shards))
        return Heartbeat(
            at=time.time(),
            name=settings.name,
            zone=settings.zone,
            tags=list(settings.tags),
            software=settings.software,
            assignment_version=self.state.assignment_version,
            assignment_digest=self.state.assignment_digest,
            quota_bytes=quota,
            free_bytes=free,
            configured=self._order,
            host=host,
            engine=engine,
        )

    def summary(self) -> dict[str, Any]:
        """For Celery's `inspect stats` and Flower."""
        engine = engine_stats(self.shards)
        with self._lock:
            keys, complete = len(self._ledger), self._ledger.count(Phase.COMPLETE)
        return {
            "worker": self.id,
            "keys": keys,
            "complete": complete,
            "assignment": self.state.assignment_version,
            "engine_pids": [shard.pid for shard in self.shards],
            "engine_restarts": engine.restarts,
            "connections": engine.connections,
            "stored_bytes": engine.stored_bytes,
            "down_per_second": round(engine.down_per_second),
            "up_per_second": round(engine.up_per_second),
            "refused": self.state.refusals(),
        }

    def next_batch(self, *, with_heartbeat: bool, share: float = 1.0, quiet: bool = False) -> Batch | None:
        """The next message, or None if there is nothing to send. Call `sent` or `not_sent` with it.

        `share`: part of a full report that it may contain. `quiet`: only a heartbeat; the rest is kept.
        """
        if quiet:
            return Batch(Report(heartbeat=self.heartbeat()), [], []) if with_heartbeat else None
        now = time.monotonic()
        if now - self._reported_all_at > REPORT_ALL_INTERVAL:
            self.report_all(REPORT_ALL_INTERVAL)
        with self._lock:
            before = self._ledger.again
            limit = max(1, int(MAX_REPLICAS * share))
            replicas = self._ledger.take(limit, again=self._spread.allowance(now))
            self._spread.used(before - self._ledger.again)
        samples = self.state.samples(max(1, int(MAX_SAMPLES * share)))
        events = self.state.events(max(1, int(MAX_EVENTS * share)))
        if not (with_heartbeat or replicas or samples or events):
            return None
        report = Report(
            heartbeat=self.heartbeat() if with_heartbeat else None,
            replicas=replicas,
            samples=[sample for _, sample in samples],
            events=[event for _, event in events],
        )
        return Batch(report, [number for number, _ in samples], [number for number, _ in events])

    def sent(self, batch: Batch) -> None:
        if batch.samples or batch.events:
            self.state.mark_sent(samples=batch.samples, events=batch.events)

    def not_sent(self, batch: Batch) -> None:
        with self._lock:
            self._ledger.requeue(batch.report.replicas)
