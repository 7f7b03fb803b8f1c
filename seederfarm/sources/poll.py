"""Reading the sources that are due, and taking what changed into the registry.

What a source lists is compared with its entries as a set. Whoever claims a source first reads it: a second
beat finds it claimed, and a reading that was overtaken by a later one changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from seederfarm.registry.models import Drive, Source, SourceEntry
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.drives import remove
from seederfarm.registry.services.keys import Listed, add_listed, batches
from seederfarm.registry.services.log import count_of, record_event

from . import fetch
from .parse import Entry, Parsed, SourceError, parse_json, parse_lines

LEASE: Final = 600.0
"""Seconds until a source whose reader died is read again; longer than two answers may take."""
MAX_BACKOFF: Final = 3600.0
"""Seconds between attempts at a source that keeps failing, unless its interval is longer."""

WRITTEN: Final = (
    *("failures", "last_error", "last_success_at", "next_at"),
    *("listed", "refused", "state"),
)
"""What a reading writes: never what an operator may be changing."""


class Reading(NamedTuple):
    """What a source said."""

    listed: dict[str, Entry]
    """Without what its removals endpoint lists."""
    removals: frozenset[str]
    refused: int = 0
    problems: tuple[str, ...] = ()
    etag: str = ""
    modified: str = ""
    unchanged: bool = False


def poll_due(now: datetime | None = None) -> int:
    """Read every source that is due. Returns how many this call read."""
    at = now or timezone.now()
    due = Source.objects.filter(Q(next_at__isnull=True) | Q(next_at__lte=at), enabled=True)
    return sum(poll(source, now) for source in list(due.order_by("next_at", "pk")))


def poll(source: Source, now: datetime | None = None) -> bool:
    """Read one. False when somebody else claimed it since it was loaded."""
    at = now or timezone.now()
    if not _claim(source, at):
        return False
    try:
        reading = _read(source)
    except SourceError as error:
        _failed(source, str(error), now or timezone.now())
    else:
        _take(source, reading, now or timezone.now())
    return True


def _claim(source: Source, at: datetime) -> bool:
    """Compare and set: `last_at` then says whose reading it is."""
    unclaimed = Source.objects.filter(pk=source.pk, enabled=True)
    for field, seen in (("next_at", source.next_at), ("last_at", source.last_at)):
        unclaimed = unclaimed.filter(**({f"{field}__isnull": True} if seen is None else {field: seen}))
    if unclaimed.update(next_at=at + timedelta(seconds=LEASE), last_at=at) != 1:
        return False
    source.last_at = at
    return True


def _read(source: Source) -> Reading:
    if source.kind == Source.Kind.BEE:
        raise SourceError("lists of this kind (Hyperbee) are not read yet")
    headers = {str(name): str(value) for name, value in dict(source.headers or {}).items()}
    etag, modified = _conditions(source)
    if source.kind == Source.Kind.FILE and not fetch.is_url(source.location):
        answer = fetch.read_file(source.location)
    else:
        answer = fetch.get(source.location, headers=headers, etag=etag, modified=modified)
    if answer.unchanged:
        return Reading({}, frozenset(), unchanged=True)
    if source.kind == Source.Kind.FILE:
        parsed = parse_lines(answer.body)
    else:
        parsed = parse_json(answer.body, source.mapping)
    _usable(parsed)
    removals = _removals(source, headers)
    listed = {key: entry for key, entry in parsed.entries.items() if key not in removals}
    return Reading(listed, removals, parsed.refused, tuple(parsed.problems), answer.etag, answer.modified)


def _usable(parsed: Parsed) -> None:
    first = f"; {parsed.problems[0]}" if parsed.problems else ""
    if not parsed.entries:
        raise SourceError(f"the list has no keys{first}")
    if parsed.refused > len(parsed.entries):
        raise SourceError(f"most of the list is no keys ({parsed.refused:,} entries){first}")


def _removals(source: Source, headers: dict[str, str]) -> frozenset[str]:
    """May be empty. Keys that nobody knows are no trouble."""
    if not source.removals_url:
        return frozenset()
    try:
        parsed = parse_json(fetch.get(source.removals_url, headers=headers).body, source.mapping)
    except SourceError as error:
        raise SourceError(f"removals: {error}") from None
    if parsed.refused:
        raise SourceError(f"removals: {parsed.refused:,} of its entries are no keys; {parsed.problems[0]}")
    return frozenset(parsed.entries)


def _conditions(source: Source) -> tuple[str, str]:
    """What to show the server: nothing when its "not changed" would hide something that is to be done."""
    state = source.state or {}
    if source.removals_url or not state.get("digest"):
        return "", ""
    if state.get("asked") != _asked(source) or state["digest"] != _digest(_entries(source)):
        return "", ""
    return str(state.get("etag", "")), str(state.get("modified", ""))


def _asked(source: Source) -> str:
    what = [source.kind, source.location, source.mapping, source.mirror, source.removals_url]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _digest(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def _entries(source: Source) -> dict[str, int]:
    """Keys that it listed → primary keys of their drives."""
    return dict(SourceEntry.objects.filter(source=source).values_list("drive__key", "drive_id"))


def _take(source: Source, reading: Reading, at: datetime) -> None:
    """All of it or nothing."""
    with transaction.atomic():
        row = _ours(source)
        if row is None:
            return
        if not reading.unchanged:
            _apply(row, reading, at)
        if row.failures:
            record_event("source.recovered", f"{row.name} can be read again", data={"source": row.pk})
        row.failures, row.last_error, row.last_success_at = 0, "", at
        row.next_at = at + timedelta(seconds=_every(row))
        row.save(update_fields=WRITTEN)


def _ours(source: Source) -> Source | None:
    """Locked; None when it is gone or was claimed again meanwhile."""
    rows = Source.objects.select_for_update().filter(pk=source.pk, last_at=source.last_at)
    return rows.first()


def _every(source: Source) -> float:
    return float(source.every or settings.FARM.source_every)


def _apply(source: Source, reading: Reading, at: datetime) -> None:
    known = _entries(source)
    new = [entry for key, entry in reading.listed.items() if key not in known]
    added = _add(source, new, at)
    gone = known.keys() - reading.listed.keys() if source.mirror else known.keys() & reading.removals
    removed, kept = _drop(source, {known[key] for key in gone})
    stays = [known[key] for key in known.keys() & reading.listed.keys()]
    for ids in batches(stays):
        SourceEntry.objects.filter(source=source, drive_id__in=ids).update(last_seen_at=at)
    before = (source.state or {}).get("kept", "")
    kept_digest = _digest(kept) if kept else ""
    if new or removed or kept_digest != before:
        said = [f"{added:,} added", f"{removed:,} removed"]
        if kept:
            said.append(f"{len(kept):,} kept: the farm has their only complete copies")
        record_event(
            "source.changed",
            f"{source.name}: {', '.join(said)}",
            severity=Severity.WARNING if kept else Severity.INFO,
            data={"source": source.pk, "listed": len(new), "added": added, "kept": kept[:100]},
        )
    if reading.refused and reading.refused != source.refused:
        record_event(
            "source.refused",
            f"{source.name}: {count_of(reading.refused, 'malformed line')}; {reading.problems[0]}",
            severity=Severity.WARNING,
            data={"source": source.pk, "problems": list(reading.problems)},
        )
    source.listed, source.refused = len(reading.listed), reading.refused
    source.state = {
        "etag": reading.etag,
        "modified": reading.modified,
        "asked": _asked(source),
        "digest": "" if kept else _digest(_entries(source)),
        "kept": kept_digest,
    }


def _add(source: Source, new: list[Entry], at: datetime) -> int:
    if not new:
        return 0
    # Nobody wanted these any more; the source brings them back as if they were new.
    unwanted: set[str] = set()
    for batch in batches(new):
        keys = [entry.key for entry in batch]
        rows = Drive.objects.filter(key__in=keys, state=Drive.State.REMOVING)
        unwanted.update(rows.values_list("key", flat=True))
    both = source.replicas_min is not None and source.replicas_max is not None
    result = add_listed(
        [Listed(entry.key, entry.kind or source.key_kind, number) for number, entry in enumerate(new, 1)],
        label=source.label,
        tags=list(source.tags.values_list("name", flat=True)),
        required_tags=source.required_tags,
        replicas=(source.replicas_min or 1, source.replicas_max or 1) if both else None,
        priority=source.priority,
        actor=f"source {source.name}",
    )
    entries = {entry.key: entry for entry in new}
    labelled = [drive for drive in result.added if entries[drive.key].label]
    for drive in labelled:
        drive.label = entries[drive.key].label
    Drive.objects.bulk_update(labelled, ["label"], batch_size=200)
    brought = {drive.key for drive in result.added} | unwanted
    rows_of = [
        SourceEntry(
            source=source,
            drive=drive,
            added_drive=drive.key in brought,
            data=entries[drive.key].data or {},
            first_seen_at=at,
            last_seen_at=at,
        )
        for drive in (*result.added, *result.existing)
    ]
    SourceEntry.objects.bulk_create(rows_of, batch_size=500)
    return len(brought)


def _drop(source: Source, drive_ids: set[int]) -> tuple[int, list[str]]:
    """Forget that it listed these, and remove those that nobody else wants.

    Those that the last-copy guard keeps stay entries, so that they are tried again. Returns how many drives
    are being removed, and the keys of those that were kept.
    """
    removed, kept = 0, []
    for ids in batches(sorted(drive_ids)):
        others = SourceEntry.objects.filter(drive_id__in=ids).exclude(source=source)
        heirs = dict(others.order_by("-pk").values_list("drive_id", "pk"))
        own = SourceEntry.objects.filter(source=source, drive_id__in=ids)
        brought = set(own.filter(added_drive=True).values_list("drive_id", flat=True))
        # Who lists it still has it from now on, and takes it along on leaving.
        SourceEntry.objects.filter(pk__in=[heirs[pk] for pk in brought & heirs.keys()]).update(
            added_drive=True
        )
        alone = Drive.objects.filter(pk__in=brought - heirs.keys())
        result = remove(alone, f"source {source.name}")
        removed += result.removing
        kept += [item.drive.key for item in result.guarded]
        own.exclude(drive_id__in=[item.drive.pk for item in result.guarded]).delete()
    return removed, sorted(kept)


def _failed(source: Source, text: str, at: datetime) -> None:
    with transaction.atomic():
        row = _ours(source)
        if row is None:
            return
        text = text[:500]
        if text != row.last_error:
            record_event(
                "source.failed",
                f"{row.name}: {text}",
                severity=Severity.WARNING,
                data={"source": row.pk, "location": row.location},
            )
        row.failures += 1
        row.last_error = text
        every = _every(row)
        wait = max(every, min(every * 2 ** min(row.failures - 1, 10), MAX_BACKOFF))
        row.next_at = at + timedelta(seconds=wait)
        row.save(update_fields=["failures", "last_error", "next_at"])
