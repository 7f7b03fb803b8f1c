"""The Celery app of a worker: one queue, six tasks, an engine step and a reporter step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state as celery_state
from celery.worker.control import Panel
from kombu.entity import Queue

from farmwire.envelope import MAX_BODY_BYTES
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.tasks import (
    AUDIT,
    CONFIGURE,
    READ_ONLY_COMMANDS,
    REFRESH,
    RETIRE,
    SYNC_ASSIGNMENT,
    WATCH,
    queue_of,
)

from .. import transport
from .agent import Agent
from .broker import CONNECT_TIMEOUT, transport_options, trusting_url
from .reporter import Reporter

ORDERS = (SYNC_ASSIGNMENT, AUDIT, CONFIGURE, REFRESH, WATCH, RETIRE)

log = logging.getLogger(__name__)


def create_app(agent: Agent, broker: str) -> Celery:
    """An app whose worker is `agent`."""
    # No fixups: one of them would load Django wherever its settings are named in the environment.
    app = Celery("seederfarm-worker", broker=trusting_url(broker, agent.settings.data), fixups=[])
    queue = queue_of(agent.id)
    transport.install()
    transport.task_filter.allow(queue, ORDERS, max_argument_bytes=MAX_BODY_BYTES, rejected=_rejected(agent))
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        result_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_protocol=2,
        task_queues=[Queue(queue, routing_key=queue)],  # type: ignore[no-untyped-call]
        task_default_queue=queue,
        task_create_missing_queues=False,
        # With a life of its own, a queue needs a table that all workers may write to.
        control_queue_expires=None,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=CONNECT_TIMEOUT,
        broker_transport_options=transport_options(agent.id),
        enable_utc=True,
        timezone="UTC",
    )
    for name in ORDERS:
        _register(app, agent, name)
    for command in set(Panel.data) - READ_ONLY_COMMANDS:
        Panel.data[command] = _refuse_command(agent, command)
    app.steps["worker"].add(_engine_step(agent))
    app.steps["consumer"].add(_report_step(app, agent))
    return app


def _register(app: Celery, agent: Agent, name: str) -> None:
    def handle(*args: object, **_: object) -> None:
        agent.handle(name, args[0] if len(args) == 1 else None)
        if agent.retired.is_set():
            celery_state.should_stop = 0  # an exit status; the consumer reads it in its own thread

    handle.__name__ = name.rpartition(".")[2]
    app.task(handle, name=name, ignore_result=True, shared=False)


def _rejected(agent: Agent) -> transport.RejectedBecause:
    def rejected(_: str, reason: str) -> None:
        agent.refuse("a message", MessageRejected(RejectReason.MALFORMED, reason))

    return rejected


def _refuse_command(agent: Agent, command: str) -> Callable[..., dict[str, str]]:
    def refuse(*_: object, **__: object) -> dict[str, str]:
        refused = MessageRejected(RejectReason.UNSIGNED, "Celery's remote control may only ask here")
        agent.refuse(command, refused)
        return {"error": str(refused)}

    return refuse


def _engine_step(agent: Agent) -> type:
    class EngineStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Lives as long as the process, independent of the broker."""

        def start(self, parent: Any) -> None:
            agent.start()

        def stop(self, parent: Any) -> None:
            agent.stop()

        def terminate(self, parent: Any) -> None:
            agent.stop()

        def info(self, parent: Any) -> dict[str, Any]:
            return {"seeding": agent.summary()}

    return EngineStep


def _report_step(app: Celery, agent: Agent) -> type:
    class ReporterStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts and stops the reporter with every connection to the broker."""

        requires = ("celery.worker.consumer.events:Events", "celery.worker.consumer.tasks:Tasks")

        def __init__(self, parent: Any, **options: Any) -> None:
            self._reporter: Reporter | None = None
            self._timer: Any = None
            super().__init__(parent, **options)

        def start(self, parent: Any) -> None:
            self._reporter = Reporter(app, agent)
            self._reporter.start()
            self._timer = parent.timer.call_repeatedly(
                agent.settings.heartbeat, self._send_monitor_event, (parent,)
            )

        def stop(self, parent: Any) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._reporter is not None:
                self._reporter.stop()
                self._reporter = None

        terminate = stop
        shutdown = stop

        @staticmethod
        def _send_monitor_event(parent: Any) -> None:
            """Send an event for monitors (Flower, the dashboard). Lossy: control uses the reports."""
            summary = agent.summary()
            names = ("keys", "complete", "assignment", "engine_restarts", "connections", "stored_bytes")
            try:
                parent.event_dispatcher.send("worker-seeding", **{name: summary[name] for name in names})
            except Exception as error:
                log.debug("no event could be sent: %s", error)

    return ReporterStep
