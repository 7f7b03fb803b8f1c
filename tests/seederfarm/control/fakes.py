"""A farm in one process: a broker that keeps what it is given, and workers that obey their assignments."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F
from msgspec.structs import replace

from farmwire.assignment import Assignment, AssignmentAssembler, AssignmentPage
from farmwire.envelope import next_seq, node_id, open_envelope, seal
from farmwire.message import Message, decode
from farmwire.rejection import MessageRejected
from farmwire.replay import ReplayWindow
from farmwire.report import EngineStats, Heartbeat, HostStats, Phase, ReplicaReport, Report
from farmwire.tasks import REFRESH, REPORT, SYNC_ASSIGNMENT, WELCOME, Configure
from hypercore.crypto import KeyPair
from seederfarm.control.messaging import assignments
from seederfarm.control.messaging.identity import identity
from seederfarm.control.reports import ingest
from seederfarm.registry.models import Drive, Replica, Worker

GB = 10**9


class Sent(NamedTuple):
    task: str
    message: dict[str, object]
    queue: str


class FakeBroker:
    """Stands for Celery and Redis: everything is JSON on the way."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.deferred: list[tuple[str, list[Any]]] = []
        self.unread = 0
        """Messages in each worker's queue."""

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        self.sent.append(Sent(task, json.loads(json.dumps(message)), queue))

    def waiting(self, queue: str) -> int:
        return self.unread

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        self.sent.append(Sent(WELCOME, json.loads(json.dumps(message)), key))

    def defer(self, task: str, args: Sequence[Any]) -> None:
        self.deferred.append((task, json.loads(json.dumps(list(args)))))

    def take_deferred(self, task: str) -> list[list[Any]]:
        found = [args for name, args in self.deferred if name == task]
        self.deferred = [(name, args) for name, args in self.deferred if name != task]
        return found

    def take_sent(self) -> list[Sent]:
        found, self.sent = self.sent, []
        return found

    def send_assignments(self, now: datetime) -> None:
        """What the control worker would do next."""
        for worker_id in dict.fromkeys(args[0] for args in self.take_deferred("control.send_assignment")):
            assignments.send_assignment(worker_id, now)


def heartbeat(name: str, version: int, digest: str, at: float, *, free: int = 1000 * GB) -> Heartbeat:
    return Heartbeat(
        at=at,
        name=name,
        software="test 1",
        assignment_version=version,
        assignment_digest=digest,
        free_bytes=free,
        configured=Configure(paused=False),
        host=HostStats(
            cpu_percent=1.5,
            load=0.1,
            cores=4,
            memory_bytes=4 * GB,
            memory_used_bytes=GB,
            disk_bytes=2000 * GB,
            disk_free_bytes=free,
            uptime=100.0,
        ),
        engine=EngineStats(
            running=True,
            shards=1,
            restarts=0,
            connections=2,
            firewalled=False,
            rss_bytes=GB // 10,
            stored_bytes=0,
            down_per_second=1000.0,
            up_per_second=0.0,
        ),
    )


def prove_all(now: datetime) -> None:
    """As if every complete copy had answered a challenge."""
    copies = Replica.objects.filter(phase="complete", proven=False)
    Drive.objects.filter(pk__in=copies.values("drive")).update(dirty=True)
    copies.update(last_proven_at=now, proven_length=F("length"), proven_fork=F("fork"))


class FakeWorker:
    """Signs as a worker, keeps what its assignment lists, and reports it."""

    def __init__(self, name: str, *, state: str = "active", now: datetime, zone: str = "") -> None:
        self.name = name
        self.pair = KeyPair.from_seed(hashlib.sha256(name.encode()).digest())
        self.node_id = node_id(self.pair.public_key)
        self.row = Worker.objects.create(
            node_id=self.node_id, name=name, state=state, enrolled_at=now, zone=zone, free_bytes=1000 * GB,
            last_seen_at=now,
        )  # fmt: skip
        self.seq = 0
        self.window = ReplayWindow()
        self.assembler = AssignmentAssembler()
        self.assignment = Assignment()
        self.held: dict[str, str] = {}
        """Phase by key."""
        self.refresh = False
        self.configured: Configure | None = None
        """The settings that it reports. None: those that control has for it."""

    def seal(
        self, body: Message, now: datetime, *, name: str = REPORT, lifetime: float = 3600.0
    ) -> dict[str, object]:
        self.seq = next_seq(self.seq, now.timestamp())
        sealed = seal(
            body,
            name=name,
            to=identity().node_id,
            seq=self.seq,
            expires=now.timestamp() + lifetime,
            key_pair=self.pair,
        )
        plain: dict[str, object] = json.loads(json.dumps(sealed))
        return plain

    def beat(self, now: datetime) -> Heartbeat:
        wanted = assignments.configure_of(Worker.objects.get(pk=self.row.pk))
        beat = heartbeat(self.name, self.assignment.version, self.assignment.digest, now.timestamp())
        return replace(beat, configured=self.configured or replace(wanted, lift=[], blind_peer=None))

    def report(self, now: datetime, *replicas: ReplicaReport) -> dict[str, object]:
        return self.seal(Report(heartbeat=self.beat(now), replicas=list(replicas)), now)

    def send_report(self, now: datetime, *replicas: ReplicaReport) -> ingest.IngestResult:
        return ingest.ingest_report(self.report(now, *replicas), now)

    def hear(self, sent: Sent, now: datetime) -> None:
        """Obey an order, as a worker would."""
        try:
            envelope = open_envelope(
                sent.message,
                sender=identity().node_id,
                me=self.node_id,
                name=sent.task,
                now=now.timestamp(),
                window=self.window,
            )
        except MessageRejected:
            return
        if sent.task == REFRESH:
            self.refresh = True
        if sent.task != SYNC_ASSIGNMENT:
            return
        assignment = self.assembler.add(decode(envelope.body, AssignmentPage))
        if assignment is None or assignment.version < self.assignment.version:
            return
        self.assignment = assignment
        wanted = {entry.key for entry in assignment.entries}
        for key in self.held:
            if key not in wanted:
                self.held[key] = "removed"
        for key in wanted:
            if self.held.get(key, "removed") == "removed":
                self.held[key] = "looking"

    def work(self, rng: random.Random) -> None:
        for key, phase in self.held.items():
            if phase in ("looking", "downloading") and rng.random() < 0.7:
                self.held[key] = "complete" if phase == "downloading" else "downloading"

    def status(self, now: datetime) -> list[ReplicaReport]:
        return [copy_of(key, phase, now) for key, phase in self.held.items()]


def copy_of(key: str, phase: str, now: datetime, *, have: int | None = None, **values: Any) -> ReplicaReport:
    """A report of a copy of ten blocks of 100 bytes."""
    done = have if have is not None else {"complete": 10, "downloading": 5}.get(phase, 0)
    known = 10 if phase in ("downloading", "complete") or have is not None else 0
    given: dict[str, Any] = {
        "length": known,
        "blocks": known,
        "have_blocks": done,
        "bytes": known * 100,
        "have_bytes": done * 100,
        "kind": "core" if known else None,
    }
    return ReplicaReport(key=key, phase=Phase(phase), observed_at=now.timestamp(), **{**given, **values})
