"""The list of drives: search, filters, order and page, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.core.paginator import Page
from django.db.models import F, IntegerField, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import QueryDict

from seederfarm.registry import queries
from seederfarm.registry.health_states import RANK, UNWELL, WORST_FIRST, Health
from seederfarm.registry.models import Drive, Replica
from seederfarm.registry.services.seen import Seen
from seederfarm.registry.stored_health import count_by_health, in_health

from .paging import Counted

SEARCHED: Final = 1000
"""Drives that a search shows at most. Ours."""
MAX_NEW: Final = 1000
"""New drives that are counted. Ours."""
MAX_QUERY: Final = 200
"""Characters of a search. Ours."""
ROWS: Final = (25, 50, 100)
NEVER: Final = "never"
"""Value of the filter `read`."""
SORTS: Final[dict[str, tuple[str, ...]]] = {
    "state": ("health_rank",),
    "title": ("label", "title"),
    "copies": ("counted",),
    "size": ("byte_length",),
    "version": ("length",),
    "proven": ("proven_at",),
    "served": ("served_bytes",),
    "added": ("created_at",),
}
"""Orders by name, each also reversed with a minus."""
INDEXED: Final = "served_bytes"
"""Column of SORTS in which every drive has a value. An index with the primary key has its order."""

SHOWN: Final = (
    "health", "label", "title", "counted", "unfinished", "replicas_min", "replicas_max", "have_bytes",
    "total_bytes", "byte_length", "length", "peers", "served_bytes", "proven_at",
)  # fmt: skip
"""Fields of a row."""


@dataclass(frozen=True, slots=True)
class DriveFilter:
    """The query of the address, without invalid values."""

    q: str = ""
    state: str = ""
    tag: str = ""
    kind: str = ""
    worker: str = ""
    source: str = ""
    new: bool = False
    """Only those that the user has not seen."""
    never_read: bool = False
    """Only those of which no peer ever got a block from a copy."""
    sort: str = "state"
    page: int = 1
    rows: int = ROWS[0]

    @classmethod
    def read(cls, query: QueryDict) -> DriveFilter:
        """The filters in a query string. Unknown values count as not given."""
        sort, state = query.get("sort", ""), query.get("state", "")
        rows = query.get("rows", "")
        return cls(
            q=query.get("q", "").strip()[:MAX_QUERY],
            state=state if state in Health.values else "",
            tag=query.get("tag", "")[:50],
            kind=query.get("kind", "") if query.get("kind", "") in Drive.Kind.values else "",
            worker=query.get("worker", "")[:100],
            source=query.get("source", "")[:100],
            new=query.get("new", "") == "1",
            never_read=query.get("read", "") == NEVER,
            sort=sort if sort.removeprefix("-") in SORTS else "state",
            page=_whole(query.get("page", "")) or 1,
            rows=int(rows) if rows in map(str, ROWS) else ROWS[0],
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the state filters."""
        joined = self.q or self.tag or self.kind or self.worker or self.source
        return bool(joined or self.new or self.never_read)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and the order that a click on it leads to."""

    word: str
    sort: str
    classes: str
    direction: str = ""
    """`ascending` or `descending` while the list is in its order."""
    next: str = ""


COLUMNS: Final = (
    Column("State", "state", ""),
    Column("Title", "title", "grow"),
    Column("Key", "", "x-tab"),
    Column("Copies", "copies", ""),
    Column("Downloaded", "", "w"),
    Column("Size", "size", "num"),
    Column("Version", "version", "num x-wide"),
    Column("Peers", "", "num"),
    Column("Served", "served", "num x-wide"),
    Column("Proven", "proven", "num"),
)


def _columns(sort: str) -> list[Column]:
    shown = []
    for column in COLUMNS:
        mine = column.sort != "" and sort.removeprefix("-") == column.sort
        down = sort.startswith("-")
        direction = ("descending" if down else "ascending") if mine else ""
        following = f"-{column.sort}" if mine and not down else column.sort
        shown.append(replace(column, direction=direction, next=following))
    return shown


@dataclass(frozen=True, slots=True)
class DriveList:
    """A page of the list of drives."""

    given: DriveFilter
    page: Page[Any]
    pages: list[Any]
    """Numbers of pages, and an ellipsis between."""
    by_health: dict[Health, int]
    total: int
    """Of all states."""
    columns: list[Column]
    new: int
    """Drives that the user has not seen, MAX_NEW at most."""

    @property
    def shown_states(self) -> list[tuple[Health, int]]:
        """The states that any drive is in, and safe, the worst first."""
        return [
            (each, self.by_health[each]) for each in WORST_FIRST if self.by_health[each] or each == "safe"
        ]


def _whole(text: str) -> int:
    """A number of at most nine digits; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def chosen(given: DriveFilter, seen: Seen) -> QuerySet[Drive]:
    """Return the drives that match the filter."""
    found = narrowed(given, seen)
    return in_health(found, given.state) if given.state else found


def narrowed(given: DriveFilter, seen: Seen | None = None) -> QuerySet[Drive]:
    """Return the drives that match the filter, in any state."""
    found = Drive.objects.all()
    if given.q:
        by_key = queries.drives_like(given.q, SEARCHED)
        tagged = Drive.objects.filter(tags__name__icontains=given.q).order_by().values_list("pk", flat=True)
        found = found.filter(pk__in={*by_key, *tagged[:SEARCHED]})
    if given.tag:
        found = found.filter(tags__name=given.tag)
    if given.kind:
        found = found.filter(kind=given.kind)
    if given.never_read:
        found = found.filter(served_bytes=0)
    if given.worker:
        here = Replica.objects.filter(worker__name=given.worker, desired=True).values("drive")
        found = found.filter(pk__in=here)
    if given.source:
        found = found.filter(source_entries__source__name=given.source).distinct()
    return seen.new(found) if given.new and seen is not None else found


def listed(given: DriveFilter, seen: Seen) -> DriveList:
    """Return a page of the list. Four queries, and two more for a search."""
    narrow = narrowed(given, seen)
    if given.tag or given.source:  # each drive once
        narrow = Drive.objects.filter(pk__in=narrow.values("pk"))
    by_health = count_by_health(narrow)
    total = sum(by_health.values())
    shown = in_health(narrow, given.state) if given.state else narrow
    count = by_health[Health(given.state)] if given.state else total
    pages = Counted(_in_order(shown, given.sort).values_list("pk", flat=True), given.rows, count)
    page = pages.get_page(given.page)
    ids = list(page.object_list)
    page.object_list = rows(ids)
    for drive in page.object_list:
        drive.is_new = seen.is_new(drive.pk)
    new = seen.new(Drive.objects.all()).order_by()[:MAX_NEW].count()
    numbers = list(pages.get_elided_page_range(page.number, on_each_side=1, on_ends=1))
    return DriveList(given, page, numbers, by_health, total, _columns(given.sort), new)


def rows(ids: Sequence[int]) -> list[Any]:
    """Return the rows of these drives, in the order of `ids`. One query."""
    found = {drive.pk: drive for drive in with_columns(Drive.objects.filter(pk__in=ids))}
    here = [found[pk] for pk in ids if pk in found]
    for drive in here:
        drive.unfinished = max(0, drive.copies - drive.counted)
        drive.share = _share(drive.have_bytes, drive.total_bytes)
    return here


def digest_of(row: Any) -> int:
    """A number that changes with what the row shows. Comparable within this process."""
    return hash(tuple(getattr(row, name) for name in SHOWN))


def _share(have: int | None, total: int | None) -> float | None:
    """The share in the fullest copy, 0 to 1. None: unknown."""
    return None if have is None or not total else min(1.0, have / total)


def with_columns(drives: QuerySet[Drive]) -> QuerySet[Any]:
    """Annotate drives with the values of a row that other tables have: copies, the fullest copy, peers."""
    here = Replica.objects.filter(drive=OuterRef("pk"), desired=True).order_by()
    best = here.order_by("-fork", "-have_blocks")
    found: QuerySet[Any] = queries.with_copies(drives).annotate(
        have_bytes=Subquery(best.values("have_bytes")[:1]),
        total_bytes=Subquery(best.values("total_bytes")[:1]),
        peers=Coalesce(
            Subquery(here.values("drive").annotate(n=Sum("peers")).values("n"), output_field=IntegerField()),
            0,
        ),
    )
    return found


def _in_order(drives: QuerySet[Drive], sort: str) -> QuerySet[Drive]:
    """Newest first within the same value; the least read, oldest first. Drives without a value come last."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if SORTS[name] == (INDEXED,):
        return drives.order_by(*((f"-{INDEXED}", "-pk") if down else (INDEXED, "pk")))
    return drives.order_by(
        *(
            F(column).desc(nulls_last=True) if down else F(column).asc(nulls_last=True)
            for column in SORTS[name]
        ),
        "-pk",
    )


def unwell(number: int) -> list[Drive]:
    """Drives that are unavailable, at risk or rewritten, the worst first."""
    bad = Drive.objects.filter(health_rank__lte=max(RANK[health] for health in UNWELL))
    return list(bad.order_by("health_rank", "-pk")[:number])


def oldest_proof() -> datetime | None:
    """Time of the oldest proof of the copies that count."""
    at: datetime | None = Drive.objects.aggregate(at=Min("proven_at"))["at"]
    return at
