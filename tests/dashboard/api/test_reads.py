"""What operations answer, in a fixed number of queries, whatever the query."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.api.drives import COLUMNS
from dashboard.api.paging import MAX_PAGE
from hypercore.keys import encode_key
from seederfarm.registry import services
from seederfarm.registry.models import Alert, Drive, Event, Source, Worker
from seederfarm.registry.services.blind_cores import Kept, register

from ...seederfarm.registry.factories import key_of, make_drive, make_replica
from ..farm import a_copy, a_drive, a_worker, populate, text_of
from .client import ApiClient

BLIND_PEER = {"key": key_of("mirror"), "cores": 3, "bytes": 5, "clients": 1, "announced": 0}

pytestmark = pytest.mark.usefixtures("database")


def names(body: Any) -> list[str]:
    return [item["label"] for item in body["items"]]


def addresses() -> list[str]:
    drive, worker = Drive.objects.get(label="Coastal Field Recordings"), Worker.objects.get(name="fra")
    one = [f"drives/{drive.z32}", f"workers/{worker.node_id}"]
    below = [f"{address}/copies" for address in one]
    lists = [
        "farm",
        "drives",
        "workers",
        "mirrors",
        "mirrors/clients",
        "sources",
        "sources/lists",
        "alerts",
        "events",
        "audit",
    ]
    return [*lists, *one, *below, f"{one[0]}/events", f"{one[0]}/peers"]


def test_every_read_answers_as_the_document_says_on_an_empty_and_a_full_farm(reader: ApiClient) -> None:
    for address in ("farm", "drives", "workers", "sources", "alerts", "events", "audit"):
        assert reader("GET", address).status == 200
    populate()
    for address in addresses():
        assert reader("GET", address).status == 200, address


@pytest.mark.slow
def test_the_number_of_queries_does_not_grow(reader: ApiClient) -> None:
    populate()
    reader("GET", "farm")

    def counted() -> dict[str, int]:
        found = {}
        for address in addresses():
            with CaptureQueriesContext(
                connection,
            ) as seen:
                reader("GET", address)
            found[address] = len(seen)
        return found

    counted()  # the first request of peers marks the drive as watched
    before = counted()
    workers = list(Worker.objects.filter(state="active"))
    for number in range(15):
        drive = a_drive(f"more {number}")
        for worker in workers:
            a_copy(drive, worker)
        services.record_event("drive.seen", "seen", drive=drive, worker=workers[0])
        Alert.objects.create(kind="k", subject=f"s{number}", text="t", drive=drive)
        Source.objects.create(name=f"list {number}", location="https://lists.example/")
        a_worker(f"w{number}")
    one = Drive.objects.get(label="Coastal Field Recordings")
    for worker in Worker.objects.filter(name__startswith="w"):
        a_copy(one, worker)
        services.record_event("drive.seen", "seen", drive=one, worker=worker)
    after = counted()
    assert after == before
    assert max(after.values()) <= 17


@pytest.mark.parametrize("spelling", ["z32", "hex", "capital", "link", "web"])
def test_a_key_in_any_spelling_names_a_drive(reader: ApiClient, spelling: str) -> None:
    drive = make_drive("a")
    spelled = {
        "z32": drive.z32,
        "hex": drive.key,
        "capital": drive.key.upper(),
        "link": f"hyper://{drive.z32}",
        "web": f"pear://{drive.key}",
    }[spelling]
    assert reader.get(f"drives/{spelled}")["hex"] == drive.key


def test_a_drive_says_whether_its_publisher_may_go_offline(reader: ApiClient) -> None:
    populate()
    safe = Drive.objects.get(label="Coastal Field Recordings")
    found = reader.get(f"drives/{safe.key}")
    assert found["state"] == "safe"
    assert found["offline"]["safe"] is True
    assert found["offline"]["text"].startswith("Safe to go offline: 2 complete copies, proven ")
    assert found["sources"] == ["lists"] and found["tags"] == ["sound"]
    assert found["copies"] == {"min": 2, "max": 3, "assigned": 2, "complete": 2, "counted": 2}
    assert found["key"] == encode_key(bytes.fromhex(found["hex"]))
    assert found["added_at"].endswith("Z")
    gone = reader.get(f"drives/{key_of('Gone')}")
    assert (gone["state"], gone["offline"]["safe"]) == ("unavailable", False)


def test_a_drive_has_the_same_state_in_the_list_and_alone(reader: ApiClient) -> None:
    populate()
    items = reader.get("drives")["items"]
    assert {item["state"] for item in items} >= {"safe", "at_risk", "copying", "waiting", "unavailable"}
    for item in items:
        alone = reader.get(f"drives/{item['key']}")
        assert {name: alone[name] for name in item} == item


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "safe"}, ["Coastal Field Recordings"]),
        ({"tag": "sound"}, ["Coastal Field Recordings"]),
        ({"source": "lists"}, ["Coastal Field Recordings"]),
        ({"worker": "pi"}, ["Gone"]),
        ({"worker": "nobody"}, []),
        ({"q": "tide"}, ["Tide tables"]),
        ({"q": key_of("Radio")[:12]}, ["Radio"]),
        ({"q": "o", "state": "copying"}, ["Radio"]),
        ({"kind": "bee"}, []),
        ({"never_read": "true", "state": "waiting"}, ["Waiting"]),
    ],
)
def test_drives_are_filtered(reader: ApiClient, query: dict[str, str], found: list[str]) -> None:
    populate()
    assert names(reader.get("drives", **query)) == found


def test_blind_peers_are_listed_with_the_keys_for_apps(reader: ApiClient) -> None:
    a_worker("mirror", zone="attic", engine={"running": True, "blind_peer": BLIND_PEER})
    a_worker("other", engine={"running": True, "blind_peer": None})
    (found,) = reader("GET", "mirrors").body
    assert found == {
        "key": encode_key(bytes.fromhex(key_of("mirror"))),
        "worker": "mirror",
        "zone": "attic",
        "online": True,
        "cores": 3,
        "bytes": 5,
        "clients": 1,
    }


def test_clients_of_blind_peers_are_listed_and_own_what_they_have_kept(
    reader: ApiClient, viewer: Client
) -> None:
    worker, now = a_worker("mirror", engine={"running": True, "blind_peer": BLIND_PEER}), timezone.now()
    register(worker, [Kept(key_of(name), key_of("app"), active_at=now) for name in "ab"], now)
    register(worker, [Kept(key_of("c"), key_of("other app"))], now)
    make_replica(Drive.objects.get(key=key_of("a")), worker, have_bytes=70)
    app = encode_key(bytes.fromhex(key_of("app")))
    first, second = reader("GET", "mirrors/clients").body
    assert (first["key"], first["cores"], first["bytes"], first["refused_at"]) == (app, 2, 70, None)
    assert first["active_at"] is not None and (second["cores"], second["active_at"]) == (1, None)
    drive = reader.get(f"drives/{key_of('a')}")
    assert (drive["clients"], drive["sources"]) == ([{"key": app, "worker": "mirror"}], [])
    page = text_of(viewer.get(f"/drives/{key_of('a')}/", follow=True))
    assert "Owner client" in page and "From blind peer mirror" in page
    assert f"{app[:6]}…{app[-6:]}" in page
    assert "2 cores, 70 B" in text_of(viewer.get(f"/workers/{worker.node_id}/"))


def test_a_worker_is_found_by_its_id_too(reader: ApiClient) -> None:
    populate()
    worker = Worker.objects.get(name="fra")
    by_name, by_id = reader.get("workers/fra"), reader.get(f"workers/{worker.node_id}")
    assert by_name == by_id and by_id["status"] == "Online" and by_id["copies"] == 2
    assert names(reader.get("drives", worker=worker.node_id)) == names(reader.get("drives", worker="fra"))
    assert reader("GET", "workers/nobody").status == 404
    assert reader("GET", "workers/%00").status == 422


@pytest.mark.slow
@pytest.mark.parametrize("sort", [sign + name for name in COLUMNS for sign in ("", "-")])
def test_pages_by_cursor_show_every_drive_once_in_every_order(reader: ApiClient, sort: str) -> None:
    populate()
    for number in range(4):
        make_drive(f"same {number}", label="same", byte_length=7, length=3)
    whole = reader.get("drives", sort=sort)
    assert whole["next"] is None and len(whole["items"]) == 9
    shown, cursor = [], None
    for _ in range(20):
        query = {"sort": sort, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = reader.get("drives", **query)
        shown += page["items"]
        assert len(page["items"]) <= 2
        if (cursor := page["next"]) is None:
            break
    assert shown == whole["items"]


def test_a_drive_that_is_added_meanwhile_is_shown_on_no_later_page(reader: ApiClient) -> None:
    for number in range(5):
        make_drive(f"{number}")
    first = reader.get("drives", limit=2)
    make_drive("new")
    second = reader.get("drives", limit=2, cursor=first["next"])
    assert names(first) + names(second) == ["4", "3", "2", "1"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", f"limit={MAX_PAGE + 1}", "limit=x", "state=fine", "sort=secret", "kind=video", "q=%00",
        "cursor=", "cursor=%00", "cursor=ä", "cursor=e30", "cursor=WyItYWRkZWQiLDEsMV0x", "q=" + "x" * 201,
        "cursor=WyItYWRkZWQiLCJhIiwxXQ", "cursor=" + "W1tb" * 300, "tag=" + "t" * 51,
        # ["-added",1e400,1], ["-added",1,99999999999999999999], ["name",1,1]
        "cursor=WyItYWRkZWQiLDFlNDAwLDFd", "cursor=WyItYWRkZWQiLDEsOTk5OTk5OTk5OTk5OTk5OTk5OTld",
        "cursor=WyJuYW1lIiwxLDFd",
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_422(reader: ApiClient, query: str) -> None:
    make_drive("a")
    answer = reader("GET", f"drives?{query}")
    assert answer.status == 422
    assert answer.body["errors"][0]["field"].startswith("query.")


def test_history_is_filtered(reader: ApiClient) -> None:
    populate()
    assert [item["text"] for item in reader.get("alerts", state="open")["items"]] == ["pi is lost"]
    assert [item["text"] for item in reader.get("alerts", state="resolved")["items"]] == ["was silent"]
    assert reader.get("alerts", state="acknowledged")["items"] == []
    assert [item["kind"] for item in reader.get("events", kind="worker.lost")["items"]] == ["worker.lost"]
    key = Drive.objects.get(label="Coastal Field Recordings").z32
    assert [item["kind"] for item in reader.get("events", drive=key)["items"]] == ["drive.seen"]
    assert [item["kind"] for item in reader.get("events", worker="pi")["items"]] == ["worker.lost"]
    later = (timezone.now() + timedelta(minutes=1)).isoformat()
    assert reader.get("events", since=later)["items"] == []
    assert [item["actor"] for item in reader.get("audit", action="drive.add")["items"]] == ["cli"]
    for query in ("events?drive=abc", "events?since=yesterday", "events?since=2026-01-01T00:00:00"):
        assert reader("GET", query).status == 422, query
    assert reader("GET", "alerts?state=x").status == 422


def test_secrets_of_a_source_are_not_shown(reader: ApiClient) -> None:
    populate()
    Source.objects.update(headers={"Authorization": "Bearer topsecret"})
    found = reader.get("sources/lists")
    assert found["headers"] == ["Authorization"]
    assert "s3cret" not in str(found) and "topsecret" not in str(found)
    assert found["location"] == "https://***@lists.example/keys.json"
    assert (found["keys"], found["failures"], found["error"]) == (1, 2, "answered 503")


def test_texts_of_others_are_shown_without_hidden_characters(reader: ApiClient) -> None:
    make_drive("a", title="safe\u202etxt.exe\x1b[31m")
    response = reader.client.get("/api/v1/drives", headers=reader.headers)
    assert "\u202e" not in response.json()["items"][0]["title"]
    assert b"\\u001b" not in response.content.replace(b"\\\\u001b", b"")


def test_an_event_outlives_its_drive(reader: ApiClient) -> None:
    drive = make_drive("a")
    services.record_event("drive.seen", "seen", drive=drive)
    drive.delete()
    assert Event.objects.exists()
    assert reader.get("events")["items"][0]["drive"] is None


def test_a_farm_without_drives_is_not_called_safe(reader: ApiClient) -> None:
    found = reader.get("farm")
    assert (found["drives"], found["summary"].split(".")[0]) == (0, "No drive yet")


def test_the_farm_in_numbers(reader: ApiClient) -> None:
    populate()
    found = reader.get("farm")
    assert found["drives"] == sum(found["by_state"].values()) == 5
    assert (found["workers"], found["workers_online"], found["workers_pending"]) == (3, 2, 1)
    assert found["open_alerts"] == 1 and found["served_bytes"] == 9_000_000
    assert found["summary"].startswith("1 of 5 drives is unavailable.")
