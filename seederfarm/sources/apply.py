"""Writes what a reading changes into the registry, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from seederfarm.registry.models import Drive, Source, SourceEntry
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.keys import Listed, add_listed, wants_changed
from seederfarm.registry.services.log import count_of, has_room, record_event
from seederfarm.registry.services.sources import drop, release_held, show_held
from seederfarm.registry.sql import batches
from seederfarm.registry.urls import without_secrets

from .claims import Reading, config_digest, digest, interval_of, registered_digest, version_of
from .holding import WINDOW, Change, decide, window_of
from .list_formats import Entry, SourceError

MAX_BACKOFF: Final = 3600.0
"""Seconds between attempts at a source that keeps failing, unless its interval is longer."""

WRITTEN: Final = (
    *("failures", "last_error", "last_success_at", "next_at"),
    *("listed", "refused", "state", "held", "held_because"),
)
"""Columns that a reading writes: never those that an operator edits."""


class Outcome(NamedTuple):
    """The outcome of a reading."""

    name: str
    listed: int = 0
    added: int = 0
    removed: int = 0
    kept: int = 0
    """Keys that the list dropped and the last-copy guard keeps."""
    held: int = 0
    """Keys that the list dropped and whose removal waits for a person."""
    held_because: str = ""
    refused: int = 0
    skipped: int = 0
    """Lines that are valid and have no effect here."""
    changed: int = 0
    """Keys whose label or kind the list changed."""
    unchanged: bool = False
    error: str = ""
    problems: tuple[str, ...] = ()


class _Known(NamedTuple):
    """An entry in the registry."""

    entry_id: int
    drive_id: int
    kind: str
    label: str
    gone: str
    first_seen_at: datetime


def apply_reading(source: Source, reading: Reading | SourceError, at: datetime) -> Outcome | None:
    """Apply a reading, or record its error. None: the source is deleted, or a later reading was first."""
    with transaction.atomic():
        row = Source.objects.select_for_update().filter(pk=source.pk, last_at=source.last_at).first()
        if row is None:
            return None
        if isinstance(reading, Reading) and _is_older(row, reading):
            reading = SourceError(
                "only an older version of the list is available; the version read before stays in force"
            )
        if isinstance(reading, SourceError):
            return _failed(row, str(reading), at)
        if reading.unchanged:
            outcome = Outcome(
                row.name,
                listed=row.listed or 0,
                refused=row.refused,
                held=row.held,
                held_because=row.held_because,
                unchanged=True,
            )
        else:
            outcome = _apply(row, reading, at)
        if row.failures:
            _event(row, "source.recovered", f"{row.name} can be read again", data={"source": row.pk})
        row.failures, row.last_error, row.last_success_at = 0, "", at
        row.next_at = at + timedelta(seconds=interval_of(row))
        row.save(update_fields=WRITTEN)
    return outcome


def _event(source: Source, kind: str, text: str, *, severity: Severity = Severity.INFO, data: Any) -> None:
    """Record an event unless the source exceeds its budget; the log has all."""
    if has_room("event", f"source {source.pk}"):
        record_event(kind, text, severity=severity, data=data)


def _is_older(row: Source, reading: Reading) -> bool:
    """A peer may show an older version of a list to a follower without state."""
    known = version_of(row)
    return known is not None and reading.version is not None and reading.version < known


def _failed(row: Source, text: str, at: datetime) -> Outcome:
    text = text[:500]
    if text != row.last_error:
        _event(
            row,
            "source.failed",
            f"{row.name}: {text}",
            severity=Severity.WARNING,
            data={"source": row.pk, "location": without_secrets(row.location)},
        )
    row.failures += 1
    row.last_error = text
    wait = max(interval_of(row), min(interval_of(row) * 2 ** min(row.failures - 1, 10), MAX_BACKOFF))
    row.next_at = at + timedelta(seconds=wait)
    row.save(update_fields=["failures", "last_error", "next_at"])
    return Outcome(row.name, error=text)


def _apply(source: Source, reading: Reading, at: datetime) -> Outcome:
    rows = SourceEntry.objects.filter(source=source)
    found = rows.values_list("drive__key", "pk", "drive_id", "kind", "label", "gone", "first_seen_at")
    known = {row[0]: _Known(*row[1:]) for row in found}
    new = [entry for key, entry in reading.listed.items() if key not in known]
    gone = known.keys() - reading.listed.keys() if source.remove_unlisted else known.keys() & reading.removals
    tried = {key for key in gone if known[key].gone == SourceEntry.Gone.KEPT}
    change = Change(
        known=len(known) - len(tried),
        absent=gone - tried - reading.removals,
        removed=(gone - tried) & reading.removals,
        refused=reading.refused,
        established={key for key, entry in known.items() if entry.first_seen_at <= at - WINDOW} - tried,
    )
    held, why = decide(source, change, at)
    gone = gone - held
    for keys in batches(sorted({*gone, *(entry.key for entry in new)})):
        # In the order of all transactions that add keys, so that they cannot deadlock.
        list(Drive.objects.select_for_update().filter(key__in=keys).order_by("key").values_list("pk"))
    added = _add(source, new, at)
    removed, kept = drop(source, gone)
    _mark(known, gone=held, kept=set(kept))
    stays = known.keys() & reading.listed.keys()
    for ids in batches(sorted(known[key].entry_id for key in stays)):
        SourceEntry.objects.filter(pk__in=ids).update(last_seen_at=at)
    edited = [
        key for key in stays if _description(reading.listed[key]) != (known[key].kind, known[key].label)
    ]
    for keys in batches(sorted(edited)):
        _edit(source, [(known[key], reading.listed[key]) for key in keys])
    outcome = Outcome(
        source.name,
        listed=len(reading.listed),
        added=added,
        removed=removed,
        kept=len(kept),
        held=len(held),
        held_because=why,
        refused=reading.refused,
        skipped=reading.skipped,
        changed=len(edited),
        problems=reading.problems,
    )
    _record(source, outcome, kept, news=bool(new))
    _hold(source, outcome, at)
    source.listed, source.refused = outcome.listed, outcome.refused
    asked = config_digest(source)
    source.state = {
        "tried": asked,
        "asked": asked,
        "etag": reading.etag,
        "modified": reading.modified,
        "version": reading.version,
        "digest": "" if kept or held else registered_digest(source),
        "kept": digest(kept) if kept else "",
        "window": window_of(source, change, gone - tried, at),
    }
    return outcome


def _mark(known: Mapping[str, _Known], *, gone: AbstractSet[str], kept: AbstractSet[str]) -> None:
    """Record which entries the list no longer has and why they stay."""
    changes: dict[str, list[int]] = {"": [], SourceEntry.Gone.HELD: [], SourceEntry.Gone.KEPT: []}
    for key, entry in known.items():
        mark = SourceEntry.Gone.HELD if key in gone else SourceEntry.Gone.KEPT if key in kept else ""
        if entry.gone != mark:
            changes[mark].append(entry.entry_id)
    for mark, ids in changes.items():
        for batch in batches(sorted(ids)):
            SourceEntry.objects.filter(pk__in=batch).update(gone=mark)


def _hold(source: Source, outcome: Outcome, at: datetime) -> None:
    if outcome.held:
        show_held(source, outcome.held, outcome.held_because, at)
    elif source.held:
        release_held(source, at)


def _record(source: Source, outcome: Outcome, kept: Sequence[str], *, news: bool) -> None:
    before = (source.state or {}).get("kept", "")
    if news or outcome.removed or outcome.changed or (digest(kept) if kept else "") != before:
        parts = [f"{outcome.added:,} added", f"{outcome.removed:,} removed"]
        if outcome.changed:
            parts.append(f"{outcome.changed:,} described anew")
        if kept:
            parts.append(f"{len(kept):,} kept: the farm has their only complete copies")
        _event(
            source,
            "source.changed",
            f"{source.name}: {', '.join(parts)}",
            severity=Severity.WARNING if kept else Severity.INFO,
            data={"source": source.pk, "listed": outcome.listed, "added": outcome.added, "kept": kept[:100]},
        )
    if outcome.refused and outcome.refused != source.refused:
        _event(
            source,
            "source.refused",
            f"{source.name}: {count_of(outcome.refused, 'malformed entry')}; {outcome.problems[0]}",
            severity=Severity.WARNING,
            data={"source": source.pk, "problems": list(outcome.problems)},
        )


def _description(entry: Entry) -> tuple[str, str]:
    return entry.kind, entry.label


def _add(source: Source, new: list[Entry], at: datetime) -> int:
    """Register new keys. Returns how many drives are new."""
    if not new:
        return 0
    # The source brings back what is on its way out as if it were new.
    unwanted = 0
    for batch in batches(new):
        keys = [entry.key for entry in batch]
        unwanted += Drive.objects.filter(key__in=keys, state=Drive.State.REMOVING).count()
    both = source.replicas_min is not None and source.replicas_max is not None
    result = add_listed(
        [Listed(entry.key, entry.kind or source.key_kind, number) for number, entry in enumerate(new, 1)],
        label=source.label,
        tags=list(source.tags.values_list("name", flat=True)),
        required_tags=source.required_tags,
        replicas=(source.replicas_min or 1, source.replicas_max or 1) if both else None,
        priority=source.priority,
        added_manually=False,
        actor=f"source {source.name}",
    )
    entries = {entry.key: entry for entry in new}
    labelled = [drive for drive in result.added if entries[drive.key].label]
    for drive in labelled:
        drive.label = entries[drive.key].label
    Drive.objects.bulk_update(labelled, ["label"], batch_size=200)
    rows = [
        SourceEntry(
            source=source,
            drive=drive,
            kind=entries[drive.key].kind,
            label=entries[drive.key].label,
            data=entries[drive.key].data or {},
            first_seen_at=at,
            last_seen_at=at,
        )
        for drive in (*result.added, *result.existing)
    ]
    SourceEntry.objects.bulk_create(rows, batch_size=500)
    wants_changed(drive.pk for drive in result.existing)
    return len(result.added) + unwanted


def _edit(source: Source, changed: list[tuple[_Known, Entry]]) -> None:
    """Update entries whose label or kind the list changed. Changes made here by a person stay."""
    drives = Drive.objects.in_bulk([known.drive_id for known, _ in changed])
    entries = SourceEntry.objects.in_bulk([known.entry_id for known, _ in changed])
    touched = []
    for known, entry in changed:
        drive, row = drives[known.drive_id], entries[known.entry_id]
        if drive.label == (known.label or source.label):
            drive.label = entry.label or source.label
        if entry.kind and drive.kind == (known.kind or source.key_kind):
            drive.kind, drive.dirty = entry.kind, True
        drive.updated_at = timezone.now()
        row.kind, row.label, row.data = entry.kind, entry.label, entry.data or {}
        touched.append((drive, row))
    Drive.objects.bulk_update([drive for drive, _ in touched], ["label", "kind", "dirty", "updated_at"])
    SourceEntry.objects.bulk_update([row for _, row in touched], ["kind", "label", "data"])
