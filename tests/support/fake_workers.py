"""Many workers without engines, behind a real broker: each keeps what its assignment says.

They sign like any worker. Every report has a counter of one byte and one event, so that what the farm made of
them can be counted: none lost, none twice.
"""

from __future__ import annotations

import hashlib
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.entity import Queue

from farmwire import tasks
from farmwire.assignment import Assignment, AssignmentAssembler, AssignmentPage
from farmwire.envelope import next_seq, node_id, open_envelope, seal
from farmwire.message import decode
from farmwire.rejection import MessageRejected
from farmwire.replay import ReplayWindow
from farmwire.report import (
    EngineStats,
    Heartbeat,
    HostStats,
    Phase,
    ReplicaReport,
    Report,
    Sample,
    WorkerEvent,
)
from hypercore.crypto import KeyPair
from seederfarm.registry.models import Event, Worker
from seederfarm.registry.models import Sample as Counted
from workers.agent.broker import broker_url

GB = 10**9
COUNTED = "counted"
"""Code of the events."""


class Member:
    """One worker. Used by one thread at a time."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd = crowd
        self.name = name
        self.pair = KeyPair.from_seed(hashlib.sha256(name.encode()).digest())
        self.id = node_id(self.pair.public_key)
        self.assignment = Assignment()
        self.reports = 0
        """Reports that the broker took."""
        self._seq = 0
        self._window = ReplayWindow()
        self._assembler = AssignmentAssembler()

    def hear(self, channel: Any) -> None:
        """Follow the assignments that are in its queue."""
        while (message := channel.basic_get(tasks.queue_of(self.id), no_ack=True)) is not None:
            name = message.headers["task"]
            try:
                envelope = open_envelope(
                    message.payload[0][0],
                    sender=self.crowd.control,
                    me=self.id,
                    name=name,
                    now=time.time(),
                    window=self._window,
                )
            except MessageRejected:
                continue
            if name == tasks.SYNC_ASSIGNMENT:
                assignment = self._assembler.add(decode(envelope.body, AssignmentPage))
                if assignment is not None and assignment.version >= self.assignment.version:
                    self.assignment = assignment

    def report(self, phase: Phase = Phase.COMPLETE) -> None:
        """A report of everything that it keeps."""
        now = time.time()
        self._seq = next_seq(self._seq, now)
        body = self._report(phase, now)
        sealed = seal(
            body,
            name=tasks.REPORT,
            to=self.crowd.control,
            seq=self._seq,
            expires=now + 3600,
            key_pair=self.pair,
        )
        self.crowd.post(tasks.REPORT, sealed)
        self.reports += 1

    def _report(self, phase: Phase, now: float) -> Report:
        facts: dict[str, Any] = {"phase": phase, "kind": "core", "length": 10, "blocks": 10, "bytes": 1000}
        done = {"have_blocks": 10, "have_bytes": 1000} if phase == "complete" else {}
        return Report(
            heartbeat=Heartbeat(
                at=now,
                name=self.name,
                software="crowd",
                assignment_version=self.assignment.version,
                assignment_digest=self.assignment.digest,
                free_bytes=1000 * GB,
                configured=tasks.Configure(paused=False),
                host=HOST,
                engine=ENGINE,
            ),
            replicas=[
                ReplicaReport(key=entry.key, observed_at=now, **facts, **done)
                for entry in self.assignment.entries
            ],
            samples=[
                Sample(
                    start=now, seconds=0.1, bytes_in=1, bytes_out=0, cpu_percent=0, memory_used_bytes=0,
                    disk_free_bytes=0, stored_bytes=0, peers=0,
                )
            ],
            events=[WorkerEvent(at=now, code=COUNTED, text=f"report {self.reports}")],
        )  # fmt: skip


class Crowd:
    """Workers that the farm let in. `control` is the node id of the control plane."""

    def __init__(self, redis_url: str, control: str, count: int) -> None:
        self.control = control
        self._url = broker_url(redis_url)
        self._app: Any = Celery("crowd", broker=self._url, fixups=[], set_as_current=False)
        self._app.conf.update(broker_transport_options=OPTIONS, result_backend=None)
        self.members = [Member(self, f"crowd-{number}") for number in range(count)]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed: BaseException | None = None

    def let_in(self) -> None:
        """As if each had joined."""
        for member in self.members:
            Worker.objects.create(node_id=member.id, name=member.name, state=Worker.State.ACTIVE)

    def post(self, name: str, sealed: dict[str, Any]) -> None:
        queue: Any = Queue(tasks.report_queue_of(sealed["from"]))  # type: ignore[no-untyped-call]
        self._app.send_task(name, args=[sealed], queue=queue, declare=[], retry=False)

    def start(self, *, every: float) -> None:
        """Each reports every `every` seconds, until `stop`."""
        self._thread = threading.Thread(target=self._keep_reporting, args=(every,), daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Returns how many reports the broker took in all."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)
        if self.failed is not None:
            raise self.failed
        return sum(member.reports for member in self.members)

    def once(self, work: Callable[[Member], None]) -> None:
        """For each member, having heard what there is for it."""
        with Connection(self._url, transport_options=OPTIONS) as connection:
            for member in self.members:
                member.hear(connection.default_channel)
                work(member)

    def _keep_reporting(self, every: float) -> None:
        try:
            with Connection(self._url, transport_options=OPTIONS) as connection:
                while not self._stop.wait(every):
                    for member in self.members:
                        member.hear(connection.default_channel)
                        member.report()
        except BaseException as error:
            traceback.print_exc()  # a scene that waits for reports in vain shows why none come
            self.failed = error


def counted() -> tuple[int, int]:
    """Bytes and events that the farm has of a crowd: one each for each report."""
    samples = Counted.objects.filter(metric="bytes_down", span=60)
    return int(sum(samples.values_list("total", flat=True))), Event.objects.filter(
        kind=f"engine.{COUNTED}"
    ).count()


OPTIONS = {"global_keyprefix": tasks.KEY_PREFIX}
HOST = HostStats(
    cpu_percent=1.0, load=0.1, cores=4, memory_bytes=4 * GB, memory_used_bytes=GB, disk_bytes=2000 * GB,
    disk_free_bytes=1000 * GB, uptime=100.0,
)  # fmt: skip
ENGINE = EngineStats(
    running=True, shards=1, restarts=0, connections=2, firewalled=False, rss_bytes=GB // 10, stored_bytes=0,
    down_per_second=0.0, up_per_second=0.0,
)  # fmt: skip
