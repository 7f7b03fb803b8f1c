"""Actions on many drives at once, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..models import Drive, Tag
from ..models.fields import clean_tags
from ..sql import batches
from . import drives, proofs
from .log import Actor, count_of, record_audit

MAX_DRIVES: Final = 10_000
"""Drives of one action. Ours: a minute of planning at most."""
TOO_MANY: Final = f"At most {MAX_DRIVES:,} drives at once: narrow the filter."


class Act(StrEnum):
    """An action on many drives."""

    PROVE = "prove"
    COPIES = "copies"
    TAG = "tag"
    PAUSE = "pause"
    RESUME = "resume"
    REMOVE = "remove"


class Values(NamedTuple):
    """The values that some actions need."""

    copies: tuple[int, int] = (0, 0)
    """At least, at most."""
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()
    force: bool = False
    """Also remove drives of which the farm has the fullest copy known."""


def choose(rows: QuerySet[Drive]) -> list[int]:
    """Return their primary keys, in order. Raises ValidationError for none and for more than MAX_DRIVES."""
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[: MAX_DRIVES + 1])
    if not ids:
        raise ValidationError("Select drives first.")
    if len(ids) > MAX_DRIVES:
        raise ValidationError(TOO_MANY)
    return ids


def act(name: Act, ids: Sequence[int], values: Values, actor: Actor) -> str:
    """Do it in one transaction. Returns a sentence with what was done. Raises ValidationError."""
    if len(ids) > MAX_DRIVES:
        raise ValidationError(TOO_MANY)
    found = Drive.objects.filter(pk__in=ids)
    match name:
        case Act.PROVE:
            return proofs.reverify(found, actor).sentence
        case Act.COPIES:
            done = drives.set_replicas(found, *values.copies, actor)
            return f"Changed the copies of {count_of(done, 'drive')}."
        case Act.TAG:
            done = tag(ids, values.add_tags, values.remove_tags, actor)
            return f"Changed the tags of {count_of(done, 'drive')}."
        case Act.PAUSE:
            return f"Paused {count_of(drives.pause(found, actor), 'drive')}."
        case Act.RESUME:
            return f"Resumed {count_of(drives.resume(found, actor), 'drive')}."
        case Act.REMOVE:
            result = drives.remove(found, actor, force=values.force)
            kept = len(result.guarded)
            rest = f" {count_of(kept, 'drive')} kept: the farm has the fullest copy known." if kept else ""
            return f"{count_of(result.removing, 'drive')} will be removed.{rest}"


def tag(ids: Sequence[int], add: Sequence[str], remove: Sequence[str], actor: Actor) -> int:
    """Add tags and remove others. Returns how many drives changed. Raises ValidationError for what is no
    tag."""
    add, remove = clean_tags(list(add)), clean_tags(list(remove))
    if not add and not remove:
        raise ValidationError("Write a tag to add or to remove.")
    if both := sorted(set(add) & set(remove)):
        raise ValidationError(f"{both[0]} is both to be added and to be removed.")
    of_drives = Drive.tags.through
    changed: set[int] = set()
    with transaction.atomic():
        Tag.objects.bulk_create([Tag(name=name) for name in add], ignore_conflicts=True)
        for batch in batches(sorted(ids)):
            list(Drive.objects.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk"))
            for one in Tag.objects.filter(name__in=add):
                has = set(of_drives.objects.filter(tag=one, drive__in=batch).values_list("drive", flat=True))
                new = [pk for pk in batch if pk not in has]
                of_drives.objects.bulk_create(
                    [of_drives(tag=one, drive_id=pk) for pk in new], ignore_conflicts=True
                )
                changed.update(new)
            gone = of_drives.objects.filter(tag__name__in=remove, drive__in=batch)
            changed.update(gone.values_list("drive", flat=True))
            gone.delete()
            Drive.objects.filter(pk__in=changed.intersection(batch)).update(updated_at=timezone.now())
        if changed:
            words = [f"added {', '.join(add)}"] if add else []
            words += [f"removed {', '.join(remove)}"] if remove else []
            text = f"Changed tags of {count_of(len(changed), 'drive')}: {'; '.join(words)}"
            data = {"count": len(changed), "add": add, "remove": remove}
            record_audit(actor, "drive.tag", text[:500], data=data)
    return len(changed)
