"""Tokens of programs and workers: shown once, stored as hashes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from farmwire.join import queue_id, secret_digest

from ..models import ApiToken, EnrolmentToken, Worker
from ..models.access import Scope
from ..models.fields import clean_tags
from .log import Actor, record_audit, user_of

API_PREFIX: Final = "sft_"
ENROLMENT_LIFE: Final = timedelta(days=1)
HINT_LENGTH: Final = 10
LATE: Final = timedelta(days=1)
"""For so long after its use or end a token's requests are still read, and refused by name."""


class Issued(NamedTuple):
    """A new token and its secret, which is not stored."""

    token: ApiToken
    secret: str


class IssuedEnrolment(NamedTuple):
    """A new enrolment token, and its secret, which is stored nowhere."""

    token: EnrolmentToken
    secret: str


def open_places(now: datetime) -> set[str]:
    """Ids (`farmwire.join.queue_id`) of the tokens whose requests are read: workers may join with them, or
    have not heard yet that they did, or have used them lately."""
    # A worker that waits for approval, or whose answer was lost, goes on asking
    not_heard = Q(used_by__last_seen_at__isnull=True) | Q(used_by__last_seen_at__lt=F("used_at"))
    lately = Q(expires_at__gt=now - LATE) | Q(used_at__gt=now - LATE)
    asking = Q(used_by__isnull=False) & not_heard & ~Q(used_by__state=Worker.State.RETIRED)
    digests = EnrolmentToken.objects.filter(lately | asking).values_list("digest", flat=True)
    return {queue_id(digest) for digest in digests}


def issue_api_token(
    user: User, name: str, *, scopes: Sequence[str] = (), expires_at: datetime | None = None, actor: Actor
) -> Issued:
    """Make a token. Raises ValidationError for unknown scopes."""
    unknown = sorted(set(scopes) - set(Scope.values))
    if unknown:
        raise ValidationError(f"{', '.join(unknown)}: no scope; there are {', '.join(Scope.values)}.")
    secret = API_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name,
            digest=secret_digest(secret),
            hint=secret[:HINT_LENGTH],
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
        record_audit(actor, "token.issue", f"Made the API token {name} for {user}", target=token.hint)
    return Issued(token, secret)


def find_api_token(secret: str, now: datetime | None = None) -> ApiToken | None:
    """The valid token of this secret, or None. Records its use, at most once a minute."""
    now = now or timezone.now()
    token = ApiToken.objects.select_related("user").filter(digest=secret_digest(secret)).first()
    if token is None or not token.is_valid(now) or not token.user.is_active:
        return None
    if token.last_used_at is None or token.last_used_at < now - timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke_api_token(token: ApiToken, actor: Actor) -> bool:
    """Returns False if it was revoked already."""
    with transaction.atomic():
        done = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1
        if done:
            record_audit(actor, "token.revoke", f"Revoked the API token {token.name}", target=token.hint)
    return done


def issue_enrolment(
    *,
    name: str = "",
    zone: str = "",
    tags: Sequence[str] = (),
    approved: bool = True,
    life: timedelta = ENROLMENT_LIFE,
    broker_hash: str = "",
    actor: Actor,
) -> IssuedEnrolment:
    """Make an enrolment token. The secret goes into a farmwire.join.JoinToken, together with the broker's
    address.

    `broker_hash`: SHA-256 of the password of its broker account, if it has one.
    """
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        token = EnrolmentToken.objects.create(
            name=name,
            digest=secret_digest(secret),
            hint=secret[:HINT_LENGTH],
            zone=zone,
            tags=clean_tags(list(tags)),
            approved=approved,
            broker_hash=broker_hash,
            created_by=user_of(actor),
            expires_at=timezone.now() + life,
        )
        record_audit(
            actor, "enrolment.issue", f"Made an enrolment token for {name or 'a worker'}", target=token.hint
        )
    return IssuedEnrolment(token, secret)


class Enrolled(NamedTuple):
    """A worker that joined, and the token that it used."""

    worker: Worker
    token: EnrolmentToken


def use_enrolment(
    secret: str,
    *,
    node_id: str,
    name: str,
    zone: str = "",
    tags: Sequence[str] = (),
    software: str = "",
    password_hash: str = "",
) -> Enrolled | None:
    """Admit the worker that joins with this secret, or return the one admitted before (when it repeats the
    request). None for an invalid secret.

    The operator's name, zone and tags override the worker's own. A name that is taken gets a number. A
    retired worker is admitted anew; one that belongs to the farm only gets a new login.
    `password_hash` is for the worker's broker account, which it gets if the token has one.
    """
    now = timezone.now()
    with transaction.atomic():
        token = EnrolmentToken.objects.select_for_update().filter(digest=secret_digest(secret)).first()
        if token is None or token.revoked_at is not None:
            return None
        if token.used_at is not None:
            used = token.used_by
            return Enrolled(used, token) if used is not None and used.node_id == node_id else None
        if token.expires_at <= now:
            return None
        worker = Worker.objects.filter(node_id=node_id).first()
        if worker is None:
            worker = Worker.objects.create(
                node_id=node_id,
                name=free_name(token.name or name),
                zone=token.zone or zone,
                tags=token.tags or _tags_of(tags),
                software=software[:64],
                state=Worker.State.ACTIVE if token.approved else Worker.State.PENDING,
            )
        elif worker.state == Worker.State.RETIRED:
            _readmit(worker, token, now)
        worker.broker_hash = password_hash if token.broker_hash else ""
        worker.save(update_fields=["broker_hash"])
        token.used_at, token.used_by = now, worker
        token.save(update_fields=["used_at", "used_by"])
        record_audit("farm", "worker.join", f"{worker.name} joined with the token {token}", target=node_id)
    return Enrolled(worker, token)


def _readmit(worker: Worker, token: EnrolmentToken, now: datetime) -> None:
    """Make a retired worker a member as if it was new: nothing that it reported before is true any more."""
    if token.name and token.name != worker.name:
        worker.name = free_name(token.name)
    worker.zone, worker.tags = token.zone or worker.zone, token.tags or worker.tags
    worker.state = Worker.State.ACTIVE if token.approved else Worker.State.PENDING
    worker.enrolled_at = now
    worker.retired_at = worker.draining_since = worker.lost_since = worker.last_seen_at = None
    worker.save()


def revoke_enrolment(token: EnrolmentToken, actor: Actor) -> bool:
    """Returns False if it was used or revoked already."""
    with transaction.atomic():
        open_ones = EnrolmentToken.objects.filter(pk=token.pk, revoked_at=None, used_at=None)
        done = open_ones.update(revoked_at=timezone.now()) == 1
        if done:
            record_audit(actor, "enrolment.revoke", f"Revoked the enrolment token {token}", target=token.hint)
    return done


def free_name(wanted: str) -> str:
    """`wanted`, or `wanted-2`, … if other workers have these names."""
    base = wanted.strip()[:90] or "worker"
    taken = set(Worker.objects.filter(name__startswith=base).values_list("name", flat=True))
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _tags_of(tags: Sequence[str]) -> list[str]:
    """The worker's own tags, as far as they are valid."""
    kept = []
    for tag in tags:
        try:
            kept += clean_tags([tag])
        except ValidationError:
            continue
    return sorted(set(kept))[:50]
