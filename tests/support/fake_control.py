"""A control plane for tests of the worker: seals envelopes, reads the reports queue of a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery
from kombu import Connection
from redis import Redis

from farmwire import tasks
from farmwire.assignment import Assignment, AssignmentEntry
from farmwire.audit import MAX_ANSWER_BYTES, Answer
from farmwire.envelope import node_id, open_envelope, seal
from farmwire.join import Join, JoinToken, Welcome, queue_id, secret_digest
from farmwire.message import Message, decode
from farmwire.replay import ReplayWindow
from farmwire.report import Heartbeat, ReplicaReport, Report
from hypercore.crypto import KeyPair
from workers.agent.broker import broker_url

T = TypeVar("T")

SECRET = "s" * 24
"""Of the one token there is."""


class Plane:
    """Reads on demand: `wait` takes what is in the queue until a condition holds."""

    def __init__(self, redis_url: str) -> None:
        self.url = redis_url
        self.key_pair = KeyPair.from_seed(b"\x07" * 32)
        self.id = node_id(self.key_pair.public_key)
        self.app = Celery("plane", broker=broker_url(redis_url), fixups=[], set_as_current=False)
        self.app.conf.update(
            broker_transport_options={"global_keyprefix": tasks.KEY_PREFIX}, result_backend=None
        )
        self.seq = int(time.time() * 1000)
        self.version = 0
        self.joins: list[Join] = []
        self.reports: list[Report] = []
        self.answers: list[Answer] = []
        self.replicas: dict[str, ReplicaReport] = {}
        self.worker = ""
        """Id of who joined."""
        self._windows: dict[str, ReplayWindow] = {}

    @property
    def token(self) -> str:
        return JoinToken(farm="test", control=self.id, broker=self.url, secret=SECRET).to_text()

    @property
    def beats(self) -> list[Heartbeat]:
        return [report.heartbeat for report in self.reports if report.heartbeat is not None]

    # --- to the worker

    def sealed(self, name: str, body: Message, **changes: Any) -> dict[str, object]:
        self.seq += 1
        arguments: dict[str, Any] = {
            "name": name,
            "to": self.worker,
            "seq": self.seq,
            "expires": time.time() + 60,
            "key_pair": self.key_pair,
        }
        return seal(body, **(arguments | changes))

    def post(self, name: str, sealed: object) -> None:
        """Whatever it is, into the worker's queue."""
        self._post(name, sealed, tasks.queue_of(self.worker))

    def _post(self, name: str, sealed: object, queue: str) -> None:
        self.app.send_task(name, args=[sealed], queue=queue, declare=[], retry=False)

    def send(self, name: str, body: Message) -> None:
        self.post(name, self.sealed(name, body))

    def assignment(self, *keys: str) -> Assignment:
        self.version += 1
        return Assignment(version=self.version, entries=[AssignmentEntry(key=key) for key in keys])

    def assign(self, *keys: str) -> Assignment:
        assignment = self.assignment(*keys)
        for page in assignment.to_pages():
            self.send(tasks.SYNC_ASSIGNMENT, page)
        return assignment

    # --- from the worker

    def receive(self) -> None:
        """Everything that is in the queue now. Each envelope must be the worker's, and new."""
        options = {"global_keyprefix": tasks.KEY_PREFIX}
        with Connection(broker_url(self.url), transport_options=options) as connection:
            channel = connection.default_channel
            joins = tasks.join_queue_of(queue_id(secret_digest(SECRET)))
            queues = [joins]
            for queue in queues:
                while (message := channel.basic_get(queue, no_ack=True)) is not None:
                    (sealed,) = message.payload[0]
                    self._take(message.headers["task"], sealed)
                if queue == joins and self.worker:
                    queues.append(tasks.report_queue_of(self.worker))

    def _take(self, name: str, sealed: dict[str, Any]) -> None:
        sender = sealed["from"]
        window = self._windows.setdefault(sender, ReplayWindow())
        envelope = open_envelope(
            sealed,
            sender=self.worker or None,
            me=self.id,
            name=name,
            now=time.time(),
            window=window,
            limit=MAX_ANSWER_BYTES,
        )
        if name == tasks.JOIN:
            self.joins.append(decode(envelope.body, Join))
            self.worker = envelope.sender
        elif name == tasks.AUDIT_ANSWER:
            self.answers.append(decode(envelope.body, Answer))
        else:
            report = decode(envelope.body, Report)
            self.reports.append(report)
            self.replicas.update((replica.key, replica) for replica in report.replicas)

    def wait(self, found: Callable[[], T], *, timeout: float = 20.0, what: str) -> T:
        """The first true answer of `found`."""
        deadline = time.monotonic() + timeout
        while True:
            self.receive()
            if answer := found():
                return answer
            if time.monotonic() > deadline:
                last = [report for report in self.reports[-3:]]
                raise AssertionError(f"{timeout:g} s passed while waiting for {what}; last reports: {last}")
            time.sleep(0.05)

    def heard(self, kind: str, *, timeout: float = 10.0) -> dict[str, Any]:
        """The next Celery event of that kind."""
        events: list[dict[str, Any]] = []

        def on_event(event: dict[str, Any]) -> None:
            events.append(event)
            receiver.should_stop = True

        with self.app.connection_for_read() as connection:
            receiver = self.app.events.Receiver(connection, handlers={kind: on_event})
            receiver.capture(limit=None, timeout=timeout, wakeup=False)
        return events[0]

    def welcome(self, *keys: str) -> None:
        """Wait for the worker to join, let it in, and send it an assignment."""
        self.wait(lambda: self.joins, what="a request to join")
        self.let_in(Welcome())
        self.assign(*keys)

    def let_in(self, welcome: Welcome) -> None:
        key = tasks.KEY_PREFIX + tasks.reply_key(queue_id(secret_digest(SECRET)))
        with Redis.from_url(self.url) as client:
            client.set(key, json.dumps(self.sealed(tasks.WELCOME, welcome)), ex=60)

    def wait_phase(self, key: str, phase: str, *, timeout: float = 30.0) -> ReplicaReport:
        self.wait(
            lambda: key in self.replicas and self.replicas[key].phase == phase,
            timeout=timeout,
            what=f"{phase} of {key}",
        )
        return self.replicas[key]
