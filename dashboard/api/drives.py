"""Operations on drives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from django.db.models import Case, F, Q, QuerySet, When
from django.http import HttpRequest
from django.utils import timezone
from ninja import Path, Query, Router
from pydantic import Field

from seederfarm.registry.blind_clients import clients_of
from seederfarm.registry.health_states import Health
from seederfarm.registry.models import Drive, Event, Replica
from seederfarm.registry.queries import whole_key
from seederfarm.registry.services.watching import watch
from seederfarm.registry.stored_health import in_health
from seederfarm.registry.uptime import days_of
from seederfarm.registry.verdict import verdict_of

from ..reads.drives import MAX_QUERY, DriveFilter, narrowed, with_columns
from ..reads.peers import peers_of
from .access import READ
from .lists import page_of_copies, page_of_events
from .paging import Order, PageOf, PageQuery, Text, in_order, whole
from .peer_shapes import PeersShape
from .problems import ProblemError
from .shapes import (
    ClientOfDriveShape,
    CopyShape,
    DayShape,
    DriveDetail,
    DriveShape,
    EventShape,
    Kind,
    Offline,
)

router: Final = Router(tags=["drives"])

Key = Annotated[str, Path(description="64 hex digits, 52 z-base-32 characters or a link.", max_length=200)]
Sort = Literal[
    "added", "-added", "name", "-name", "copies", "-copies", "bytes", "-bytes", "length", "-length", "proven",
    "-proven", "served", "-served",
]  # fmt: skip
COLUMNS: Final[dict[str, tuple[str, type]]] = {
    "added": ("pk", int),
    "name": ("name", str),
    "copies": ("counted", int),
    "bytes": ("byte_length", int),
    "length": ("length", int),
    "proven": ("proven_at", datetime),
    "served": ("served_bytes", int),
}
NEVER_EMPTY: Final = ("added", "served")
"""Sorts by columns that every drive has a value in: an index has their order."""


class DriveQuery(PageQuery):
    """Filters of the list of drives."""

    q: Text = Field("", max_length=MAX_QUERY, description="Part of a key, label, title or tag.")
    state: Health | None = None
    tag: Text = Field("", max_length=50)
    kind: Kind | None = None
    worker: Text = Field("", max_length=100, description="Id or name of a worker that has a copy.")
    source: Text = Field("", max_length=100, description="Name of a source that lists it.")
    never_read: bool = Field(False, description="Only those of which no peer ever got a block from a copy.")
    sort: Sort = Field("-added", description="A minus reverses.")


@router.get("/drives", response=PageOf[DriveShape], auth=READ)
def list_drives(request: HttpRequest, query: Query[DriveQuery]) -> Any:
    """List drives, filtered and sorted."""
    given = DriveFilter(
        q=query.q.strip(),
        tag=query.tag,
        kind=query.kind or "",
        source=query.source,
        never_read=query.never_read,
    )
    rows = narrowed(given)
    if query.worker:
        named = Q(worker__name=query.worker) | Q(worker__node_id=query.worker)
        rows = rows.filter(pk__in=Replica.objects.filter(named, desired=True).values("drive"))
    sort = query.sort.removeprefix("-")
    rows = _sortable(rows, sort, query.state)
    order = Order(
        query.sort, *COLUMNS[sort], down=query.sort.startswith("-"), nullable=sort not in NEVER_EMPTY
    )
    ids, following = order.page(rows, query)
    drives = in_order(ids, _complete())
    return PageOf[DriveShape](items=[DriveShape.of(drive) for drive in drives], next=following)


def _sortable(rows: QuerySet[Drive], sort: str, state: Health | None) -> QuerySet[Any]:
    found: QuerySet[Any] = rows if state is None else in_health(rows, state)
    if sort == "name":
        found = found.annotate(name=Case(When(label="", then=F("title")), default=F("label")))
    return found


def _complete() -> QuerySet[Any]:
    return with_columns(Drive.objects.prefetch_related("tags", "pinned_workers"))


def drive_of(key: str, rows: QuerySet[Any] | None = None) -> Any:
    """The drive of a key in any spelling. Raises ProblemError (404)."""
    found = whole_key(key)
    if found is None:
        raise ProblemError(404, "That is not a whole key: it has 52 characters, or 64 as hex digits.")
    drive = (Drive.objects.all() if rows is None else rows).filter(key=found).first()
    if drive is None:
        raise ProblemError(404, "No drive of this farm has this key.")
    return drive


def detail_of(key: str) -> DriveDetail:
    """Return a drive with what only its own address shows. Nine queries at most."""
    now = timezone.now()
    drive = drive_of(key, _complete())
    verdict = verdict_of(drive, now)
    names = list(drive.source_entries.order_by("source__name").values_list("source__name", flat=True))
    return DriveDetail(
        **{**DriveShape.values(drive), "state": verdict.health},
        offline=Offline.of(verdict, now),
        sources=names,
        clients=[ClientOfDriveShape(**client._asdict()) for client in clients_of(drive)],
        added_manually=drive.added_manually,
    )


@router.get("/drives/{key:key}", response=DriveDetail, auth=READ)
def get_drive(request: HttpRequest, key: Key) -> Any:
    """One drive, and whether its publisher may go offline."""
    return detail_of(key)


@router.get("/drives/{key:key}/copies", response=PageOf[CopyShape], auth=READ)
def list_copies(request: HttpRequest, key: Key, query: Query[PageQuery]) -> Any:
    """Its copies, one for each worker."""
    return page_of_copies(Replica.objects.filter(drive=drive_of(key)), query)


@router.get("/drives/{key:key}/peers", response=PeersShape, auth=READ)
def list_peers(request: HttpRequest, key: Key) -> Any:
    """Peers that are connected to its copies now. The first request asks the workers, which answer within
    seconds and for a minute."""
    drive, now = drive_of(key), timezone.now()
    watch([drive.key], now)
    drive.refresh_from_db(fields=["watched_until"])
    return PeersShape.of(peers_of(drive, now), drive.watched_until)


@router.get("/drives/{key:key}/events", response=PageOf[EventShape], auth=READ)
def list_drive_events(request: HttpRequest, key: Key, query: Query[PageQuery]) -> Any:
    """Its events, the newest first."""
    return page_of_events(Event.objects.filter(drive=drive_of(key)), query)


@router.get("/drives/{key:key}/days", response=PageOf[DayShape], auth=READ)
def list_drive_days(request: HttpRequest, key: Key) -> Any:
    """Its states on each of the last 90 days, today last."""
    return whole([DayShape(**day._asdict()) for day in days_of(drive_of(key), timezone.now())])
