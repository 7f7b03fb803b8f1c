"""The page of a worker with many copies."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.reads import workers as reading
from hypercore.keys import encode_key
from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.drift import ours
from seederfarm.registry.models import Alert, Worker
from seederfarm.registry.queries import with_load

from ..seederfarm.registry.factories import make_drive, make_replica, make_worker
from ..support.databases import FarmDatabase
from .farm import ENGINE, a_worker, text_of


def test_what_a_drain_has_to_move_is_counted_once_in_a_while(viewer: Client) -> None:
    worker = make_worker("atlas")
    make_replica(make_drive(), worker)

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            answer = viewer.get(f"/workers/{worker.node_id}/")
        assert answer.status_code == 200 and "Needed here" in answer.content.decode()
        return [query["sql"] for query in queries]

    first, again = statements(), statements()
    assert sum("AS best" in sql for sql in first) == 1
    assert not any("AS best" in sql for sql in again)


def test_a_worker_without_a_report_of_engines_has_dashes(viewer: Client) -> None:
    worker = a_worker("atlas", engine={})
    for page in ("/", "/workers/", f"/workers/{worker.node_id}/"):
        assert viewer.get(page).status_code == 200


def test_a_blind_peer_shows_its_key_for_apps(viewer: Client) -> None:
    key = bytes([7]) * 32
    numbers = {"key": key.hex(), "cores": 3, "bytes": 5_000_000, "clients": 1, "announced": 0}
    worker = a_worker("atlas", engine={**ENGINE, "blind_peer": numbers})
    page = viewer.get(f"/workers/{worker.node_id}/").content.decode()
    assert encode_key(key) in page and "3, of 1 app<" in page and "<dt>Stored</dt><dd>5.0" in page
    other = a_worker("other")
    assert "Blind peer" not in viewer.get(f"/workers/{other.node_id}/").content.decode()


def test_a_worker_that_was_not_updated_with_the_farm_is_named(viewer: Client) -> None:
    old = a_worker("atlas", engine=ENGINE, software="seederfarm 0.0.1")
    current = a_worker("borea", engine=ENGINE, software=ours())
    listed = text_of(viewer.get("/workers/"))
    assert f"atlas runs another version than the farm, {ours()}" in listed
    assert listed.count("another version") == 2, "in the sentence, and in the row of one"
    page = text_of(viewer.get(f"/workers/{old.node_id}/"))
    assert f"seederfarm 0.0.1 , not that of the farm: {ours()}" in page
    assert "not that of the farm" not in text_of(viewer.get(f"/workers/{current.node_id}/"))
    Worker.objects.filter(pk=old.pk).update(software="")
    assert "another version" not in text_of(viewer.get("/workers/")), "it has not reported any"


def test_open_alerts_of_a_worker_are_at_the_top_of_its_page(viewer: Client) -> None:
    worker, other = a_worker("atlas"), a_worker("borea")
    kind = "worker.two_machines"
    for subject, values in (("a", {}), ("b", {"resolved_at": timezone.now()})):
        Alert.objects.create(
            kind=kind, subject=subject, text=f"Two machines: {subject}", worker=worker, **values
        )
    top = text_of(viewer.get(f"/workers/{worker.node_id}/")).partition("Room and forecast")[0]
    assert "Two machines: a" in top and RULES[kind].hint in top and "Two machines: b" not in top
    assert "Two machines" not in text_of(viewer.get(f"/workers/{other.node_id}/"))


def test_copies_that_are_not_proven_come_first_and_then_those_that_grew(database: FarmDatabase) -> None:
    worker, now = make_worker("atlas"), timezone.now()
    proven = [
        make_replica(make_drive(), worker, completed_at=now, last_proven_at=now)
        for _ in range(reading.COPIES)
    ]
    old, new = (
        make_replica(make_drive(), worker, phase="downloading", grew_at=now - timedelta(hours=hours))
        for hours in (5, 1)
    )
    page = reading.one(with_load(Worker.objects.all()).get(pk=worker.pk), now)
    shown = [copy.pk for copy, _ in page.copies]
    assert set(shown[:2]) == {old.pk, new.pk} and shown.index(new.pk) < shown.index(old.pk)
    assert len(shown) == reading.COPIES and set(shown[2:]) < {copy.pk for copy in proven}


def test_an_operator_drains_and_pauses_a_worker_and_takes_it_back(operator: Client, viewer: Client) -> None:
    worker = a_worker("atlas")
    place = f"/workers/{worker.node_id}/act/"

    def after(do: str, **given: str) -> str:
        page = operator.post(place, {"do": do, **given}, follow=True)
        worker.refresh_from_db()
        return text_of(page)

    assert f'formaction="{place}" name="do" value="drain"' in operator.get("/workers/").text
    assert "atlas drains" in after("drain") and worker.state == "draining"
    assert "Nothing changed" in after("drain")
    assert "End the drain" in text_of(operator.get("/workers/"))
    assert "atlas is paused" in after("pause", next="/workers/") and worker.paused
    assert "atlas seeds again" in after("resume") and not worker.paused
    assert "atlas keeps its copies" in after("activate") and worker.state == "active"
    Worker.objects.update(state="pending")
    assert "Nothing changed" in after("activate"), "who may join is decided in the admin"
    assert viewer.post(place, {"do": "drain"}).status_code == 403
    assert operator.get(place).status_code == 405
