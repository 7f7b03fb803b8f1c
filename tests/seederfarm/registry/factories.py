"""Things to test with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from hypercore.keys import encode_key
from seederfarm.registry import stored_health
from seederfarm.registry.models import Drive, Replica, Worker

_numbers = count(1)


def key_of(name: str | int) -> str:
    """A key, the same for the same name. Hex."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def make_drive(name: str = "", **values: Any) -> Drive:
    name = name or f"drive {next(_numbers)}"
    drive = Drive.objects.create(**{"key": key_of(name), "label": name, "dirty": False, **values})
    store_health(drive)
    return drive


_late: set[int] | None = None


@contextmanager
def health_stored_at_the_end() -> Iterator[None]:
    """Store the health of drives that are made here once, after all of them: it costs more than they do."""
    global _late  # noqa: PLW0603
    _late = set()
    try:
        yield
        stored_health.refresh(sorted(_late))
    finally:
        _late = None


def store_health(drive: Drive) -> None:
    """As services and control do after each change."""
    if _late is not None:
        _late.add(drive.pk)
        return
    stored_health.refresh([drive.pk])
    drive.refresh_from_db(fields=stored_health.STORED)


def make_worker(name: str = "", **values: Any) -> Worker:
    name = name or f"worker-{next(_numbers)}"
    node_id = encode_key(bytes.fromhex(key_of(name)))
    given = {"node_id": node_id, "name": name, "state": Worker.State.ACTIVE, "last_seen_at": timezone.now()}
    return Worker.objects.create(**{**given, **values})


def make_replica(drive: Drive, worker: Worker, **values: Any) -> Replica:
    """Complete and proven, unless it is given otherwise. The health of the drive is stored."""
    now = timezone.now()
    given: dict[str, Any] = {"drive": drive, "worker": worker, "phase": Replica.Phase.COMPLETE}
    given |= {"completed_at": now, "last_proven_at": now}
    proven = {"proven_length": values.get("length", 0), "proven_fork": values.get("fork", 0)}
    copy = Replica.objects.create(**{**given, **proven, **values})
    store_health(drive)
    return copy


def make_user(name: str = "alice", **values: Any) -> User:
    return User.objects.create_user(
        name, password="correct horse", **{"is_staff": True, "is_superuser": True, **values}
    )
