"""Workers that join with an enrolment token."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils import timezone

from farmwire.envelope import open_envelope
from farmwire.join import Join, open_secret
from farmwire.message import decode
from farmwire.rejection import MessageRejected
from farmwire.replay import ReplayWindow
from farmwire.tasks import JOIN
from seederfarm.registry.models import Event, Worker
from seederfarm.registry.services.tokens import use_enrolment

from ..messaging import outbox
from ..messaging.identity import identity
from ..messaging.inbox import reject_unknown_sender
from ..messaging.task_names import ControlTask
from . import enrolment


def join(data: object, now: datetime | None = None) -> Worker | None:
    """Admit the signer if the secret is valid. Safe to repeat: the same worker is admitted again.

    Returns None if rejected, with one alert that has the reason. An admitted worker is informed, and gets its
    assignment once it is active.
    """
    now = now or timezone.now()
    with transaction.atomic():
        try:
            # The same message may come again: the secret works once, for one key. No window is needed.
            envelope = open_envelope(
                data,
                sender=None,
                me=identity().node_id,
                name=JOIN,
                now=now.timestamp(),
                window=ReplayWindow(),
            )
            request = decode(envelope.body, Join)
            secret = open_secret(request, sender=envelope.sender, key_pair=identity().key_pair)
        except MessageRejected as refusal:
            reject_unknown_sender(f"a request to join: {refusal}", now)
            return None
        before = Worker.objects.filter(node_id=envelope.sender).only("name", "state").first()
        enrolled = use_enrolment(
            secret,
            node_id=envelope.sender,
            name=request.name,
            zone=request.zone,
            tags=request.tags,
            software=request.software,
            password_hash=request.password,
        )
        if enrolled is None:
            reject_unknown_sender(
                f"{request.name} ({envelope.sender}) wants to join with a token that is unknown, used or "
                "expired",
                now,
            )
            return None
        worker, token = enrolled
        if before is None or before.state == Worker.State.RETIRED:
            Event.objects.create(
                at=now,
                kind="worker.joined",
                worker=worker,
                text=f"{worker.name} joined the farm" + _waiting(worker),
                data={"worker": worker.node_id},
            )
        if before is not None and before.name != worker.name:  # events of before have the old name
            Event.objects.create(
                at=now,
                kind="worker.renamed",
                worker=worker,
                text=f"{before.name} joined again, and is called {worker.name} from now on",
                data={"worker": worker.node_id, "from": before.name},
            )
        answer = partial(enrolment.welcome, worker.pk, token.digest, now.timestamp())
        transaction.on_commit(answer, robust=True)
        outbox.defer(ControlTask.SEND_WORKER_CONFIG, worker.pk)
        outbox.defer(ControlTask.RECONCILE)
    return worker


def _waiting(worker: Worker) -> str:
    return " and waits for approval" if worker.state == Worker.State.PENDING else ""
