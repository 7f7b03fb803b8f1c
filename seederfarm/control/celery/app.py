"""The control plane's Celery app: `celery -A seederfarm.control.celery.app worker -Q control,reports`.

The broker carries JSON only, results are not stored, and the beat table lists all scheduled work.
"""

from __future__ import annotations

import os
from typing import Any, Final, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")

from celery import Celery
from celery.signals import worker_init, worker_ready
from django.conf import settings
from kombu.entity import Exchange, Queue

from farmwire.audit import MAX_ANSWER_BYTES
from farmwire.envelope import MAX_BODY_BYTES
from farmwire.tasks import AUDIT_ANSWER, CONTROL_QUEUE, JOIN, JOIN_QUEUE, KEY_PREFIX, REPORT, REPORTS_QUEUE
from workers import transport
from workers.ready import notify_ready

from ..messaging.rejected import rejected_messages
from ..messaging.task_names import ControlTask
from .requeue import requeue_unacked

QUEUES: Final = (CONTROL_QUEUE, REPORTS_QUEUE, JOIN_QUEUE)
"""Queues that the control plane reads."""
VISIBILITY_TIMEOUT: Final = 180
"""Seconds after which Redis redelivers an unacknowledged task. Less than the replay window of envelopes; a
plan that takes longer is started twice, and the second one finds the lock taken."""
SOCKET_TIMEOUT: Final = 30.0
"""Seconds to wait for an answer of Redis; then the connection is made anew."""
HEALTH_CHECK: Final = 25
"""Seconds of silence after which a connection is tested before use."""
DIRTY_EVERY: Final = 5.0
"""Seconds between checks for drives that need planning; most are planned at once on a signal."""
SWEEP_POLL: Final = 5.0
"""Largest number of seconds between checks whether the whole plan is due (`reconcile.sweep`)."""
ACCOUNTS_EVERY: Final = 2.0
"""Heartbeats between two checks of the broker's accounts and its log of refusals."""
AUDIT_EVERY: Final = 10.0
"""Largest number of seconds between two checks for copies that are due for a proof."""
REFRESH_EVERY: Final = 20.0
"""Heartbeats between checks for copies without recent reports."""
PULSE_EVERY: Final = 5.0
"""Seconds between two records that control lives."""
ALERTS_EVERY: Final = 30.0
"""Seconds between runs of the rules of alerts."""
DELIVER_EVERY: Final = 15.0
"""Seconds between checks for messages that are due; new ones are sent at once."""
EXPIRE_EVERY: Final = 60.0
"""Seconds between checks for expired drives."""
RETENTION_EVERY: Final = 3600.0
STORE_HEALTH_EVERY: Final = 5.0
"""Seconds between checks for drives whose health time may have changed."""
LATE: Final = 60.0
"""Least time in seconds after which a run that has not begun expires. Reports that came before it can take
longer than a short period: if runs expired by then, none would ever start on a busy machine."""


def _beat(task: ControlTask, every: float) -> dict[str, Any]:
    """An entry of the schedule. A run expires when it has not started until the next is due, and for LATE:
    runs that were due while control was away need not all be made up for."""
    return {
        "task": task.value,
        "schedule": every,
        "options": {"expires": max(LATE, every * 0.9), "queue": CONTROL_QUEUE},
    }


def beat_table() -> dict[str, Any]:
    """Return the scheduled work of beat, by description. A run expires before the next one is due, so that
    none pile up while control is away."""
    farm = settings.FARM
    return {
        "check the whole plan": _beat(ControlTask.SWEEP, max(1.0, min(farm.reconcile_every, SWEEP_POLL))),
        "plan what changed": _beat(ControlTask.RECONCILE_DIRTY, DIRTY_EVERY),
        "ask for proofs": _beat(ControlTask.CHALLENGE, min(AUDIT_EVERY, max(1.0, farm.audit_every))),
        "ask for reports that are missing": _beat(ControlTask.REFRESH, REFRESH_EVERY * farm.heartbeat),
        "sync the broker's accounts": _beat(ControlTask.SYNC_ACCOUNTS, ACCOUNTS_EVERY * farm.heartbeat),
        "record that control lives": _beat(ControlTask.PULSE, PULSE_EVERY),
        "open and close alerts": _beat(ControlTask.ALERTS, ALERTS_EVERY),
        "send messages about alerts": _beat(ControlTask.DELIVER, DELIVER_EVERY),
        "remove what expired": _beat(ControlTask.EXPIRE, EXPIRE_EVERY),
        "compute health that is due": _beat(ControlTask.STORE_HEALTH, STORE_HEALTH_EVERY),
        "prune old rows": _beat(ControlTask.RETENTION, RETENTION_EVERY),
    }


def make_app() -> Any:
    """The Celery app of control. It takes from the queues of workers only the tasks that workers may send."""
    transport.install()
    # What comes from workers and holders of tokens. Celery would run any task from any queue.
    for taken, tasks, limit in (
        (REPORTS_QUEUE, (REPORT, AUDIT_ANSWER), max(MAX_BODY_BYTES, MAX_ANSWER_BYTES)),
        (JOIN_QUEUE, (JOIN,), MAX_BODY_BYTES),
    ):
        transport.task_filter.allow(taken, tasks, max_argument_bytes=limit, rejected=rejected_messages.add)
    app = Celery("seederfarm.control", broker=settings.FARM.broker_url)
    queue, exchange = cast(Any, Queue), cast(Any, Exchange)("farm", type="direct")
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        event_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_protocol=2,
        task_default_queue=CONTROL_QUEUE,
        task_queues=[queue(name, exchange, routing_key=name) for name in QUEUES],
        task_default_exchange="farm",
        task_default_exchange_type="direct",
        task_default_routing_key=CONTROL_QUEUE,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_connect_timeout": 5,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK,
        },
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=4,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        timezone="UTC",
        beat_schedule=beat_table(),
        beat_scheduler="seederfarm.control.celery.scheduler:SingletonScheduler",
        imports=["seederfarm.control.celery.tasks"],
    )
    app.steps["consumer"].add("seederfarm.control.celery.bootsteps:BrokerStep")
    return app


app: Final = make_app()


def _on_worker_init(**_: object) -> None:
    requeue_unacked(app)


def _on_worker_ready(**_: object) -> None:
    notify_ready()


worker_init.connect(_on_worker_init, dispatch_uid="control.start")
worker_ready.connect(_on_worker_ready, dispatch_uid="control.ready")
