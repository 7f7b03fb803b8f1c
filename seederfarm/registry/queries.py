"""Queries that several apps use: numbers of copies, under-replicated drives, search by key."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from hypercore.errors import KeyFormatError
from hypercore.keys import Z32_ALPHABET, decode_key

from .models import Drive, Replica, Worker

_HEX_START: Final = re.compile(r"[0-9a-f]{4,64}")
_Z32_START: Final = re.compile(rf"[{Z32_ALPHABET}]{{4,52}}")
_SCHEME: Final = re.compile(r"(?:hyper|pear|dat)://", re.IGNORECASE)


def with_copies(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    """Annotate with `copies` (desired ones) and `complete` of them.

    As subqueries: they cost nothing for rows that are not fetched.
    """
    wanted = Replica.objects.filter(drive=OuterRef("pk"), desired=True).order_by().values("drive")
    complete = wanted.filter(phase=Replica.Phase.COMPLETE)
    return drives.annotate(
        copies=_number(wanted.annotate(n=Count("pk")).values("n")),
        complete=_number(complete.annotate(n=Count("pk")).values("n")),
    )


def under_replicated(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    """Drives with too few complete copies, as of their last planning: at once after a change."""
    return drives.filter(state=Drive.State.ACTIVE, under_replicated=True)


def with_errors(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    """Drives with a desired copy whose worker reports an error."""
    wrong = Replica.objects.filter(drive=OuterRef("pk"), desired=True, phase=Replica.Phase.ERROR)
    return drives.filter(Exists(wrong))


def expired(now: datetime) -> QuerySet[Drive]:
    """Drives to remove because they expired."""
    return Drive.objects.filter(expires_at__lte=now).exclude(state=Drive.State.REMOVING)


def with_load(workers: QuerySet[Worker]) -> QuerySet[Worker]:
    """Annotate with `copies` that it should have, and `complete` of them.

    Computed from indexes alone, since a worker's copies are all over the table.
    """
    all_here = Replica.objects.filter(worker=OuterRef("pk")).order_by().values("worker")
    released = all_here.filter(desired=False)
    unfinished = all_here.filter(~Q(phase=Replica.Phase.COMPLETE), desired=True)
    copies, gone, rest = (
        _number(rows.annotate(n=Count("*")).values("n")) for rows in (all_here, released, unfinished)
    )
    return workers.annotate(copies=copies - gone, complete=copies - gone - rest)


def whole_key(text: str) -> str | None:
    """The stored form of a key typed in any spelling. None: not a key, or a part of one."""
    try:
        return decode_key(text).hex()
    except KeyFormatError:
        return None


def matching_key(text: str) -> Q | None:
    """Drives whose key equals or starts with what was typed, in any spelling. None: not a key."""
    if (key := whole_key(text)) is not None:
        return Q(key=key)
    start = _SCHEME.sub("", text.strip()).split("/")[0].rstrip("…").lower()
    found = Q()
    if _HEX_START.fullmatch(start):
        found |= Q(key__startswith=start)
    if _Z32_START.fullmatch(start):
        found |= Q(key__startswith=_hex_start(start))
    return found or None


def drives_like(text: str, limit: int) -> list[int]:
    """Primary keys of at most `limit` drives whose key, label or title matches."""
    by_key = matching_key(text)
    if by_key is None or whole_key(text) is None:
        named = Q(label__icontains=text) | Q(title__icontains=text)
        by_key = named if by_key is None else named | by_key
    return list(Drive.objects.filter(by_key).order_by().values_list("pk", flat=True)[:limit])


def _hex_start(z32: str) -> str:
    """The hex digits that the first letters of a z-base-32 key determine: 5 bits a letter, 4 a digit."""
    bits = "".join(f"{Z32_ALPHABET.index(letter):05b}" for letter in z32)[:256]
    return "".join(f"{int(bits[at : at + 4], 2):x}" for at in range(0, len(bits) // 4 * 4, 4))


def _number(query: QuerySet[Replica, Any]) -> Coalesce:
    return Coalesce(Subquery(query, output_field=IntegerField()), 0)
