"""Sends sealed envelopes to workers, and defers work of control itself.

Messages are sent when the transaction that caused them has committed. Delivery is not guaranteed: the next
heartbeat (assignments) or beat (others) repeats lost messages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from farmwire.envelope import next_seq, seal
from farmwire.message import Message
from farmwire.tasks import queue_of
from seederfarm.registry.models import Worker
from seederfarm.registry.models.history import Severity

from ..history.event_budget import refusals
from ..history.events import EventRow, record
from .broker import Broker, BrokerDown
from .identity import identity
from .task_names import ControlTask

log = logging.getLogger(__name__)

LIFETIME: Final = 3600.0
"""Seconds until a message to a worker expires. A later one has replaced it by then."""
MAX_WAITING: Final = 200
"""Messages in a worker's queue, beside those of one assignment, above which no more are sent."""
ATTEMPTS: Final = 20
"""Attempts to reserve sequence numbers when other processes take them at the same time."""


BROKER_DOWN: Final = "Saved. The broker cannot be reached: workers get it when it is back."
"""Shown to a user whose change was not sent."""


class UndeliveredCounter:
    """Counts messages that the broker did not accept."""

    def __init__(self) -> None:
        self.count = 0


_missed: ContextVar[UndeliveredCounter | None] = ContextVar("missed", default=None)


def watch() -> UndeliveredCounter:
    """Count undelivered messages from now on in this context: a request, or a command."""
    missed = UndeliveredCounter()
    _missed.set(missed)
    return missed


class _Outbox:
    def __init__(self) -> None:
        self._broker: Broker | None = None

    @property
    def broker(self) -> Broker:
        if self._broker is None:
            from .celery_broker import CeleryBroker

            self._broker = CeleryBroker()
        return self._broker

    @contextmanager
    def through(self, broker: Broker) -> Iterator[None]:
        """Send through `broker` inside the block."""
        before, self._broker = self._broker, broker
        try:
            yield
        finally:
            self._broker = before


outbox: Final = _Outbox()


def reserve(worker_id: int, count: int, now: float) -> int | None:
    """Reserve `count` sequence numbers for this worker. Returns the first; None: the worker is gone.

    Compare-and-set, so that no lock is held while envelopes are made.
    """
    for _ in range(ATTEMPTS):
        row = Worker.objects.filter(pk=worker_id)
        expected = row.values_list("next_seq_out", flat=True).first()
        if expected is None:
            return None
        first = next_seq(expected - 1, now)
        if row.filter(next_seq_out=expected).update(next_seq_out=first + count) == 1:
            return first
    raise RuntimeError(f"no sequence number for worker {worker_id} in {ATTEMPTS} attempts")


def send(worker_id: int, node_id: str, name: str, bodies: Sequence[Message], now: datetime) -> None:
    """Seal and send `bodies` to a worker, one envelope each, once the transaction has committed."""
    at = now.timestamp()
    transaction.on_commit(partial(send_now, worker_id, node_id, name, list(bodies), at), robust=True)


def defer(task: ControlTask, *args: Any) -> None:
    """Queue `task` for the control plane once the transaction has committed."""
    transaction.on_commit(partial(_defer_now, task, args), robust=True)


def send_now(worker_id: int, node_id: str, name: str, bodies: Sequence[Message], now: float) -> None:
    """Seal and send. A worker that does not read its queue gets no message until it reports again."""
    try:
        waiting = outbox.broker.waiting(queue_of(node_id))
    except BrokerDown as error:
        _miss("%s was not sent to %s: %s", name, node_id, error)
        return
    if waiting >= MAX_WAITING + len(bodies):
        log.info("%s was not sent to %s, which leaves %d messages in its queue", name, node_id, waiting)
        return
    for message in _sealed(worker_id, node_id, name, bodies, now):
        try:
            outbox.broker.send(name, message, queue=queue_of(node_id), expires=LIFETIME)
        except BrokerDown as error:
            _miss("%s was not sent to %s: %s", name, node_id, error)
            return


def leave_now(worker_id: int, node_id: str, name: str, body: Message, now: float, *, key: str) -> None:
    """Seal a message, and leave it under `key`."""
    for message in _sealed(worker_id, node_id, name, [body], now):
        try:
            outbox.broker.leave(key, message, expires=LIFETIME)
        except BrokerDown as error:
            _miss("%s was not left for %s: %s", name, node_id, error)


def _sealed(
    worker_id: int, node_id: str, name: str, bodies: Sequence[Message], now: float
) -> Iterator[dict[str, object]]:
    first = reserve(worker_id, len(bodies), now)
    if first is None:
        return
    pair = identity().key_pair
    for seq, body in enumerate(bodies, first):
        yield seal(body, name=name, to=node_id, seq=seq, expires=now + LIFETIME, key_pair=pair)


def _defer_now(task: ControlTask, args: Sequence[Any]) -> None:
    try:
        outbox.broker.defer(task.value, args)
    except BrokerDown as error:
        _miss("%s waits for its next beat, the broker did not take it: %s", task, error)


def _miss(text: str, *arguments: object) -> None:
    """Count an undelivered message for the current context, else log it."""
    missed = _missed.get()
    log.log(logging.WARNING if missed is None else logging.DEBUG, text, *arguments)
    if missed is not None:
        missed.count += 1


def refuse(worker_id: int, reason: str) -> None:
    """Count a refused message of this worker. Its row has only the last reason, so the first one for each
    reason becomes an event, within `RefusalBudget`."""
    Worker.objects.filter(pk=worker_id).update(refused=F("refused") + 1, refused_reason=reason[:200])
    now = timezone.now()
    if refusals.admit(worker_id, reason, time.monotonic()):
        name = Worker.objects.filter(pk=worker_id).values_list("name", flat=True).first()
        text = f"Refused a message of {name}: {reason}"
        record([EventRow(now, "worker.refused", Severity.WARNING, None, worker_id, text, {})])
