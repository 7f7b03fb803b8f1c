"""Sends reports while there is a connection to the broker."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any

from celery import Celery
from kombu.entity import Queue

from farmwire.audit import MAX_ANSWER_BYTES
from farmwire.envelope import MAX_BODY_BYTES, seal
from farmwire.message import Shape
from farmwire.rejection import MessageRejected
from farmwire.tasks import AUDIT_ANSWER, REPORT, REPORTS_QUEUE

from ..ready import notify_ready
from .agent import REPORT_ALL_SOON, Agent

BATCHING = 1.0
"""Seconds that changes wait for more."""

GOOD_FOR = 86400.0
"""Seconds until a report expires."""

MAX_BATCHES = 50
"""Reports sent in one go; the rest follows after a pause."""

QUIET_ABOVE = 200
"""Messages in `reports` above which only heartbeats are sent: control is away, or far behind. A full report
has about 320 KB in Redis, so these are 64 MB, and one of each worker that checked at that moment."""

SILENT_ABOVE = 2000
"""Messages above which nothing is sent. A heartbeat has about 3 KB in Redis."""

REPORTS = Queue(REPORTS_QUEUE)  # type: ignore[no-untyped-call]

log = logging.getLogger(__name__)


class Reporter:
    """Made anew with each connection of the consumer, and stopped with it."""

    def __init__(self, app: Celery, agent: Agent) -> None:
        self._app = app
        self._agent = agent
        self._stop = threading.Event()
        self._failed = False
        self._quiet = False
        self._share = 1.0
        """Part of a full report that one message may hold: less for a while after one was too large."""
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        self._agent.report_all(REPORT_ALL_SOON)  # what was sent last may have been lost with the broker
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: the thread may hang in a dying connection."""
        self._stop.set()
        self._agent.wake.set()

    def _run(self) -> None:
        agent, due = self._agent, 0.0
        agent.connections += 1
        if (
            agent.connections > 1
        ):  # all workers come back in the same second, and would beat together for ever
            self._stop.wait(random.uniform(0, agent.settings.heartbeat))
        while not self._stop.is_set():
            agent.wake.clear()
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
            self._stop.wait(BATCHING)
            agent.wake.wait(max(0.0, due - time.monotonic()))

    def _send_all(self, beat: bool) -> None:
        agent = self._agent
        waiting = self._waiting()
        quiet = waiting > QUIET_ABOVE
        if quiet != self._quiet:
            self._quiet = quiet
            log.warning(
                "%d reports wait at the broker: %s",
                waiting,
                "control is away or behind, the rest is kept here" if quiet else "control takes them again",
            )
        if waiting > SILENT_ABOVE:
            return
        while agent.answers and not quiet:
            answer = agent.answers[0]
            try:
                self._send(AUDIT_ANSWER, answer, limit=MAX_ANSWER_BYTES)
            except MessageRejected as refused:
                log.error("an answer cannot be sent: %s", refused)
            if agent.answers and agent.answers[0] is answer:
                agent.answers.popleft()
        for _ in range(MAX_BATCHES):
            if self._stop.is_set():
                return
            batch = agent.next_batch(with_heartbeat=beat, share=self._share, quiet=quiet)
            if batch is None:
                return
            try:
                self._send(REPORT, batch.report)
            except MessageRejected:
                agent.not_sent(batch)
                self._share /= 2
                continue
            except BaseException:
                agent.not_sent(batch)
                raise
            agent.sent(batch)
            if beat:
                notify_ready()
            self._share = min(1.0, self._share * 1.5)
            beat = False
            quiet = quiet or self._waiting() > QUIET_ABOVE
        agent.wake.set()

    def _waiting(self) -> int:
        """Messages in `reports`."""
        with self._app.producer_pool.acquire(block=True) as producer:
            channel: Any = producer.connection.default_channel
            with channel.conn_or_acquire() as client:
                return int(client.llen(REPORTS_QUEUE))

    def _send(self, name: str, body: Shape, *, limit: int = MAX_BODY_BYTES) -> None:
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
        # To the queue itself, which control declares: a worker needs no right to bind queues.
        self._app.send_task(
            name, args=[sealed], argsrepr="", queue=REPORTS, declare=[], retry=False, ignore_result=True
        )
