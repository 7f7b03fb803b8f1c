"""The operations. Each reads the registry: nothing is kept between requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from ninja import Path, Query, Router, Schema
from pydantic import Field, TypeAdapter

from seederfarm.registry.models import Drive, Event, Replica, Worker
from seederfarm.registry.models.worker import silent_since
from seederfarm.registry.reach import Reachability, engines_of, reachability_of
from seederfarm.registry.services.watching import watch

from ...reads.peers import connected, peers_of
from ..access import READ
from ..drives import Key, drive_of
from ..paging import MAX_CURSOR, NEWEST, PageQuery, Text, in_order, wrong
from ..problems import ProblemError
from .shapes import (
    Disk,
    FileStats,
    HostStats,
    Info,
    NetworkStats,
    Peer,
    RawEvent,
    Record,
    Size,
    Status,
    SwarmStats,
    info_of,
    peer_of,
    raw_of,
    record_of,
    size_of,
    status_of,
    swarm_peers,
)

router: Final = Router(tags=["compat"])

MAX_DRIVES: Final = 1000
"""Drives of one answer; the header Link leads to more. There they all come at once. Ours."""
MAX_EVENTS: Final = 1000
"""Events of one answer: the newest. Ours."""
MAX_TIMESTAMP: Final = 253_370_764_800_000
"""Milliseconds: the year 9999."""
LOADS: Final = ("load", "load_5", "load_15")
"""Of one, five and fifteen minutes; where a worker does not know one, that of one minute stands for it."""
UNREACHED: Final = (Reachability.NOT_HEARD, Reachability.OFFLINE)
PUNCHABLE: Final = (Reachability.DIRECT, Reachability.PUNCHABLE)
RECORDS: Final = TypeAdapter(list[Record])
WHOLE: Final = timedelta(milliseconds=1)

Version = Annotated[int, Path(ge=0, le=2**53 - 1)]


class ListQuery(PageQuery):
    """Pages of a list, which is whole up to MAX_DRIVES."""

    limit: int = Field(MAX_DRIVES, ge=1, le=MAX_DRIVES, description="Drives of one answer.")
    cursor: Text | None = Field(None, max_length=MAX_CURSOR, description="As the header Link has it.")


class FileQuery(Schema):
    """The file that is requested."""

    path: Annotated[Text, Field(min_length=1, max_length=1000)] = Field(description="Of the file.")


class RawQuery(Schema):
    """The events that are requested."""

    timestamp: int | None = Field(None, ge=0, le=MAX_TIMESTAMP, description="Events at or after it.")


def _drives() -> QuerySet[Drive]:
    copies = Replica.objects.filter(desired=True).only("drive", "have_blocks", "have_bytes", "total_blocks")
    return Drive.objects.prefetch_related(Prefetch("replicas", copies, "wanted_copies"))


def _one(key: str) -> Any:
    """Raises ProblemError (404)."""
    return drive_of(key, _drives())


def _peers(drive: Drive, now: datetime) -> list[Peer]:
    """The peers that workers report, and have them reported for the next minute."""
    watch([drive.key], now)
    return [peer_of(each) for each in peers_of(drive, now).shown]


def _link(request: HttpRequest, response: HttpResponse, query: PageQuery, following: str | None) -> None:
    if following is not None:
        more = urlencode({"cursor": following, "limit": query.limit})
        response.headers["Link"] = f'<{request.path}?{more}>; rel="next"'


@router.get("/drives", response=list[Record], auth=READ, by_alias=True)
def compat_drives(request: HttpRequest, query: Query[ListQuery]) -> Any:
    """All drives, the newest first."""
    now = timezone.now()
    ids, following = NEWEST.page(Drive.objects.all(), query)
    records = [record_of(drive, drive.wanted_copies, now) for drive in in_order(ids, _drives())]
    # Written here: to validate a thousand records once more takes longer than to make them
    answer = HttpResponse(RECORDS.dump_json(records, by_alias=True), content_type="application/json")
    _link(request, answer, query, following)
    return answer


@router.get("/drives/keys", response=list[str], auth=READ)
def compat_keys(request: HttpRequest, response: HttpResponse, query: Query[ListQuery]) -> Any:
    """The keys of all drives, the newest first. There `drives/KEY` hides this address."""
    ids, following = NEWEST.page(Drive.objects.all(), query)
    _link(request, response, query, following)
    keys = dict(Drive.objects.filter(pk__in=ids).values_list("pk", "key"))
    return [keys[pk] for pk in ids if pk in keys]


@router.get("/drives/{key:key}", response=Record, auth=READ, by_alias=True)
def compat_drive(request: HttpRequest, key: Key) -> Any:
    """One drive."""
    drive, now = _one(key), timezone.now()
    return record_of(drive, drive.wanted_copies, now, _peers(drive, now))


@router.get("/drives/{key:key}/size", response=Size, auth=READ, by_alias=True)
def compat_size(request: HttpRequest, key: Key) -> Any:
    """Blocks and bytes, and those that the fullest copy has."""
    drive = _one(key)
    return size_of(drive, drive.wanted_copies)


@router.get("/drives/{key:key}/peers", response=list[Peer], auth=READ, by_alias=True)
def compat_peers(request: HttpRequest, key: Key) -> Any:
    """The 20 busiest peers, once workers have answered: the first request asks them, which takes a few
    seconds."""
    return _peers(drive_of(key), timezone.now())


@router.get("/drives/{key:key}/stats", response=dict[str, FileStats], auth=READ, by_alias=True)
def compat_stats(request: HttpRequest, key: Key) -> Any:
    """Empty: the farm keeps no list of files. They are at `files/KEY`."""
    drive_of(key)
    return {}


@router.get("/drives/{key:key}/info", response=Info, auth=READ, by_alias=True, exclude_none=True)
def compat_info(request: HttpRequest, key: Key) -> Any:
    """Version and title."""
    return info_of(drive_of(key))


@router.get("/drives/{key:key}/versions", response=list[str], auth=READ)
def compat_versions(request: HttpRequest, key: Key) -> Any:
    """The newest one, which alone is described."""
    drive = drive_of(key)
    return [] if drive.length is None else [str(drive.length)]


@router.get("/drives/{key:key}/seedingStatus", response=Status, auth=READ)
def compat_seeding_status(request: HttpRequest, key: Key) -> Any:
    """The status of a drive as it is now."""
    drive = _one(key)
    return status_of(drive, drive.wanted_copies)


def _of_version(key: str, version: int) -> Drive:
    """Raises ProblemError (404)."""
    drive: Drive = drive_of(key)
    if drive.length != version:
        raise ProblemError(404, "Only the newest version is described; files has the others.")
    return drive


@router.get("/drives/{key:key}/{version}/info", response=Info, auth=READ, by_alias=True, exclude_none=True)
def compat_version_info(request: HttpRequest, key: Key, version: Version) -> Any:
    """Version and title, of the newest version."""
    return info_of(_of_version(key, version))


@router.get("/drives/{key:key}/{version}/stats", response=dict[str, FileStats], auth=READ, by_alias=True)
def compat_version_stats(request: HttpRequest, key: Key, version: Version) -> Any:
    """Empty: the farm keeps no list of files. They are at `files/KEY/VERSION`."""
    _of_version(key, version)
    return {}


def _online() -> list[Worker]:
    rows = Worker.objects.filter(lost_since=None, last_seen_at__gte=silent_since(timezone.now()))
    return list(rows.exclude(state__in=[Worker.State.PENDING, Worker.State.RETIRED]))


@router.get("/stats/host", response=HostStats, auth=READ, by_alias=True)
def compat_host(request: HttpRequest) -> Any:
    """Processor, memory, load and disk of the workers that are online."""
    workers = _online()
    hosts = [worker.host for worker in workers if worker.host]

    def total(name: str) -> float:
        return float(sum(host.get(name) or 0 for host in hosts))

    number = len(hosts) or 1
    cores = total("cores") or 1
    loads = [[host.get(name) or host.get("load") or 0 for host in hosts] for name in LOADS]
    memory = total("memory_bytes") or 1
    return HostStats(
        cpu=round(total("cpu_percent") / number, 1),
        mem=round(100 * total("memory_used_bytes") / memory, 1),
        uptime=int(min((host.get("uptime") or 0 for host in hosts), default=0)),
        loadavg=[round(sum(each) / cores, 2) for each in loads],
        disk=Disk(
            directory=sum(worker.used_bytes or 0 for worker in workers),
            free=sum(worker.free_bytes or 0 for worker in workers),
        ),
    )


@router.get("/stats/network", response=NetworkStats, auth=READ, by_alias=True)
def compat_network(request: HttpRequest) -> Any:
    """Whether workers are online and peers reach them, and which peers of drives that are looked at."""
    workers = [worker.engine for worker in _online() if worker.engine]
    reached = [reachability_of(engine) for engine in workers]
    addresses = [each.get("address") for engine in workers for each in engines_of(engine)]
    return NetworkStats(
        online=any(found not in UNREACHED for found in reached),
        swarm=SwarmStats(
            holepunchable=any(found in PUNCHABLE for found in reached),
            bootstrapped=any(engine.get("running") for engine in workers),
            remote_address=next(filter(None, addresses), ""),
            current_peers=swarm_peers(connected(timezone.now())),
        ),
    )


@router.get("/raw/{key:key}", response=list[RawEvent], auth=READ, by_alias=True)
def compat_raw(request: HttpRequest, key: Key, query: Query[RawQuery]) -> Any:
    """The newest 1,000 events of a drive, the oldest of them first."""
    drive = drive_of(key)
    rows = Event.objects.filter(drive=drive)
    if query.timestamp is not None:
        rows = rows.filter(at__gte=datetime.fromtimestamp(0, UTC) + query.timestamp * WHOLE)
    events = list(rows.order_by("-at", "-pk")[:MAX_EVENTS])
    return [raw_of(event, drive.key) for event in reversed(events)]


def _file(key: str, path: str, version: int | None = None) -> HttpResponseRedirect:
    """To the gateway, which takes the same token. Raises ProblemError: 404, 422."""
    drive = drive_of(key)
    names = path.strip("/").split("/")
    if any(name in ("", ".", "..") for name in names):
        raise wrong("query.path", "expected the path of a file")
    address = reverse("dashboard:files", kwargs={"key": drive.key, "path": "/".join(names)})
    given = {"download": "1"} | ({} if version is None else {"version": str(version)})
    response = HttpResponseRedirect(f"{address}?{urlencode(given)}")
    response.status_code = 307
    return response


@router.get("/files/{key:key}", response={307: None}, auth=READ)
def compat_file(request: HttpRequest, key: Key, query: Query[FileQuery]) -> Any:
    """Redirects to the file."""
    return _file(key, query.path)


@router.get("/files/{key:key}/{version}", response={307: None}, auth=READ)
def compat_file_of_version(request: HttpRequest, key: Key, version: Version, query: Query[FileQuery]) -> Any:
    """Redirects to the file as it was in a version."""
    return _file(key, query.path, version)
