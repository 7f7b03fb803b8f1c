"""Keys that a source no longer lists, removals that a person accepts, deletion of a source."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from ..models import Alert, Drive, Source, SourceEntry
from ..models.history import Severity
from ..sql import batches
from .alert_rules import switched_off
from .drives import remove
from .log import Actor, count_of, has_room, record_audit, record_event


class Accepted(NamedTuple):
    """The outcome of accepting held removals."""

    removed: int
    kept: int
    """Keys of which the farm has the only complete copies."""


def drop(source: Source, gone: Iterable[str]) -> tuple[int, list[str]]:
    """Delete the source's entries for these keys, and remove drives without another source or person.

    Entries whose drives the last-copy guard keeps stay, so that removal is tried again. Returns the number of
    drives being removed, and the keys of those kept. Call it in a transaction that holds the source's row.
    """
    removed, kept = 0, []
    for keys in batches(sorted(gone)):
        rows = list(Drive.objects.filter(key__in=keys).order_by("key"))
        ids = [drive.pk for drive in rows]
        others = SourceEntry.objects.filter(drive_id__in=ids).exclude(source=source)
        listed = set(others.values_list("drive_id", flat=True))
        alone = [drive for drive in rows if not drive.added_manually and drive.pk not in listed]
        result = remove(alone, f"source {source.name}", force=source.remove_last_copies)
        removed += result.removing
        kept += [item.drive.key for item in result.guarded]
        own = SourceEntry.objects.filter(source=source, drive_id__in=ids)
        own.exclude(drive_id__in=[item.drive.pk for item in result.guarded]).delete()
    return removed, sorted(kept)


def accept_removals(pk: int, actor: Actor) -> Accepted:
    """Remove the keys whose removal is held: those of the last reading, and no later ones."""
    now = timezone.now()
    with transaction.atomic():
        source = Source.objects.select_for_update().get(pk=pk)
        entries = SourceEntry.objects.filter(source=source, gone=SourceEntry.Gone.HELD)
        keys = sorted(entries.values_list("drive__key", flat=True))
        for batch in batches(keys):
            list(Drive.objects.select_for_update().filter(key__in=batch).order_by("key").values_list("pk"))
        removed, kept = drop(source, keys)
        entries.update(gone=SourceEntry.Gone.KEPT)
        source.state = {**(source.state or {}), "window": {}, "digest": ""}
        release_held(source, now)
        source.save(update_fields=["state", "held", "held_because"])
        if keys:
            text = f"Accepted {count_of(len(keys), 'removal')} of the source {source.name}"
            record_audit(actor, "source.accept", text, target=source.name, data={"keys": keys[:1000]})
    return Accepted(removed, len(kept))


def show_held(source: Source, count: int, why: str, now: datetime) -> None:
    """Set `held` of the source (not saved), and open or renew the alert."""
    text = f"{source.name}: {count_of(count, 'removal')} held for a person: {why}"
    if not source.held and has_room("event", f"source {source.pk}"):
        data = {"source": source.pk, "held": count}
        record_event("source.held", text, severity=Severity.WARNING, data=data)
    source.held, source.held_because = count, why[:200]
    alert = Alert.objects.filter(subject=_subject(source), resolved_at__isnull=True)
    if not alert.update(text=text[:500], last_seen_at=now, count=F("count") + 1) and not switched_off(
        ("source.held",)
    ):
        Alert.objects.create(
            kind="source.held",
            subject=_subject(source),
            text=text[:500],
            hint="If the list is as it should be: Accept removals on the page of the source, or "
            "`sources accept NAME`. Else mend the list; keys that come back need nothing else.",
            opened_at=now,
            last_seen_at=now,
        )


def release_held(source: Source, now: datetime) -> None:
    """Clear `held` of the source (not saved), and resolve the alert."""
    source.held, source.held_because = 0, ""
    Alert.objects.filter(subject=_subject(source), resolved_at__isnull=True).update(resolved_at=now)


def _subject(source: Source) -> str:
    return f"source.held:{source.pk}"


def keep_listed(instance: Any, **_: Any) -> None:
    """Mark, before a source is deleted, the keys that it alone listed as added by a person."""
    others = SourceEntry.objects.filter(drive=OuterRef("pk")).exclude(source=instance)
    listed = SourceEntry.objects.filter(source=instance).values("drive_id")
    Drive.objects.filter(~Exists(others), pk__in=listed, added_manually=False).exclude(
        state=Drive.State.REMOVING
    ).update(added_manually=True)
    release_held(instance, timezone.now())
