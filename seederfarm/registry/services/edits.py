"""Editing drives and sources, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from ..models import Drive, Source, Tag, Worker
from ..models.fields import clean_tags
from ..urls import HIDDEN
from .drives import forks_decided, mark_dirty
from .log import Actor, record_audit, user_of

WORDS: Final = {
    "expires_at": "expiry",
    "pinned_workers": "pins",
    "public": "public page",
    "replicas_min": "copies at least",
    "replicas_max": "copies at most",
    "required_tags": "tags of workers",
    "max_fork": "forks to follow",
    "removals_url": "removals endpoint",
    "every": "interval",
    "shrink": "share that may go",
    "remove_unlisted": "removal of what is gone",
    "remove_last_copies": "removal of last copies",
    "key_kind": "kind of keys",
}
"""What the audit log calls fields whose names are no words."""
MAX_COPIES: Final = 1000
DRIVE_FIELDS: Final = frozenset(
    (
        "kind", "label", "note", "priority", "replicas_min", "replicas_max", "required_tags", "max_fork",
        "expires_at", "tags", "pinned_workers", "public",
    )
)  # fmt: skip
PLACEMENT: Final = frozenset(("replicas_min", "replicas_max", "priority", "required_tags", "pinned_workers"))
"""After a change of these a drive is planned again."""
SOURCE_FIELDS: Final = frozenset(
    (
        "kind", "location", "removals_url", "mapping", "headers", "every", "enabled", "shrink",
        "remove_unlisted", "remove_last_copies", "key_kind", "label", "tags", "required_tags", "priority",
        "replicas_min", "replicas_max",
    )
)  # fmt: skip
_READS: Final = ("location", "removals_url")
"""Fields of a source that answers show without what may be secret."""


def edit_drive(drive: Drive, values: Mapping[str, Any], actor: Actor) -> list[str]:
    """Set some of DRIVE_FIELDS: `tags` are words, `pinned_workers` workers. Returns the fields that changed.

    Raises ValidationError; nothing is changed then.
    """
    _check_names(values, DRIVE_FIELDS)
    with transaction.atomic():
        row = Drive.objects.select_for_update().get(pk=drive.pk)
        changed = _set(row, values)
        if row.replicas_max > MAX_COPIES:
            raise ValidationError({"replicas_max": f"At most {MAX_COPIES} copies."})
        _clean(row, changed)
        if changed:
            row.save(update_fields=[*changed, "updated_at"])
        changed += _set_tags(row, values)
        changed += _pin(row, values)
        if changed:
            text = f"Changed {_words(changed)} of {row}"
            record_audit(actor, "drive.change", text, target=row.key, data={"changed": changed})
        if PLACEMENT & set(changed):
            mark_dirty([row])
        if "max_fork" in changed:
            forks_decided([row.pk])
    return changed


def add_pins(drive: Drive, workers: Iterable[Worker], actor: Actor) -> bool:
    """Pin a drive to these workers, too. Returns False if it was pinned to all of them."""
    with transaction.atomic():
        Drive.objects.select_for_update().get(pk=drive.pk)  # its pins stay as they are until the end
        pinned = [*drive.pinned_workers.all(), *workers]
        return bool(edit_drive(drive, {"pinned_workers": pinned}, actor))


def add_source(name: str, values: Mapping[str, Any], actor: Actor) -> Source:
    """Add a source with some of SOURCE_FIELDS. Raises ValidationError, also for a name that is taken."""
    _check_names(values, SOURCE_FIELDS)
    with transaction.atomic():
        source = Source(name=name)
        _set(source, values)
        _check_reads(source, values, actor)
        source.full_clean()
        source.save()
        _set_tags(source, values)
        record_audit(actor, "source.add", f"Added source {source}", target=str(source.pk))
    return source


def edit_source(source: Source, values: Mapping[str, Any], actor: Actor) -> list[str]:
    """Set some of SOURCE_FIELDS. Returns the fields that changed. Raises ValidationError."""
    _check_names(values, SOURCE_FIELDS)
    with transaction.atomic():
        row = Source.objects.select_for_update().get(pk=source.pk)
        changed = _set(row, values)
        if {"kind", *_READS} & set(changed):
            _check_reads(row, {name: values[name] for name in changed}, actor)
        row.full_clean()
        if changed:
            row.save(update_fields=changed)
        changed += _set_tags(row, values)
        if changed:
            text = f"Changed {_words(changed)} of source {row}"
            record_audit(actor, "source.change", text, target=str(row.pk), data={"changed": changed})
    return changed


def remove_source(source: Source, actor: Actor) -> None:
    """Delete a source. Its drives stay: those that it alone listed count as added by a person."""
    with transaction.atomic():
        record_audit(actor, "source.delete", f"Deleted source {source}", target=str(source.pk))
        source.delete()


def read_soon(source: Source, actor: Actor) -> bool:
    """Request a reading of a source within seconds. Returns False if it is switched off."""
    with transaction.atomic():
        done = Source.objects.filter(pk=source.pk, enabled=True).update(next_at=None) == 1
        if done:
            record_audit(actor, "source.read", f"Has source {source} read now", target=str(source.pk))
    return done


def _words(fields: Iterable[str]) -> str:
    return ", ".join(WORDS.get(name, name) for name in fields)


def _check_names(values: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(values) - known):
        raise ValidationError(f"{', '.join(unknown)}: no such field, or not to be changed")


def _set(row: models.Model, values: Mapping[str, Any]) -> list[str]:
    """Set plain fields. Returns those that changed."""
    changed = []
    for name, value in values.items():
        if name in ("tags", "pinned_workers"):
            continue
        new = clean_tags(value) if name == "required_tags" else value
        if getattr(row, name) != new:
            setattr(row, name, new)
            changed.append(name)
    return changed


def _clean(row: Drive, changed: Iterable[str]) -> None:
    row.clean_fields(exclude={field.name for field in row._meta.fields} - set(changed))
    row.clean()


def _set_tags(row: Drive | Source, values: Mapping[str, Any]) -> list[str]:
    if "tags" not in values:
        return []
    names = clean_tags(values["tags"])
    if names == sorted(row.tags.values_list("name", flat=True)):
        return []
    Tag.objects.bulk_create([Tag(name=name) for name in names], ignore_conflicts=True)
    row.tags.set(Tag.objects.filter(name__in=names))
    if isinstance(row, Drive):
        Drive.objects.filter(pk=row.pk).update(updated_at=timezone.now())
    return ["tags"]


def _pin(row: Drive, values: Mapping[str, Any]) -> list[str]:
    if "pinned_workers" not in values:
        return []
    wanted: set[Worker] = set(values["pinned_workers"])
    if wanted == set(row.pinned_workers.all()):
        return []
    row.pinned_workers.set(wanted)
    return ["pinned_workers"]


def _check_reads(source: Source, values: Mapping[str, Any], actor: Actor) -> None:
    """Only the command line and superusers add sources that read a file of this machine."""
    for name in _READS:
        if HIDDEN in str(values.get(name, "")):
            text = f"{HIDDEN} stands for a secret that is not shown: write the secret itself."
            raise ValidationError({name: text})
    user = user_of(actor)
    if source.reads_file and not (actor == "cli" or (user is not None and user.is_superuser)):
        text = "Only superusers may add a source that reads a file; a seeds.txt may also be at a URL."
        raise ValidationError({"location": text})
