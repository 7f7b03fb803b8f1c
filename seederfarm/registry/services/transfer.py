"""Export and import of keys and sources with their settings, and of what is set about alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from ..exportfile import VERSION, Document, Item, Problem, Unreadable
from ..models import Drive, PlanState, Source, SourceEntry, Tag, Worker
from ..sql import batches
from ..urls import HIDDEN, without_secrets
from .keys import SIGNALLED, announce, cancel_removal, insert, mark_added_manually
from .log import Actor, count_of, record_audit
from .transfer_alerts import export_alerting, import_alerting

_SAME = (
    *(
        "kind",
        "location",
        "removals_url",
        "mapping",
        "every",
        "enabled",
        "remove_unlisted",
        "shrink",
        "remove_last_copies",
        "key_kind",
        "label",
    ),
    *("required_tags", "priority"),
)
"""Fields of a source that have the same name and form in the file."""
_URLS = ("location", "removals_url")


class ImportResult(NamedTuple):
    """The result of an import."""

    added: int
    known: int
    """Registered before, and unchanged."""
    sources_added: int
    sources_known: int
    problems: list[Problem]
    """Omitted parts, in the order of the lines."""
    alerting_added: int = 0
    """Channels, rules and silences."""


# --- out


def export(*, secrets: bool = False) -> Iterator[dict[str, Any]]:
    """The lines of a file. Headers of sources, and logins and tokens in their URLs, may be passwords: without
    `secrets`, only the names of headers, and URLs as `without_secrets` returns them."""
    at = timezone.now().isoformat()
    yield {"seederfarm": "export", "version": VERSION, "farm": settings.FARM.name, "at": at}
    for source in Source.objects.order_by("name").prefetch_related("tags"):
        yield _source_line(source, secrets)
    entries = SourceEntry.objects.select_related("source").order_by("source__name")
    drives = (
        Drive.objects.exclude(state=Drive.State.REMOVING)
        .order_by("pk")
        .select_related("owner")
        .prefetch_related("tags", "pinned_workers", Prefetch("source_entries", entries))
    )
    for drive in drives.iterator(chunk_size=500):
        yield _drive_line(drive)
    yield from export_alerting(secrets=secrets)


def _drive_line(drive: Drive) -> dict[str, Any]:
    return {
        "key": drive.key,
        "kind": drive.kind or None,
        "label": drive.label,
        "note": drive.note,
        "tags": sorted(tag.name for tag in drive.tags.all()),
        "required_tags": drive.required_tags,
        "replicas": [drive.replicas_min, drive.replicas_max],
        "priority": drive.priority,
        "max_fork": drive.max_fork,
        "state": drive.state,
        "added_manually": drive.added_manually,
        "public": drive.public,
        "owner": drive.owner.get_username() if drive.owner is not None else None,
        "pinned": sorted(worker.node_id for worker in drive.pinned_workers.all()),
        "expires_at": drive.expires_at.isoformat() if drive.expires_at is not None else None,
        "added_at": drive.created_at.isoformat(),
        "sources": {
            entry.source.name: {"kind": entry.kind, "label": entry.label}
            for entry in drive.source_entries.all()
        },
    }


def _source_line(source: Source, secrets: bool) -> dict[str, Any]:
    headers = dict(source.headers or {})
    copies = [source.replicas_min, source.replicas_max] if source.replicas_min is not None else None
    urls = {name: getattr(source, name) for name in _URLS}
    return {
        "source": source.name,
        **{name: getattr(source, name) for name in _SAME},
        **(urls if secrets else {name: without_secrets(url) for name, url in urls.items()}),
        "headers": headers if secrets else dict.fromkeys(headers),
        "tags": sorted(tag.name for tag in source.tags.all()),
        "replicas": copies,
    }


# --- in


def import_document(document: Document, actor: Actor) -> ImportResult:
    """Register what is new and leave what is known unchanged, in one transaction.

    Raises Unreadable for an invalid source.
    """
    problems = list(document.problems)
    with transaction.atomic():
        sources_added = _take_sources(document.sources, problems)
        added, known = _take_drives(document.drives, problems)
        alerting = import_alerting(document.alerting, actor, problems)
        if added or sources_added:
            parts = [count_of(added, "key"), count_of(sources_added, "source")]
            record_audit(actor, "import", f"Imported {' and '.join(parts)}", data={"keys": added})
    known_sources = len(document.sources) - sources_added
    return ImportResult(added, known, sources_added, known_sources, sorted(problems), alerting)


def _take_sources(items: Mapping[str, Item], problems: list[Problem]) -> int:
    """Returns how many are new."""
    here = {source.name: source for source in Source.objects.all()}
    wrong: list[Problem] = []
    added = 0
    for name, (line, values) in items.items():
        if name in here:
            known = here[name]
            here_now = {known.location, without_secrets(known.location)}
            if known.kind != values.get("kind") or values.get("location") not in here_now:
                problems.append(
                    Problem(line, f"a source {name!r} is here that reads something else: it stays")
                )
            continue
        source = _make_source(name, line, values, problems)
        try:
            source.full_clean(validate_unique=False)
        except ValidationError as error:
            wrong.append(Problem(line, " ".join(error.messages)))
            continue
        source.save()
        source.tags.set([Tag.objects.get_or_create(name=tag)[0] for tag in values.get("tags", ())])
        added += 1
    if wrong:
        raise Unreadable(wrong)
    return added


def _make_source(name: str, line: int, values: Mapping[str, Any], problems: list[Problem]) -> Source:
    minimum, maximum = values.get("replicas") or (None, None)
    given = values.get("headers", {})
    source = Source(
        name=name,
        **{field: values[field] for field in _SAME if field in values},
        headers={header: text for header, text in given.items() if text is not None},
        replicas_min=minimum,
        replicas_max=maximum,
    )
    secret = [header for header, text in given.items() if text is None]
    secret += [f"what is secret in the {field}" for field in _URLS if HIDDEN in values.get(field, "")]
    if secret:
        source.enabled = False
        text = f"{', '.join(secret)} of the source {name!r} was not exported: it is switched off"
        problems.append(Problem(line, text))
    return source


def _take_drives(items: Mapping[str, Item], problems: list[Problem]) -> tuple[int, int]:
    """Returns how many are new (or no longer being removed), and how many are known."""
    references = _References(items.values(), problems)
    many = len(items) > SIGNALLED
    if many:
        PlanState.request_sweep()
    changed: list[int] = []
    for keys in batches(sorted(items)):
        made = {key: references.drive(key, items[key].values, dirty=not many) for key in keys}
        added, existing = insert(made)
        mark_added_manually([drive for drive in (*added, *existing) if made[drive.key].added_manually])
        references.link([(drive, items[drive.key]) for drive in added])
        changed += [drive.pk for drive in (*added, *cancel_removal(existing))]
    if changed:
        announce(changed)
    return len(changed), len(items) - len(changed)


class _References:
    """Ids of the tags, workers, users and sources that keys of a file refer to, as far as they exist here."""

    def __init__(self, items: Iterable[Item], problems: list[Problem]) -> None:
        names = {values["owner"] for _, values in items if values.get("owner")}
        self._owners: dict[str, User] = {}
        for batch in batches(sorted(names)):
            users = User.objects.filter(username__in=batch)
            self._owners.update((user.get_username(), user) for user in users)
        self._workers = dict(Worker.objects.values_list("node_id", "pk"))
        self._sources = dict(Source.objects.values_list("name", "pk"))
        self._tags: dict[str, int] = {}
        self._problems = problems
        self._now = timezone.now()

    def drive(self, key: str, values: Mapping[str, Any], *, dirty: bool) -> Drive:
        minimum, maximum = values.get("replicas") or settings.FARM.replicas
        same = ("kind", "label", "note", "required_tags", "priority", "max_fork", "expires_at", "public")
        listed = any(name in self._sources for name in values.get("sources", ()))
        return Drive(
            key=key,
            **{field: values[field] for field in same if field in values},
            state=values.get("state") or Drive.State.ACTIVE,
            added_manually=values.get("added_manually", True) or not listed,
            owner=self._owners.get(values.get("owner") or ""),
            replicas_min=minimum,
            replicas_max=maximum,
            dirty=dirty,
            created_at=values.get("added_at", self._now),
        )

    def link(self, drives: Sequence[tuple[Drive, Item]]) -> None:
        """Set tags, pins and sources of drives that were just added."""
        tags, pins, entries = [], [], []
        for drive, (line, values) in drives:
            if values.get("owner") and values["owner"] not in self._owners:
                self._left_out(line, f"there is no user {values['owner']!r}: without an owner")
            for name in values.get("tags", ()):
                tags.append(Drive.tags.through(drive_id=drive.pk, tag_id=self.tag(name)))
            for node_id in set(values.get("pinned", ())):
                if node_id in self._workers:
                    pins.append(
                        Drive.pinned_workers.through(drive_id=drive.pk, worker_id=self._workers[node_id])
                    )
                else:
                    self._left_out(line, f"no worker here is {node_id}: not pinned to it")
            for name, listed in values.get("sources", {}).items():
                if name in self._sources:
                    entries.append(self._entry(drive, self._sources[name], listed))
                else:
                    self._left_out(line, f"no source here is called {name!r}")
        Drive.tags.through.objects.bulk_create(tags, ignore_conflicts=True)
        Drive.pinned_workers.through.objects.bulk_create(pins, ignore_conflicts=True)
        SourceEntry.objects.bulk_create(entries, ignore_conflicts=True)

    def _entry(self, drive: Drive, source_id: int, listed: Mapping[str, str]) -> SourceEntry:
        return SourceEntry(
            source_id=source_id,
            drive=drive,
            kind=listed["kind"],
            label=listed["label"],
            first_seen_at=self._now,
            last_seen_at=self._now,
        )

    def tag(self, name: str) -> int:
        if name not in self._tags:
            self._tags[name] = Tag.objects.get_or_create(name=name)[0].pk
        return self._tags[name]

    def _left_out(self, line: int, text: str) -> None:
        self._problems.append(Problem(line, text))
