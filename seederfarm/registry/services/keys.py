"""Adding keys: pasted, from a seeds.txt, from a source, from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F

from hypercore.errors import KeyFormatError
from workers.engine.settings.key_list import Skipped, parse_line

from .. import signals, stored_health
from ..models import AssignmentState, BlindCore, Drive, PlanState, Tag
from ..models.fields import clean_tags
from ..sql import batches
from .log import Actor, count_of, record_audit, user_of

SIGNALLED: Final = 1000
"""Number of drives above which listeners get None instead of a list, and new drives are not marked: checking
all drives is cheaper than writing each again to remove its mark."""


class Listed(NamedTuple):
    """A parsed key and its line."""

    key: str
    """Hex."""
    kind: str
    """`core`, `bee`, `drive`, or empty: detected from the content."""
    line: int
    """From 1."""


class Malformed(NamedTuple):
    """A line that is not a key."""

    line: int
    text: str
    error: str


class SkippedLine(NamedTuple):
    """A line that is valid and has no effect here, such as `seeders KEY`."""

    line: int
    reason: str


class AddResult(NamedTuple):
    """The outcome for a list of keys. Every listed key is in one of the three, once."""

    added: list[Drive]
    existing: list[Drive]
    """Known before, and unchanged."""
    malformed: list[Malformed]
    repeated: int = 0
    """Lines that repeat the key of an earlier line."""
    skipped: Sequence[SkippedLine] = ()


def read_lines(texts: str | Iterable[str]) -> Iterator[Listed | Malformed | SkippedLine]:
    """Parse a pasted text, a seeds.txt, or a list of such lines. Comments and empty lines yield nothing."""
    lines = texts.removeprefix("\ufeff").splitlines() if isinstance(texts, str) else texts
    for number, line in enumerate(lines, start=1):
        try:
            wanted = parse_line(line)
        except KeyFormatError as error:
            yield Malformed(number, line.strip()[:200], str(error))
            continue
        if isinstance(wanted, Skipped):
            yield SkippedLine(number, wanted.reason)
        elif wanted is not None:
            yield Listed(wanted.key.hex(), wanted.kind.value if wanted.kind else "", number)


def add_keys(
    texts: str | Iterable[str],
    *,
    kind: str = "",
    label: str = "",
    tags: Sequence[str] = (),
    required_tags: Sequence[str] = (),
    replicas: tuple[int, int] | None = None,
    priority: int = 5,
    actor: Actor,
) -> AddResult:
    """Register every key in `texts`, in any spelling; malformed lines are returned and do not affect others.

    `kind` is for lines without one. `replicas` is (min, max); None: the farm's default. Raises
    ValidationError for invalid tags. A key that is being removed is kept after all; one that a source added
    now stays when the source drops it.
    """
    found = list(read_lines(texts))
    malformed = [item for item in found if isinstance(item, Malformed)]
    skipped = [item for item in found if isinstance(item, SkippedLine)]
    listed = [item if item.kind else item._replace(kind=kind) for item in found if isinstance(item, Listed)]
    result = add_listed(
        listed,
        label=label,
        tags=tags,
        required_tags=required_tags,
        replicas=replicas,
        priority=priority,
        actor=actor,
    )
    return result._replace(malformed=malformed, skipped=skipped)


def add_listed(
    listed: Iterable[Listed],
    *,
    label: str = "",
    tags: Sequence[str] = (),
    required_tags: Sequence[str] = (),
    replicas: tuple[int, int] | None = None,
    priority: int = 5,
    added_manually: bool = True,
    actor: Actor,
) -> AddResult:
    """Add parsed keys. Without `added_manually` they stay for as long as a source lists them; a key
    that a person added too stays after that."""
    minimum, maximum = replicas or settings.FARM.replicas
    required = clean_tags(list(required_tags))
    names = clean_tags(list(tags))
    wanted: dict[str, str] = {}
    count = 0
    for item in listed:
        count += 1
        wanted[item.key] = wanted.get(item.key) or item.kind
    template = {
        "label": label[:200],
        "replicas_min": minimum,
        "replicas_max": maximum,
        "required_tags": required,
        "priority": priority,
        "max_fork": 0 if settings.FARM.forks == "quarantine" else None,
        "owner": user_of(actor),
        "added_manually": added_manually,
        "dirty": len(wanted) <= SIGNALLED,
    }
    with transaction.atomic():
        added, existing = insert({key: Drive(key=key, kind=kind, **template) for key, kind in wanted.items()})
        if added_manually:
            mark_added_manually((*added, *existing))
        _tag(added, names)
        readded = cancel_removal(existing)
        if len(wanted) > SIGNALLED:
            PlanState.request_sweep()
        if added or readded:
            _record(actor, added, readded)
            announce([drive.pk for drive in (*added, *readded)])
    return AddResult(added, existing, [], count - len(wanted))


def announce(ids: Sequence[int]) -> None:
    """Store the health that follows from a change of these drives; after the commit, notify listeners which
    drives need planning."""
    stored_health.changed(ids)
    some = list(ids) if len(ids) <= SIGNALLED else None
    transaction.on_commit(partial(signals.drives_changed.send, sender=Drive, ids=some))


def insert(made: Mapping[str, Drive]) -> tuple[list[Drive], list[Drive]]:
    """Insert rows for keys that have none. Returns (added, existing); a concurrent insert of the same key is
    no error. Call it in a transaction."""
    found: dict[str, tuple[Drive, bool]] = {}
    # In the order of the keys, so that two transactions that add the same ones cannot deadlock.
    for keys in batches(sorted(made)):
        known = set(Drive.objects.filter(key__in=keys).values_list("key", flat=True))
        Drive.objects.bulk_create([made[key] for key in keys if key not in known], ignore_conflicts=True)
        # Locked: a source may be removing one of them now.
        locked = Drive.objects.select_for_update().filter(key__in=keys).order_by("key")
        found.update((drive.key, (drive, drive.key in known)) for drive in locked)
    added = [found[key][0] for key in made if not found[key][1]]
    existing = [found[key][0] for key in made if found[key][1]]
    return added, existing


def mark_added_manually(drives: Sequence[Drive]) -> None:
    """Mark drives as added by a person, also new ones: a source may have added them at the same time."""
    for batch in batches(drives):
        rows = Drive.objects.filter(pk__in=[drive.pk for drive in batch], added_manually=False)
        rows.update(added_manually=True)
    wants_changed(drive.pk for drive in drives if not drive.added_manually)
    for drive in drives:
        drive.added_manually = True


def wants_changed(drives: Iterable[int]) -> None:
    """A person or a source wants these drives, too: workers then seed what their blind peers alone kept."""
    ids = list(drives)
    workers = BlindCore.objects.filter(drive_id__in=ids).values_list("worker_id", flat=True)
    assignments_changed(sorted(set(workers)))


def assignments_changed(workers: Sequence[int]) -> None:
    """The entries of these workers' assignments changed, if not their keys. Call it in a transaction."""
    if workers:
        # If the message is lost, the next heartbeat finds the digest missing
        states = AssignmentState.objects.filter(worker_id__in=workers)
        states.update(version=F("version") + 1, digest="")
        transaction.on_commit(partial(signals.workers_changed.send, sender=Drive, ids=list(workers)))


def _tag(drives: Sequence[Drive], names: Sequence[str]) -> None:
    if not names or not drives:
        return
    Tag.objects.bulk_create([Tag(name=name) for name in names], ignore_conflicts=True)
    tags = list(Tag.objects.filter(name__in=names))
    through = Drive.tags.through
    for batch in batches(drives):
        through.objects.bulk_create(
            [through(drive_id=drive.pk, tag_id=tag.pk) for drive in batch for tag in tags],
            ignore_conflicts=True,
        )


def cancel_removal(existing: Sequence[Drive]) -> list[Drive]:
    """Cancel the removal of drives that are added again. Returns them."""
    readded = [drive for drive in existing if drive.state == Drive.State.REMOVING]
    for batch in batches(readded):
        Drive.objects.filter(pk__in=[drive.pk for drive in batch]).update(
            state=Drive.State.ACTIVE, removing_since=None, dirty=True
        )
    for drive in readded:
        drive.state, drive.removing_since, drive.dirty = Drive.State.ACTIVE, None, True
    return readded


def _record(actor: Actor, added: Sequence[Drive], readded: Sequence[Drive]) -> None:
    done = []
    if added:
        done.append(f"added {count_of(len(added), 'key')}")
    if readded:
        done.append(f"took back the removal of {count_of(len(readded), 'key')}")
    drives = [*added, *readded]
    record_audit(
        actor,
        "drive.add",
        " and ".join(done).capitalize(),
        target=drives[0].key if len(drives) == 1 else "",
        data={"keys": [drive.key for drive in drives[:1000]], "count": len(drives)},
    )
