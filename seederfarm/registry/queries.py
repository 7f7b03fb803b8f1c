"""Reads that several places share: numbers of copies, what is short of them, keys as people type them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Exists, F, IntegerField, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from hypercore.errors import KeyFormatError
from hypercore.keys import Z32_ALPHABET, decode_key

from .models import Drive, Replica, Worker

_HEX_START: Final = re.compile(r"[0-9a-f]{4,64}")
_Z32_START: Final = re.compile(rf"[{Z32_ALPHABET}]{{4,52}}")
_SCHEME: Final = re.compile(r"(?:hyper|pear|dat)://", re.IGNORECASE)


def with_copies(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    """Each with `copies` (wanted ones), `complete` of them, and `proven_at`, the longest ago of their proofs.

    As subqueries: they cost nothing for rows that are not fetched.
    """
    wanted = Replica.objects.filter(drive=OuterRef("pk"), desired=True).order_by().values("drive")
    complete = wanted.filter(phase=Replica.Phase.COMPLETE)
    return drives.annotate(
        copies=_number(wanted.annotate(n=Count("pk")).values("n")),
        complete=_number(complete.annotate(n=Count("pk")).values("n")),
        proven_at=Subquery(complete.annotate(at=Min("last_proven_at")).values("at")),
    )


def short_of_copies(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    """Those that have fewer complete copies than they should."""
    short = Q(state=Drive.State.ACTIVE) & Q(("complete__lt", F("replicas_min")))
    return with_copies(drives).filter(short)


def without_copy(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    complete = Replica.objects.filter(drive=OuterRef("pk"), phase=Replica.Phase.COMPLETE)
    return drives.filter(~Exists(complete))


def with_errors(drives: QuerySet[Drive]) -> QuerySet[Drive]:
    wrong = Replica.objects.filter(drive=OuterRef("pk"), desired=True, phase=Replica.Phase.ERROR)
    return drives.filter(Exists(wrong))


def expired(now: datetime) -> QuerySet[Drive]:
    """Drives that are to be removed since their time is over."""
    return Drive.objects.filter(expires_at__lte=now).exclude(state=Drive.State.REMOVING)


def with_load(workers: QuerySet[Worker]) -> QuerySet[Worker]:
    """Each with `copies` it should have, `complete` of them, and `bytes_wanted`, the size of them all."""
    wanted = Replica.objects.filter(worker=OuterRef("pk"), desired=True).order_by().values("worker")
    complete = wanted.filter(phase=Replica.Phase.COMPLETE)
    return workers.annotate(
        copies=_number(wanted.annotate(n=Count("pk")).values("n")),
        complete=_number(complete.annotate(n=Count("pk")).values("n")),
        bytes_wanted=_number(wanted.annotate(n=Sum("total_bytes")).values("n")),
    )


def matching_key(text: str) -> Q | None:
    """Drives whose key is, or begins with, what somebody typed, in any spelling. None: this is no key."""
    try:
        return Q(key=decode_key(text).hex())
    except KeyFormatError:
        start = _SCHEME.sub("", text.strip()).split("/")[0].rstrip("…").lower()
    found = Q()
    if _HEX_START.fullmatch(start):
        found |= Q(key__startswith=start)
    if _Z32_START.fullmatch(start):
        found |= Q(key__startswith=_hex_start(start))
    return found or None


def _hex_start(z32: str) -> str:
    """The hex digits that the first letters of a z-base-32 key tell: 5 bits a letter, 4 a digit."""
    bits = "".join(f"{Z32_ALPHABET.index(letter):05b}" for letter in z32)[:256]
    return "".join(f"{int(bits[at : at + 4], 2):x}" for at in range(0, len(bits) // 4 * 4, 4))


def _number(query: QuerySet[Replica, Any]) -> Coalesce:
    return Coalesce(Subquery(query, output_field=IntegerField()), 0)
