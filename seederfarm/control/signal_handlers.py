"""Acts on operators' changes at once, not at the next beat."""

from __future__ import annotations

from typing import Any

from seederfarm.registry import signals

from .messaging import outbox
from .messaging.task_names import ControlTask


def connect() -> None:
    """Connect handlers by which changes in the registry start tasks of control. May be called again."""
    signals.drives_changed.connect(_drives_changed, dispatch_uid="control.drives")
    signals.workers_changed.connect(_workers_changed, dispatch_uid="control.workers")
    signals.messages_wait.connect(_messages_wait, dispatch_uid="control.messages")
    signals.peers_wanted.connect(_peers_wanted, dispatch_uid="control.peers")
    signals.reverify_wanted.connect(_reverify_wanted, dispatch_uid="control.reverify")


def _drives_changed(*, ids: list[int] | None, **_: Any) -> None:
    outbox.defer(ControlTask.RECONCILE_DIRTY)
    if ids is None:
        outbox.defer(ControlTask.RECONCILE)


def _workers_changed(*, ids: list[int], **_: Any) -> None:
    for worker_id in ids:
        outbox.defer(ControlTask.SEND_WORKER_CONFIG, worker_id)
    outbox.defer(ControlTask.SYNC_ACCOUNTS)
    outbox.defer(ControlTask.RECONCILE)


def _messages_wait(**_: Any) -> None:
    outbox.defer(ControlTask.DELIVER)


def _peers_wanted(**_: Any) -> None:
    outbox.defer(ControlTask.WATCH)


def _reverify_wanted(**_: Any) -> None:
    outbox.defer(ControlTask.CHALLENGE)
