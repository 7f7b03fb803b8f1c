"""Verifies incoming messages: sender, membership, replay.

A rejected message is counted, with the reason, on the worker, or for unknown senders in one alert.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from farmwire.envelope import MAX_BODY_BYTES, Envelope, open_envelope
from farmwire.rejection import MessageRejected
from farmwire.replay import ReplayWindow
from seederfarm.registry.models import Worker

from ..history.alerts import AlertSpec, raise_alerts
from .identity import identity
from .outbox import refuse

log = logging.getLogger(__name__)

REJECTED_STATES: Final = {
    Worker.State.PENDING: "it waits for approval",
    Worker.State.RETIRED: "it is retired; activate it, or stop it",
}


class Received(NamedTuple):
    """A verified message and the worker that signed it."""

    worker: Worker
    envelope: Envelope


def receive(data: object, *, name: str, now: datetime, limit: int = MAX_BODY_BYTES) -> Received | str:
    """Verify a message of a member. Returns the reason if it was rejected, which is counted already.

    Call it in a transaction, which locks the worker's row: the effect of the message and the record that it
    was seen are committed together, so an unfinished message may come again.
    """
    sender = data.get("from") if isinstance(data, Mapping) else None
    if not isinstance(sender, str) or len(sender) > 64:
        return reject_unknown_sender("a message without a sender", now)
    # FOR NO KEY UPDATE: copies that refer to the worker may be inserted meanwhile.
    rows = Worker.objects.select_for_update(no_key=True).defer("host", "engine", "note")
    worker = rows.filter(node_id=sender).first()
    if worker is None:
        return reject_unknown_sender(f"{sender} has not joined this farm", now)
    window = ReplayWindow.from_text(worker.replay_window)
    try:
        envelope = open_envelope(
            data,
            sender=sender,
            me=identity().node_id,
            name=name,
            now=now.timestamp(),
            window=window,
            limit=limit,
        )
    except MessageRejected as refusal:
        return _reject(worker, f"{name}: {refusal}")
    if (why := REJECTED_STATES.get(Worker.State(worker.state))) is not None:
        return _reject(worker, f"{name}: {why}")
    worker.replay_window, worker.last_seq_in = window.to_text(), window.highest
    worker.save(update_fields=["replay_window", "last_seq_in"])
    return Received(worker, envelope)


def reject_malformed(worker: Worker, name: str, refusal: MessageRejected) -> str:
    """Count a message with a valid signature and an invalid body."""
    return _reject(worker, f"{name}: {refusal}")


def _reject(worker: Worker, reason: str) -> str:
    refuse(worker.pk, reason)
    log.warning("Refused a message of worker %s: %s", worker.name, reason)
    return reason


def reject_unknown_sender(reason: str, now: datetime) -> str:
    """Reject a message of an unknown sender: one alert, however often."""
    spec = AlertSpec(
        kind="worker.unknown",
        subject="worker.unknown",
        text=f"Refused a message: {reason}",
        hint="A worker of another farm, or one that was deleted, uses this broker: enrol it, or stop it.",
    )
    raise_alerts([spec], now)
    log.warning("Refused a message: %s", reason)
    return reason
