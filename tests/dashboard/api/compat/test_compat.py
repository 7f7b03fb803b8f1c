"""The ancestor's operations in its shapes, and its faults, which this farm does not have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dashboard.api.compat import operations
from seederfarm.registry import services, stored_health
from seederfarm.registry.models import CopyPeers, Drive, Event, Replica, Worker

from ....seederfarm.registry.factories import key_of, make_drive
from ...farm import a_copy, a_drive, a_worker, populate
from ..client import ApiClient
from ..conftest import token_for

pytestmark = pytest.mark.usefixtures("database")

BELOW = ("size", "peers", "stats", "info", "versions", "seedingStatus")
RECORD = {
    "key", "stats", "size", "peers", "info", "seedingStatus", "updatedAt", "createdAt", "recentlyAdded",
}  # fmt: skip


@pytest.fixture
def compat(reader: ApiClient) -> Any:
    return lambda path, **query: reader.get(f"compat/{path}", **query)


def test_a_drive_is_a_record_as_there(compat: Any) -> None:
    populate()
    drive = Drive.objects.get(label="Coastal Field Recordings")
    Drive.objects.filter(pk=drive.pk).update(title="Coast")
    found = compat(f"drives/{drive.key}")
    assert found.keys() == RECORD
    assert found["key"] == drive.key
    assert found["size"] == {"blocks": 10, "bytes": 1000, "downloadedBlocks": 10, "downloadedBytes": 1000}
    assert found["info"] == {"version": 10, "indexJSON": {"title": "Coast"}}
    assert found["seedingStatus"] == "SEEDING" and found["recentlyAdded"] is True
    assert abs(found["createdAt"] / 1000 - drive.created_at.timestamp()) < 0.01
    for field in BELOW[:4] + BELOW[5:]:
        assert compat(f"drives/{drive.z32}/{field}") == found[field], field
    assert compat(f"drives/{drive.z32}/versions") == ["10"]
    assert compat(f"drives/{drive.z32}/10/info") == found["info"]
    assert compat(f"drives/{drive.z32}/10/stats") == {}


def test_peers_are_those_that_workers_report_once_asked(compat: Any) -> None:
    drive = a_drive("tides")
    copy = a_copy(drive, a_worker("fra"))
    assert compat(f"drives/{drive.key}/peers") == []
    drive.refresh_from_db()
    assert drive.watched_until is not None and drive.watched_until > timezone.now()
    peer = {"id": "07" * 32, "way": "direct", "bytes_in": 3, "bytes_out": 5, "down": 0.0, "up": 0.0}
    CopyPeers.objects.create(replica=copy, at=timezone.now(), total=1, peers=[{**peer, "seconds": 1.0}])
    shown = {
        "remoteAddress": "07" * 32, "uploadedBytes": 5, "uploadedBlocks": None, "downloadedBytes": 3,
        "downloadedBlocks": None,
    }  # fmt: skip
    assert compat(f"drives/{drive.key}/peers") == [shown] == compat(f"drives/{drive.key}")["peers"]


def test_peers_of_the_network_are_the_connections_of_drives_that_are_looked_at(compat: Any) -> None:
    worker, now = a_worker("fra"), timezone.now()
    peer = {"id": "07" * 32, "way": "direct", "down": 0.0, "up": 0.0, "seconds": 1.0}
    few, many = {**peer, "bytes_in": 3, "bytes_out": 5}, {**peer, "bytes_in": 0, "bytes_out": 40}
    other = {**few, "id": "08" * 32, "way": "relayed"}
    for name, at, peers in (
        ("tides", now, [few, other]), ("coast", now, [many]), ("old", now - timedelta(minutes=1), [many])
    ):  # fmt: skip
        copy = a_copy(a_drive(name), worker)
        CopyPeers.objects.create(replica=copy, at=at, total=len(peers), peers=peers)
    assert compat("stats/network")["swarm"]["currentPeers"] == [
        {"remoteAddress": "07" * 32, "type": "direct", "bytesSent": 45, "bytesReceived": 3},
        {"remoteAddress": "08" * 32, "type": "relayed", "bytesSent": 5, "bytesReceived": 3},
    ]


def test_a_drive_that_was_not_seen_has_the_values_of_a_new_one(compat: Any) -> None:
    drive = make_drive("new")
    found = compat(f"drives/{drive.key}")
    nothing = {"blocks": 0, "bytes": 0, "downloadedBlocks": 0, "downloadedBytes": 0}
    assert (found["size"], found["stats"], found["peers"]) == (nothing, {}, [])
    assert found["info"] == {"version": None, "indexJSON": {}}
    assert compat(f"drives/{drive.key}/info") == {"indexJSON": {}}
    assert (found["seedingStatus"], compat(f"drives/{drive.key}/versions")) == ("WAITING", [])


def test_all_drives_are_listed_and_long_lists_lead_on(reader: ApiClient) -> None:
    populate()
    answer = reader("GET", "compat/drives")
    assert {item["key"] for item in answer.body} == set(Drive.objects.values_list("key", flat=True))
    assert "Link" not in answer.headers
    first = reader("GET", "compat/drives?limit=3")
    address = first.headers["Link"].removeprefix("<").partition(">")[0]
    second = reader("GET", address)
    assert [*first.body, *second.body] == answer.body


def test_keys_are_not_hidden_by_drives(compat: Any) -> None:
    populate()
    assert set(compat("drives/keys")) == set(Drive.objects.values_list("key", flat=True))


@pytest.mark.parametrize("below", ["", *(f"/{field}" for field in BELOW), "/10/info", "/10/stats"])
def test_what_is_not_there_is_404_and_not_501(reader: ApiClient, below: str) -> None:
    assert reader("GET", f"compat/drives/{key_of('no')}{below}").status == 404
    for path in (f"raw/{key_of('no')}", f"files/{key_of('no')}?path=a", "drives/x/size", "nothing"):
        assert reader("GET", f"compat/{path}").status == 404
    known = a_drive("a")
    assert reader("GET", f"compat/drives/{known.key}/9/info").status == 404, "not the newest version"


def test_a_status_is_what_the_copies_have_now(compat: Any) -> None:
    """There a counter made a drive SEEDING that was deleted and added again."""
    worker, drive = a_worker("fra"), a_drive("tides")

    def status() -> str:
        stored_health.refresh([drive.pk])
        found: str = compat(f"drives/{drive.key}/seedingStatus")
        return found

    assert status() == "WAITING"
    copy = a_copy(drive, worker, phase="downloading", have_blocks=4, have_bytes=400, last_proven_at=None)
    assert status() == "DOWNLOADING"
    Replica.objects.filter(pk=copy.pk).delete()
    a_copy(drive, worker)
    assert status() == "SEEDING"
    Worker.objects.update(lost_since=timezone.now())
    assert status() == "DOWNLOADING", "its worker is lost: no peer can read it"
    services.remove([drive], "cli", force=True)
    Drive.objects.all().delete()
    again = make_drive("tides")
    assert compat(f"drives/{again.key}/seedingStatus") == "WAITING"


def test_nothing_is_stale(compat: Any) -> None:
    """There the list was cached until a drive was added or removed."""
    drive = a_drive("tides")
    before = compat("drives")
    Drive.objects.filter(pk=drive.pk).update(byte_length=2000)
    assert compat("drives")[0]["size"]["bytes"] == 2000 != before[0]["size"]["bytes"]


def test_host_and_network_are_those_of_the_workers_that_are_online(compat: Any) -> None:
    assert compat("stats/network")["online"] is False
    assert compat("stats/host")["disk"] == {"directory": 0, "free": 0}
    populate()
    host = compat("stats/host")
    assert (host["cpu"], host["mem"], host["uptime"]) == (12.0, 12.5, 90_000)
    assert host["loadavg"] == [0.1] * 3, "for each core"
    assert host["disk"] == {"directory": 2 * 10**9, "free": 2 * 10**12}
    assert compat("stats/network")["swarm"]["holepunchable"] is False, "its NAT is not known"
    for nat, punchable in (("open", True), ("consistent", True), ("random", False)):
        one = {"index": 0, "running": True, "online": True, "nat": nat, "address": "192.0.2.7:49737"}
        for worker in Worker.objects.all():
            worker.engine = {**worker.engine, "running": True, "engines": [one]}
            worker.host = {**worker.host, "load": 4.0, "load_5": 2.0}
            worker.save()
        network = compat("stats/network")
        assert network["online"] and network["swarm"]["bootstrapped"]
        assert network["swarm"]["holepunchable"] is punchable
        assert network["swarm"]["remoteAddress"] == "192.0.2.7:49737"
    assert compat("stats/host")["loadavg"] == [1.0, 0.5, 1.0], "for each of 8 cores"


def test_events_are_the_raw_log_oldest_first_and_bounded(
    compat: Any, reader: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = make_drive("a")
    for text in "abc":
        services.record_event("drive.seen", text, drive=drive)
    found = compat(f"raw/{drive.key}")
    assert [event["text"] for event in found] == ["a", "b", "c"]
    assert {event["key"] for event in found} == {drive.key}
    assert compat(f"raw/{drive.key}", timestamp=found[0]["timestamp"]) == found
    later = int((timezone.now() + timedelta(hours=1)).timestamp() * 1000)
    assert compat(f"raw/{drive.key}", timestamp=later) == []
    at = timezone.now() - timedelta(hours=1)
    Event.objects.create(drive=drive, kind="engine.synced", text="came late", at=at)
    assert [event["text"] for event in compat(f"raw/{drive.key}")] == ["came late", "a", "b", "c"]
    monkeypatch.setattr(operations, "MAX_EVENTS", 2)
    assert [event["text"] for event in compat(f"raw/{drive.key}")] == ["b", "c"]
    for wrong in ("-1", "x", "9" * 30):
        assert reader("GET", f"compat/raw/{drive.key}?timestamp={wrong}").status == 422


@pytest.mark.parametrize(
    "path",
    ["a.txt", "/a.txt", "films/Käse ü.mp4", 'x"; filename="y', "a\r\nSet-Cookie: b", "a?b#c%2e", "<b>"],
)
def test_a_file_is_at_the_gateway_whatever_its_name(reader: ApiClient, path: str) -> None:
    from urllib.parse import urlencode

    drive = a_drive("a")
    for middle, query in (("", "?download=1"), ("/7", "?download=1&version=7")):
        answer = reader("GET", f"compat/files/{drive.key}{middle}?{urlencode({'path': path})}")
        assert answer.status == 307
        address = answer.headers["Location"]
        assert address.endswith(query) and "\n" not in address and '"' not in address
        whole = unquote(address.removesuffix(query))
        assert whole == f"/drives/{drive.z32}/files/{path.lstrip('/')}"


@pytest.mark.parametrize("path", ["", "/", "..", "../x", "a/../b", "a//b", "./a", "a%00", "x" * 1001])
def test_a_path_that_is_none_is_refused(reader: ApiClient, path: str) -> None:
    drive = a_drive("a")
    assert reader("GET", f"compat/files/{drive.key}?path={path}").status == 422
    assert reader("GET", f"compat/files/{drive.key}").status == 422
    assert reader("GET", f"compat/files/{drive.key}/-1?path=a").status == 422


def test_it_needs_a_token_with_the_scope(otto: User) -> None:
    drive = a_drive("a")
    other = ApiClient(token_for(otto, "drives"))
    for path in ("drives", f"drives/{drive.key}", "stats/host", f"files/{drive.key}?path=a", "drives/keys"):
        assert ApiClient()("GET", f"compat/{path}").status == 401
        assert other("GET", f"compat/{path}").status == 403
