"""The list of drives: search, filters, order and page, in a fixed number of queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import F, IntegerField, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import QueryDict

from seederfarm.registry import queries
from seederfarm.registry.health import UNWELL, Health, health_of_each, with_health
from seederfarm.registry.models import Drive, Replica

SEARCHED: Final = 1000
"""Drives that a search shows at most. Ours."""
MAX_QUERY: Final = 200
"""Characters of a search. Ours."""
ROWS: Final = (25, 50, 100)
WORST_FIRST: Final = (
    Health.UNAVAILABLE,
    Health.AT_RISK,
    Health.REWRITTEN,
    Health.COPYING,
    Health.WAITING,
    Health.PAUSED,
    Health.REMOVING,
    Health.SAFE,
)
SORTS: Final[dict[str, tuple[str, ...]]] = {
    "state": (),
    "title": ("label", "title"),
    "copies": ("counted",),
    "size": ("byte_length",),
    "blocks": ("length",),
    "proven": ("proven_at",),
    "added": ("created_at",),
}
"""Orders by name, each also reversed with a minus."""


SHOWN: Final = (
    "health", "label", "title", "counted", "unfinished", "replicas_min", "replicas_max", "have_bytes",
    "total_bytes", "byte_length", "length", "peers", "proven_at",
)  # fmt: skip
"""What a row is made of."""


@dataclass(frozen=True, slots=True)
class DriveFilter:
    """The query of the address, without invalid values."""

    q: str = ""
    state: str = ""
    tag: str = ""
    kind: str = ""
    worker: str = ""
    source: str = ""
    sort: str = "state"
    page: int = 1
    rows: int = ROWS[0]

    @classmethod
    def read(cls, query: QueryDict) -> DriveFilter:
        sort, state = query.get("sort", ""), query.get("state", "")
        rows = query.get("rows", "")
        return cls(
            q=query.get("q", "").strip()[:MAX_QUERY],
            state=state if state in Health.values else "",
            tag=query.get("tag", "")[:50],
            kind=query.get("kind", "") if query.get("kind", "") in Drive.Kind.values else "",
            worker=query.get("worker", "")[:100],
            source=query.get("source", "")[:100],
            sort=sort if sort.removeprefix("-") in SORTS else "state",
            page=_whole(query.get("page", "")) or 1,
            rows=int(rows) if rows in map(str, ROWS) else ROWS[0],
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.q or self.tag or self.kind or self.worker or self.source)


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
    Column("Blocks", "blocks", "num x-wide"),
    Column("Peers", "", "num"),
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
    given: DriveFilter
    page: Page[Any]
    pages: list[Any]
    """Numbers of pages, and an ellipsis between."""
    by_health: dict[Health, int]
    total: int
    """Of all states."""
    columns: list[Column]

    @property
    def shown_states(self) -> list[tuple[Health, int]]:
        """Those that any drive is in, and safe, the worst first."""
        return [
            (each, self.by_health[each]) for each in WORST_FIRST if self.by_health[each] or each == "safe"
        ]


def _whole(text: str) -> int:
    """A number of at most nine digits; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def narrowed(given: DriveFilter) -> QuerySet[Drive]:
    """By all but the state."""
    found = Drive.objects.all()
    if given.q:
        by_key = queries.drives_like(given.q, SEARCHED)
        tagged = Drive.objects.filter(tags__name__icontains=given.q).order_by().values_list("pk", flat=True)
        found = found.filter(pk__in={*by_key, *tagged[:SEARCHED]})
    if given.tag:
        found = found.filter(tags__name=given.tag)
    if given.kind:
        found = found.filter(kind=given.kind)
    if given.worker:
        here = Replica.objects.filter(worker__name=given.worker, desired=True).values("drive")
        found = found.filter(pk__in=here)
    if given.source:
        found = found.filter(source_entries__source__name=given.source).distinct()
    return found


def listed(given: DriveFilter, now: datetime) -> DriveList:
    """Four queries, and two more for a search."""
    narrow = narrowed(given)
    if given.is_narrowed:
        narrow = Drive.objects.filter(pk__in=narrow.values("pk"))
    each = health_of_each(narrow, now)
    number = Counter(health for _, health in each)
    by_health = {health: number[health] for health in Health}
    total = len(each)
    if given.state:
        each = [pair for pair in each if pair[1] == given.state]
    pages = Paginator(_ordered_keys(each, narrow, given.sort, now), given.rows)
    page = pages.get_page(given.page)
    ids = list(page.object_list)
    page.object_list = rows(ids, now)
    numbers = list(pages.get_elided_page_range(page.number, on_each_side=1, on_ends=1))
    return DriveList(given, page, numbers, by_health, total, _columns(given.sort))


def rows(ids: Sequence[int], now: datetime) -> list[Any]:
    """What the rows of these drives show, in the order of `ids`. One query."""
    found = {drive.pk: drive for drive in with_columns(Drive.objects.filter(pk__in=ids), now)}
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


def with_columns(drives: QuerySet[Drive], now: datetime) -> QuerySet[Any]:
    """Annotate with what a row shows: health, copies, the fullest copy, peers."""
    here = Replica.objects.filter(drive=OuterRef("pk"), desired=True).order_by()
    best = here.order_by("-fork", "-have_blocks")
    found: QuerySet[Any] = with_health(queries.with_copies(drives), now).annotate(
        have_bytes=Subquery(best.values("have_bytes")[:1]),
        total_bytes=Subquery(best.values("total_bytes")[:1]),
        peers=Coalesce(
            Subquery(here.values("drive").annotate(n=Sum("peers")).values("n"), output_field=IntegerField()),
            0,
        ),
    )
    return found


def _ordered_keys(
    each: Sequence[tuple[int, Health]], narrow: QuerySet[Drive], sort: str, now: datetime
) -> list[int]:
    """Primary keys in the order that is wanted: by state from what is known, else as the database has it."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name == "state":
        rank = {health: at for at, health in enumerate(WORST_FIRST)}
        worst = sorted(each, key=lambda pair: (rank[pair[1]] * (-1 if down else 1), -pair[0]))
        return [pk for pk, _ in worst]
    here = {pk for pk, _ in each}
    rows: QuerySet[Any] = with_health(narrow, now) if name in ("copies", "proven") else narrow
    columns = [
        F(column).desc(nulls_last=True) if down else F(column).asc(nulls_last=True) for column in SORTS[name]
    ]
    return [pk for pk in rows.order_by(*columns, "-pk").values_list("pk", flat=True) if pk in here]


def unwell(each: Sequence[tuple[int, Health]], number: int, now: datetime) -> list[Any]:
    """Drives that are unavailable, at risk or rewritten, the worst first."""
    rank = {health: at for at, health in enumerate(WORST_FIRST)}
    bad = sorted((rank[health], -pk) for pk, health in each if health in UNWELL)
    ids = [-negative for _, negative in bad[:number]]
    rows: QuerySet[Any] = with_health(Drive.objects.filter(pk__in=ids), now)
    found = {drive.pk: drive for drive in rows}
    return [found[pk] for pk in ids if pk in found]


def oldest_proof() -> datetime | None:
    """Of the copies that count by their own row."""
    found = Replica.objects.filter(desired=True, proven=True).aggregate(at=Min("last_proven_at"))
    at: datetime | None = found["at"]
    return at
