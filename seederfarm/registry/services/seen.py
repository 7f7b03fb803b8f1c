"""Records which drives are new to a user: those added since the user marked all as seen, but for some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.db.models import Max, QuerySet

from ..models import Drive, SeenDrives

MAX_ALSO: Final = 500
"""Drives that a user has marked one by one. Beyond, older ones than the oldest half count as seen. Ours."""


class Seen(NamedTuple):
    """The drives that a user has seen."""

    up_to: int
    also: tuple[int, ...] = ()

    def is_new(self, pk: int) -> bool:
        """Whether the user has not seen this drive."""
        return pk > self.up_to and pk not in self.also

    def new(self, rows: QuerySet[Drive]) -> QuerySet[Drive]:
        """Return the drives, of these, that are new."""
        return rows.filter(pk__gt=self.up_to).exclude(pk__in=self.also)


def of(user: Any) -> Seen:
    """Return the drives that a user has seen; all drives if the user never logged in."""
    row = SeenDrives.objects.filter(user=user).first()
    return Seen(_newest()) if row is None else Seen(row.up_to, tuple(row.also))


def begin(user: Any) -> None:
    """Mark all drives as seen at a user's first login."""
    SeenDrives.objects.get_or_create(user=user, defaults={"up_to": _newest()})


def mark(user: Any, ids: Iterable[int]) -> None:
    """The user has seen these."""
    with transaction.atomic():
        row = _locked(user)
        also = sorted({*row.also, *(pk for pk in ids if pk > row.up_to)})
        if len(also) > MAX_ALSO:
            row.up_to = also[len(also) // 2]
            also = [pk for pk in also if pk > row.up_to]
        if also != row.also:
            row.also = also
            row.save(update_fields=["up_to", "also"])


def mark_all(user: Any) -> None:
    """The user has seen all that is there."""
    with transaction.atomic():
        row = _locked(user)
        row.up_to, row.also = _newest(), []
        row.save(update_fields=["up_to", "also"])


def _locked(user: Any) -> SeenDrives:
    begin(user)
    return SeenDrives.objects.select_for_update().get(user=user)


def _newest() -> int:
    return Drive.objects.aggregate(n=Max("pk"))["n"] or 0
