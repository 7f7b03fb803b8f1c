"""Celery tasks: each calls one service, and is safe to run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.utils import timezone

from farmwire.tasks import AUDIT_ANSWER, JOIN, REPORT
from seederfarm.registry import services

from ..accounts import denials
from ..accounts.join import join
from ..accounts.pulse import record_pulse
from ..alerts.deliver import deliver
from ..alerts.evaluate import evaluate
from ..history import retention
from ..messaging import assignments, watching
from ..messaging.task_names import ControlTask
from ..reconcile import completing
from ..reconcile.reconcile import reconcile, sweep
from ..reconcile.upkeep import upkeep
from ..reports import audits, ingest, proof_requests
from .retry import retry_on_db_outage
from .work import counter


def _task(name: str) -> Callable[[Callable[..., None]], Any]:
    """A task that is acknowledged when done, so that it is redelivered if its process is killed."""

    def decorate(work: Callable[..., None]) -> Any:
        run = counter.counted(retry_on_db_outage(work))
        return shared_task(name=str(name), acks_late=True, ignore_result=True)(run)

    return decorate


@_task(REPORT)
def ingest_report(data: object) -> None:
    """Take a worker's report: an envelope as the worker signed it, not verified yet."""
    ingest.ingest_report(data)


@_task(JOIN)
def join_worker(data: object) -> None:
    """Take a request to join: an envelope that is not verified yet."""
    join(data)


@_task(ControlTask.SEND_ASSIGNMENT)
def send_assignment(worker_id: int) -> None:
    """Send a worker its whole list of keys. Does nothing if the worker is gone."""
    assignments.send_assignment(worker_id)


@_task(ControlTask.SEND_WORKER_CONFIG)
def send_worker_config(worker_id: int) -> None:
    """Send a worker its quota, rates and pause. Does nothing if the worker is gone."""
    assignments.send_worker_config(worker_id)


@_task(ControlTask.RECONCILE)
def reconcile_all() -> None:
    """Plan all drives, after a change that may concern any of them."""
    sweep(requested=True)


@_task(ControlTask.SWEEP)
def sweep_if_due() -> None:
    """Plan all drives that are not as they should be, if the last time is long enough ago."""
    sweep()


@_task(ControlTask.RECONCILE_DIRTY)
def reconcile_dirty() -> None:
    """Plan the drives that were marked since the last time."""
    reconcile(everything=False)


@_task(AUDIT_ANSWER)
def ingest_audit_answer(data: object) -> None:
    """Take a worker's answer to a challenge: an envelope that is not verified yet."""
    audits.ingest_answer(data)


@_task(ControlTask.CHALLENGE)
def challenge() -> None:
    """Fail challenges without an answer, send those that are due, and conclude requests of people."""
    audits.expire()
    audits.challenge_due()
    proof_requests.conclude()


@_task(ControlTask.REFRESH)
def refresh() -> None:
    """Ask workers again whose state differs from the registry or is old."""
    assignments.refresh_stale()
    completing.ask_to_search_again()


@_task(ControlTask.WATCH)
def watch() -> None:
    """Send the keys of watched drives."""
    watching.send_watch()


@_task(ControlTask.SYNC_ACCOUNTS)
def sync_accounts(afresh: bool = False) -> None:
    """Make, correct and delete accounts of Redis. `afresh`: also those that seem right, as after a restart
    of Redis."""
    denials.sync_accounts(afresh=afresh)


@_task(ControlTask.PULSE)
def pulse() -> None:
    """Record that control works, which `status` and `/healthz` show."""
    record_pulse()


@_task(ControlTask.ALERTS)
def check_alerts() -> None:
    """Evaluate the rules; open and close alerts."""
    evaluate()


@_task(ControlTask.DELIVER)
def send_messages() -> None:
    """Send the messages about alerts that are due."""
    deliver()


@_task(ControlTask.EXPIRE)
def expire() -> None:
    """Remove drives whose time is over."""
    services.expire(timezone.now())


@_task(ControlTask.RETENTION)
def prune() -> None:
    """Delete old events, samples, challenges and alerts."""
    retention.prune()


@_task(ControlTask.STORE_HEALTH)
def store_health() -> None:
    """Compute the stored health of drives that only time changes."""
    upkeep.run()
