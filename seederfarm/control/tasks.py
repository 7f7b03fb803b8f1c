"""What Celery calls: each loads nothing, calls one service, and is safe to run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.db import InterfaceError, OperationalError

from farmwire.orders import AUDIT_ANSWER, JOIN, REPORT
from seederfarm.sources import poll

from . import audits, ingest, manifests, retention
from .join import join
from .reconcile import reconcile


def _task(name: str) -> Callable[[Callable[..., None]], Any]:
    """Acknowledged when done, so that one whose worker was killed is run again; tried again when the
    database was away for a moment."""
    made: Callable[[Callable[..., None]], Any] = shared_task(
        name=name,
        acks_late=True,
        ignore_result=True,
        autoretry_for=(OperationalError, InterfaceError),
        max_retries=8,
        retry_backoff=1,
        retry_backoff_max=60,
        retry_jitter=True,
    )
    return made


@_task(REPORT)
def take_report(data: object) -> None:
    ingest.ingest_report(data)


@_task(JOIN)
def let_in(data: object) -> None:
    join(data)


@_task("control.send_manifest")
def send_manifest(worker_id: int) -> None:
    manifests.send_manifest(worker_id)


@_task("control.tell_worker")
def tell_worker(worker_id: int) -> None:
    manifests.tell_worker(worker_id)


@_task("control.reconcile")
def reconcile_all() -> None:
    reconcile()


@_task("control.reconcile_dirty")
def reconcile_dirty() -> None:
    reconcile(everything=False)


@_task(AUDIT_ANSWER)
def take_answer(data: object) -> None:
    audits.take_answer(data)


@_task("control.challenge")
def challenge() -> None:
    audits.expire()
    audits.challenge_due()


@_task("control.refresh")
def refresh() -> None:
    manifests.refresh_stale()


@_task("control.retention")
def forget() -> None:
    retention.forget()


@_task("control.read_sources")
def read_sources() -> None:
    poll.poll_due()
