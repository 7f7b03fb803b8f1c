"""Actions on registered drives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Q, When
from django.utils import timezone

from .. import stored_health
from ..models import Alert, Drive, Event, Replica
from ..models.history import FORK_ALERT, Severity
from ..queries import expired
from ..sql import batches
from .keys import announce, assignments_changed
from .log import NAMED, Actor, count_of, record_audit, record_event

Drives = models.QuerySet[Drive] | Iterable[Drive]
"""A selection of drives; of a queryset only primary keys are read."""


EXPIRY_HELD: Final = "drive.expiry_held"
"""Kind of events about expired drives that are kept."""

EXPIRED_AT_ONCE: Final = 1000
"""Drives that one run removes; the next run continues."""


class Guarded(NamedTuple):
    """A drive that was not removed, since the farm has the fullest copy known."""

    drive: Drive
    complete: int
    """Complete copies in the farm."""
    writer_seen_at: datetime | None
    share: float | None = None
    """Share of the drive in the fullest copy, 0 to 1. None: unknown."""

    @property
    def why(self) -> str:
        """The reason for people, without a full stop."""
        at = self.writer_seen_at
        wrote = f"last wrote {at:%Y-%m-%d %H:%M}" if at else "has written nothing since it was added"
        if self.complete:
            return f"the farm has the only complete copies known ({self.complete}); its publisher {wrote}"
        share = "" if self.share is None else f" ({int(self.share * 1000) / 10:g} %)"
        return f"the farm has the fullest copy known{share}; its publisher {wrote}"


class RemoveResult(NamedTuple):
    """The result of `remove`."""

    removing: int
    """Drives whose copies are being released now."""
    guarded: list[Guarded]
    """Unchanged; `force` removes them too."""


def pause(drives: Drives, actor: Actor) -> int:
    """Pause drives: no copy is placed, moved or released. Returns the number of changed drives."""
    return _change(
        drives,
        actor,
        "drive.pause",
        "Paused",
        lambda rows: rows.filter(state=Drive.State.ACTIVE),
        {"state": Drive.State.PAUSED},
    )


def resume(drives: Drives, actor: Actor) -> int:
    """Resume paused drives and cancel unfinished removals. Returns how many drives changed."""
    return _change(
        drives,
        actor,
        "drive.resume",
        "Resumed",
        lambda rows: rows.exclude(state=Drive.State.ACTIVE),
        {
            "state": Drive.State.ACTIVE,
            "removing_since": None,
            "dirty": True,
            # cancelling a removal counts as adding by a person; ending a pause does not
            "added_manually": Case(When(state=Drive.State.REMOVING, then=True), default=F("added_manually")),
        },
    )


def set_replicas(drives: Drives, minimum: int, maximum: int, actor: Actor) -> int:
    """Change the numbers of copies. Returns how many drives changed. Raises ValidationError unless 1 ≤
    minimum ≤ maximum ≤ 1000."""
    if not 1 <= minimum <= maximum <= 1000:
        raise ValidationError("Copies: the maximum must not be below the minimum; both are 1 to 1000.")
    return _change(
        drives,
        actor,
        "drive.replicas",
        f"Wants {minimum} to {maximum} copies of"
        if minimum != maximum
        else f"Wants {count_of(minimum, 'copy')} of",
        lambda rows: rows.exclude(replicas_min=minimum, replicas_max=maximum),
        {"replicas_min": minimum, "replicas_max": maximum, "dirty": True},
        data={"replicas_min": minimum, "replicas_max": maximum},
    )


def follow_forks(drives: Drives, up_to: int | None, actor: Actor) -> int:
    """Let copies follow their writer up to this fork; None: any; 0: keep the current history.

    Workers are informed at once.
    """
    ids = list(ids_of(drives))
    with transaction.atomic():
        changed = _change(
            Drive.objects.filter(pk__in=ids),
            actor,
            "drive.forks",
            "Follows every fork of" if up_to is None else f"Follows no fork above {up_to} of",
            lambda rows: rows.exclude(max_fork=up_to),
            {"max_fork": up_to},
            data={"max_fork": up_to},
        )
        if changed:
            forks_decided(ids)
    return changed


def forks_decided(ids: Sequence[int]) -> None:
    """Apply a decision about forks: send it to workers and resolve open alerts."""
    Alert.objects.filter(kind=FORK_ALERT, drive_id__in=ids, resolved_at=None).update(
        resolved_at=timezone.now()
    )
    stored_health.changed(ids)
    holding = Replica.objects.filter(drive_id__in=ids, desired=True)
    workers = list(holding.order_by("worker_id").values_list("worker_id", flat=True).distinct())
    assignments_changed(workers)


def set_priority(drives: Drives, priority: int, actor: Actor) -> int:
    """Set the priority: 0 is first, 9 last. Raises ValidationError for others. Returns the number of changed
    drives."""
    if not 0 <= priority <= 9:
        raise ValidationError("A priority is 0 (first) to 9 (last).")
    return _change(
        drives,
        actor,
        "drive.priority",
        f"Set priority {priority} for",
        lambda rows: rows.exclude(priority=priority),
        {"priority": priority, "dirty": True},
        data={"priority": priority},
    )


def remove(drives: Drives, actor: Actor, *, force: bool = False) -> RemoveResult:
    """Release all copies; the row of a drive is deleted with its last copy (`finish_removals`).

    The last-copy guard: a drive of which the farm has the fullest copy known stays, unless its writer was
    seen lately (SEEDERFARM_WRITER_SEEN_WITHIN) or `force` is set. See `last_copies`.
    """
    now = timezone.now()
    guarded: list[Guarded] = []
    removing: list[int] = []
    with transaction.atomic():
        for ids in batches(ids_of(drives)):
            rows = Drive.objects.filter(pk__in=ids).exclude(state=Drive.State.REMOVING)
            kept = [] if force else last_copies(rows, now)
            guarded += kept
            free = set(rows.values_list("pk", flat=True)) - {item.drive.pk for item in kept}
            Drive.objects.filter(pk__in=free).update(
                state=Drive.State.REMOVING,
                removing_since=now,
                dirty=True,
                added_manually=False,
                updated_at=now,
            )
            removing += sorted(free)
        if removing:
            record(actor, "drive.remove", "Removed", removing, {"force": force})
            announce(removing)
    return RemoveResult(len(removing), guarded)


def last_copies(rows: models.QuerySet[Drive], now: datetime) -> list[Guarded]:
    """The drives whose fullest known copy is in the farm (complete, or incomplete where no peer has more) and
    whose writer was not seen lately."""
    held = rows.filter(_held_alone(now)).annotate(
        complete=Count("replicas", filter=Q(replicas__phase=Replica.Phase.COMPLETE)),
        maximum=Max("replicas__have_bytes"),
        total=Max("replicas__total_bytes"),
    )
    return [
        Guarded(
            drive,
            drive.complete,
            drive.last_writer_seen_at,
            min(1.0, drive.maximum / drive.total) if drive.total else None,
        )
        for drive in held
    ]


def _held_alone(now: datetime) -> Q:
    """Drives whose fullest known copy is in the farm.

    A copy that is downloading is not the fullest: its peers have more.
    """
    lately = now - timedelta(seconds=settings.FARM.writer_seen_within)
    silent = Q(last_writer_seen_at__isnull=True) | Q(last_writer_seen_at__lte=lately)
    going = [Replica.Phase.DOWNLOADING, Replica.Phase.REMOVING, Replica.Phase.REMOVED]
    full = Q(phase=Replica.Phase.COMPLETE) | (Q(have_blocks__gt=0) & ~Q(phase__in=going))
    return silent & Q(Exists(Replica.objects.filter(full, drive=OuterRef("pk"))))


def expire(now: datetime) -> int:
    """Remove expired drives, and record once which are kept because the farm has the fullest copy known.
    Returns how many are being removed."""
    with transaction.atomic():
        alone = _held_alone(now)
        over = list(expired(now).filter(~alone).select_for_update().order_by("key")[:EXPIRED_AT_ONCE])
        removing = remove(over, "farm").removing if over else 0
        for drive in over:
            record_event("drive.expired", f"{drive} expired", drive=drive)
        recorded = Event.objects.filter(
            drive=OuterRef("pk"), kind=EXPIRY_HELD, at__gte=OuterRef("expires_at")
        )
        news = expired(now).filter(alone, ~Exists(recorded)).order_by("key").values_list("pk", flat=True)
        for item in last_copies(Drive.objects.filter(pk__in=list(news[:EXPIRED_AT_ONCE])), now):
            text = f"{item.drive} expired and is kept: {item.why}. Remove it by force to delete it"
            record_event(EXPIRY_HELD, text, drive=item.drive, severity=Severity.WARNING)
    return removing


def finish_removals() -> int:
    """Delete drives that are being removed and have no copies left. Called by control beside its planning.

    Returns how many. Events of the drives stay, with their keys.
    """
    done = 0
    while True:
        with transaction.atomic():
            copies = Replica.objects.filter(drive=OuterRef("pk"))
            bare = Drive.objects.filter(~Exists(copies), state=Drive.State.REMOVING)
            ids = list(bare.order_by("pk").values_list("pk", flat=True)[:500])
            if not ids:
                return done
            Drive.objects.filter(pk__in=ids, state=Drive.State.REMOVING).delete()
            done += len(ids)


def mark_dirty(drives: Drives) -> None:
    """Queue planning of these drives, after changes made elsewhere, such as in a form."""
    ids = ids_of(drives)
    with transaction.atomic():
        for batch in batches(ids):
            Drive.objects.filter(pk__in=batch).update(dirty=True)
        if ids:
            announce(ids)


def ids_of(drives: Drives) -> list[int]:
    """Primary keys, ascending."""
    if isinstance(drives, models.QuerySet):
        return list(drives.order_by("pk").values_list("pk", flat=True))
    return sorted(drive.pk for drive in drives)


def _change(
    drives: Drives,
    actor: Actor,
    action: str,
    verb: str,
    choose: Callable[[models.QuerySet[Drive]], models.QuerySet[Drive]],
    values: dict[str, object],
    *,
    data: dict[str, object] | None = None,
) -> int:
    """Update the chosen drives; write one audit entry for all that changed, none when none did."""
    changed: list[int] = []
    with transaction.atomic():
        for ids in batches(ids_of(drives)):
            rows = choose(Drive.objects.filter(pk__in=ids))
            here = list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))
            Drive.objects.filter(pk__in=here).update(**values, updated_at=timezone.now())
            changed += here
        if changed:
            record(actor, action, verb, changed, data or {})
            announce(changed)
    return len(changed)


def record(actor: Actor, action: str, verb: str, ids: Sequence[int], data: dict[str, object]) -> None:
    """Write one audit entry about the drives `ids`, which begins with `verb`."""
    named = list(Drive.objects.filter(pk__in=ids[:NAMED]).order_by("pk"))
    names = ", ".join(str(drive) for drive in named[:3])
    more = f" and {len(ids) - 3:,} more" if len(ids) > 3 else ""
    record_audit(
        actor,
        action,
        f"{verb} {names}{more}",
        target=named[0].key if len(ids) == 1 and named else "",
        data={**data, "count": len(ids), "keys": [drive.key for drive in named]},
    )
