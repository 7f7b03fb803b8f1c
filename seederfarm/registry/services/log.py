"""The audit log (actions of people) and the flight recorder (events)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User

from ..buckets import Buckets, RateLimit
from ..models import AuditEntry, Drive, Event, Worker
from ..models.history import Severity


class ByToken(NamedTuple):
    """A user who acts through an API token."""

    user: User
    token: str
    """Its name."""

    def get_username(self) -> str:
        """Return the user's name with that of the token, for the audit log."""
        return f"{self.user.get_username()[:80]} (token {self.token[:60]})"


Actor = User | AbstractBaseUser | AnonymousUser | ByToken | str
"""A user, also through an API token, or a name: `cli`, `farm`, `source NAME`."""

OF_SOURCE: Final = "source "
"""Prefix of the name of an actor that is a source."""

NAMED: Final = 20
"""Number of objects that an entry about many lists by name."""

_PLURALS: Final = {
    "copy": "copies",
    "complete copy": "complete copies",
    "malformed entry": "malformed entries",
}


SOURCE: Final = RateLimit(50, 600.0)
"""Events, and audit entries, of one source: 194 of each on a first day, then 144. A list may change each
second. Ours."""
MAX_SOURCES: Final = 10_000
"""Sources whose rows are counted."""
_of_sources: Final = {"event": Buckets(SOURCE, MAX_SOURCES), "audit": Buckets(SOURCE, MAX_SOURCES)}


def has_room(what: str, source: str) -> bool:
    """Whether one more `event` or `audit` entry of a source may be recorded; counts it if so."""
    return _of_sources[what].take(source, time.monotonic())


def user_of(actor: Actor) -> User | None:
    """The user behind an actor, if it is one."""
    if isinstance(actor, ByToken):
        return actor.user
    return actor if isinstance(actor, User) else None


def record_audit(
    actor: Actor, action: str, text: str, *, target: str = "", data: Mapping[str, Any] | None = None
) -> AuditEntry | None:
    """Write an audit entry. `action` is a stable word such as `drive.remove`; `text` is for people.

    Returns None if `actor` is a source beyond its budget.
    """
    if isinstance(actor, str) and actor.startswith(OF_SOURCE) and not has_room("audit", actor):
        return None
    user = user_of(actor)
    name = actor if isinstance(actor, str) else actor.get_username() or "unknown"
    return AuditEntry.objects.create(
        user=user,
        actor=name[:150],
        action=action,
        target=target[:200],
        text=text[:500],
        data=dict(data or {}),
    )


def record_event(
    kind: str,
    text: str,
    *,
    drive: Drive | None = None,
    worker: Worker | None = None,
    severity: Severity = Severity.INFO,
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Write an event. The key of the drive is in `data`, so that the event is understood when the drive is
    gone."""
    kept = dict(data or {})
    if drive is not None:
        kept.setdefault("key", drive.key)
    if worker is not None:
        kept.setdefault("worker", worker.node_id)
    return Event.objects.create(
        kind=kind, text=text[:500], drive=drive, worker=worker, severity=severity, data=kept
    )


def count_of(number: int, noun: str) -> str:
    """`1 drive`, `2 drives`, `2 copies`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {_PLURALS.get(noun, noun + 's')}"
