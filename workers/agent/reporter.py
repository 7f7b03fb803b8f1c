"""Sends reports while there is a connection to the broker."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from typing import Any, NamedTuple

import msgspec
from celery import Celery
from kombu.entity import Queue

from farmwire.audit import MAX_ANSWER_BYTES
from farmwire.envelope import MAX_BODY_BYTES, seal
from farmwire.message import Message
from farmwire.rejection import MessageRejected
from farmwire.tasks import AUDIT_ANSWER, REPORT, report_queue_of

from ..ready import notify_ready
from .agent import Agent
from .pending_reports import REPORT_ALL_SOON

BATCHING = 1.0
"""Seconds that changes wait for more."""

GOOD_FOR = 86400.0
"""Seconds until a report expires."""

MAX_BATCHES = 50
"""Reports sent in one go; the rest follows after a pause."""

QUIET_BYTES = 256 * 1024
"""Bytes in Redis of our reports that wait above which nothing but heartbeats is sent: control is away, or far
behind. A full report has about 320 KB there."""

QUIET_ANSWER_BYTES = 8 * 1024 * 1024
"""The same for answers to challenges, the largest of which has 31 MB. Control asks for them, so it is
there."""

SILENT_ABOVE = 40
"""Messages that wait above which nothing is sent. A heartbeat has about 3 KB in Redis."""

FULL_BYTES = 320 * 1024
"""Bytes that a message is taken to have that waits from before this connection."""

FIRST_PAUSE = 0.1
MAX_PAUSE = 8.0
"""Seconds until the queue is looked at again while control does not empty it: doubled from the first on."""

AROUND_BYTES = 1024
"""Bytes in Redis around the body of a message."""

ENCODED = 4 / 3
"""Characters of base64 for each byte."""

log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """Messages at the broker."""

    messages: int
    bytes: int


class Reporter:
    """Sends reports over one connection of the consumer, and stops with it."""

    def __init__(self, app: Celery, agent: Agent) -> None:
        self._app = app
        self._agent = agent
        self._stop = threading.Event()
        self._failed = False
        self._quiet = False
        self._pause = FIRST_PAUSE
        self._queue = report_queue_of(agent.id)
        self._sizes: deque[int] = deque()
        """Bytes of the messages that were sent and may wait still, the oldest first."""
        self._share = 1.0
        """Part of a full report that one message may hold: less for a while after one was too large."""
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Report every replica soon, and changes from then on, in a thread."""
        # What was sent last may have been lost with the broker
        self._agent.reports.report_all(REPORT_ALL_SOON)
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: the thread may hang in a dying connection."""
        self._stop.set()
        self._agent.reports.wake.set()

    def _run(self) -> None:
        agent, due = self._agent, 0.0
        agent.connections += 1
        if (
            agent.connections > 1
        ):  # all workers come back in the same second, and would beat together for ever
            self._stop.wait(random.uniform(0, agent.settings.heartbeat))
        while not self._stop.is_set():
            agent.reports.wake.clear()
            now = time.monotonic()
            beat = now >= due
            if beat:
                due = now + agent.settings.heartbeat
            try:
                self._send_all(beat)
                self._failed = False
            except Exception as error:  # whatever kombu and redis raise when the broker is going
                if not self._failed:
                    log.warning("cannot report: %s; it is kept until the broker is back", error)
                self._failed = True
                due = 0.0 if beat else due
            if self._quiet:
                self._stop.wait(min(max(0.0, due - time.monotonic()), self._pause))
                self._pause = min(MAX_PAUSE, 2 * self._pause)
            else:
                self._stop.wait(BATCHING)
                agent.reports.wake.wait(max(0.0, due - time.monotonic()))

    def _send_all(self, beat: bool) -> None:
        agent = self._agent
        waiting, size = self._waiting()
        self._set_quiet(size > QUIET_BYTES, waiting)
        if not self._quiet:
            self._pause = FIRST_PAUSE
        if waiting > SILENT_ABOVE:
            return
        if not (self._send_reports(beat) and self._send_answers()):
            agent.reports.wake.set()

    def _set_quiet(self, quiet: bool, waiting: int) -> None:
        if quiet and not self._quiet:
            log.debug("%d reports wait at the broker, the rest is kept here", waiting)
        self._quiet = quiet

    def _send_reports(self, beat: bool) -> bool:
        """Whether there is nothing left to report, or nothing may be now."""
        agent = self._agent
        for _ in range(MAX_BATCHES):
            if self._stop.is_set():
                return True
            batch = agent.reports.next_batch(with_heartbeat=beat, share=self._share, quiet=self._quiet)
            if batch is None:
                return True
            try:
                self._send(REPORT, batch.report)
            except MessageRejected:
                agent.reports.not_sent(batch)
                self._share /= 2
                continue
            except BaseException:
                agent.reports.not_sent(batch)
                raise
            agent.reports.sent(batch)
            if beat:
                if agent.reported_at is None:
                    log.info("the broker has the first report")
                agent.reported_at = time.time()
                notify_ready()
            self._share = min(1.0, self._share * 1.5)
            beat = False
            waiting = self._waiting()
            self._set_quiet(self._quiet or waiting.bytes > QUIET_BYTES, waiting.messages)
        return False

    def _send_answers(self) -> bool:
        """Whether all were sent."""
        answers = self._agent.reports.answers
        while answers and self._waiting().bytes <= QUIET_ANSWER_BYTES:
            answer = answers[0]
            try:
                self._send(AUDIT_ANSWER, answer, limit=MAX_ANSWER_BYTES)
            except MessageRejected as refused:
                log.error("an answer cannot be sent: %s", refused)
            if answers and answers[0] is answer:
                answers.popleft()
        return not answers

    def _waiting(self) -> Waiting:
        """What control has not collected yet of what we sent."""
        with self._app.producer_pool.acquire(block=True) as producer:
            channel: Any = producer.connection.default_channel
            with channel.conn_or_acquire() as client:
                count = int(client.llen(self._queue))
        while len(self._sizes) > count:
            self._sizes.popleft()
        return Waiting(count, sum(self._sizes) + (count - len(self._sizes)) * FULL_BYTES)

    def _send(self, name: str, body: Message, *, limit: int = MAX_BODY_BYTES) -> None:
        agent = self._agent
        farm = agent.state.farm
        assert farm is not None  # there is no broker without one
        now = time.time()
        sealed = seal(
            body,
            name=name,
            to=farm.control,
            seq=agent.state.next_seq(now),
            expires=now + GOOD_FOR,
            key_pair=agent.identity,
            limit=limit,
        )
        # To the queue itself: a worker needs no right to bind queues.
        queue: Any = Queue(self._queue)  # type: ignore[no-untyped-call]
        self._app.send_task(
            name, args=[sealed], argsrepr="", queue=queue, declare=[], retry=False, ignore_result=True
        )
        self._sizes.append(int(len(msgspec.json.encode(sealed)) * ENCODED) + AROUND_BYTES)
