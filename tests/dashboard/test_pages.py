"""Every page for every user: anonymous, viewer, operator; fixed numbers of queries; nothing of others raw."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.template import engines
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils import timezone

from dashboard.middleware import POLICY
from seederfarm.registry.models import (
    Alert,
    AlertChannel,
    AuditEntry,
    Drive,
    Event,
    Replica,
    Source,
    Tag,
    Worker,
)
from seederfarm.settings import env

from ..seederfarm.registry.factories import key_of
from .farm import a_copy, a_drive, a_worker, populate, text_of

pytestmark = pytest.mark.usefixtures("database")

PAGES = ("overview", "drives", "copies", "workers", "sources", "alerts", "events", "audit")


def addresses() -> list[str]:
    drive, worker = Drive.objects.get(label="Coastal Field Recordings"), Worker.objects.get(name="fra")
    one = [
        reverse("dashboard:drive", kwargs={"key": drive.key}),
        reverse("dashboard:worker", args=[worker.node_id]),
    ]
    return [*(reverse(f"dashboard:{name}") for name in PAGES), *one]


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_every_user_that_is_logged_in_sees_every_page(viewer: Client, operator: Client, full: bool) -> None:
    if full:
        populate()
    for address in addresses() if full else [reverse(f"dashboard:{name}") for name in PAGES]:
        for client in (viewer, operator):
            response = client.get(address)
            assert response.status_code == 200, address
            assert response.headers["Content-Security-Policy"] == POLICY
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", response.text), (
                address
            )
            assert "None" not in text_of(response), address


def test_anonymous_visitors_see_the_login_and_nothing_else() -> None:
    populate()
    for address in [
        *addresses(),
        reverse("dashboard:add"),
        reverse("dashboard:drive", kwargs={"key": key_of("no")}),
    ]:
        response = Client().get(address)
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/login/?next=/")
    assert Client().post(reverse("dashboard:acknowledge", args=[1])).status_code == 302


def test_a_viewer_changes_nothing(viewer: Client) -> None:
    populate()
    drive = Drive.objects.first()
    assert drive is not None
    assert viewer.get(reverse("dashboard:add")).status_code == 403
    assert viewer.post(reverse("dashboard:add"), {"keys": key_of("x")}).status_code == 403
    for do in ("prove", "pause", "resume"):
        assert viewer.post(reverse("dashboard:act", kwargs={"key": drive.key}), {"do": do}).status_code == 403
    assert viewer.post(reverse("dashboard:acknowledge", args=[1])).status_code == 403
    assert "Add drives" not in text_of(viewer.get("/"))
    shown = viewer.get(reverse("dashboard:drive", kwargs={"key": drive.key}))
    assert "Prove now" not in text_of(shown) and "Admin" not in text_of(shown)


@pytest.mark.slow
def test_the_number_of_queries_does_not_grow_with_the_farm(viewer: Client) -> None:
    def count() -> dict[str, int]:
        found = {}
        for address in addresses():
            # What one page keeps for a minute would spare the next one a query, until the minute ends
            cache.clear()
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert viewer.get(address).status_code == 200
            found[address] = len(queries)
        return found

    populate()
    viewer.post(reverse("dashboard:mark_seen"), {"seen": "all"})  # the first look at a new drive marks it
    count()  # and the first page of one has its peers reported
    before = count()
    worker, source, tag = Worker.objects.get(name="fra"), Source.objects.get(), Tag.objects.get()
    for number in range(30):
        drive = a_drive(f"drive {number}", replicas_min=2, replicas_max=2)
        a_copy(drive, worker)
        a_copy(drive, a_worker(f"worker {number}"), phase="downloading", completed_at=None)
        drive.tags.add(tag)
        source.entries.create(drive=drive)
        Event.objects.create(kind="x", text="x", drive=drive, worker=worker)
        Alert.objects.create(kind="x", subject=f"x{number}", text="x", drive=drive)
        AuditEntry.objects.create(actor="cli", action="x", text="x")
    assert count() == before
    assert max(before.values()) <= 24, before


def test_no_page_names_a_value_that_does_not_exist(
    operator: Client, administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template shows nothing for those, also after a column was renamed."""
    populate()
    Worker.objects.filter(state="pending").delete()
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", "NO SUCH %s")
    for address in [*addresses(), reverse("dashboard:add")]:
        for client in (operator, administrator):
            found = re.findall(r"NO SUCH [\w.]+", client.get(address).text)
            assert not set(found) - OPTIONAL, address


OPTIONAL = {"NO SUCH name", "NO SUCH next"}
"""Of includes that are used with and without it."""
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egnp.exe" + "A" * 60


def test_texts_of_others_are_escaped_and_isolated(administrator: Client) -> None:
    populate()
    Drive.objects.update(label="", title=HOSTILE[:200], note=HOSTILE)
    Worker.objects.filter(name="fra").update(
        zone=HOSTILE[:100], software=HOSTILE[:64], refused=1, refused_reason=HOSTILE
    )
    Worker.objects.filter(name="hel").update(name=HOSTILE[:100])
    Replica.objects.update(error=HOSTILE, phase="error")
    Event.objects.update(text=HOSTILE, kind=HOSTILE[:40])
    Alert.objects.update(text=HOSTILE, hint=HOSTILE)
    AuditEntry.objects.update(text=HOSTILE, actor=HOSTILE, target=HOSTILE)
    Source.objects.update(name=HOSTILE[:100], last_error=HOSTILE)
    Tag.objects.update(name=HOSTILE[:50])
    drive, worker = Drive.objects.all()[0], Worker.objects.get(name="fra")
    known = [
        reverse("dashboard:drive", kwargs={"key": drive.key}),
        reverse("dashboard:worker", args=[worker.node_id]),
    ]
    for address in [*(reverse(f"dashboard:{name}") for name in PAGES), *known]:
        for query in (
            "",
            f"?q={HOSTILE}&state={HOSTILE}&worker={HOSTILE}&tag={HOSTILE}&source={HOSTILE}&page=-3",
        ):
            page = administrator.get(address + query).text
            assert "<script>alert" not in page and "<img src=x" not in page, address
            assert "\u202e" not in page, address


@pytest.mark.parametrize(
    "query", ["page=999999999999999", "page=x", "rows=7", "sort=;drop", "kind=x", "state=x", "before=x"]
)
def test_senseless_addresses_show_a_page(viewer: Client, query: str) -> None:
    populate()
    for name in PAGES:
        assert viewer.get(reverse(f"dashboard:{name}") + "?" + query).status_code == 200


class TestDrives:
    def found(self, client: Client, query: str = "") -> list[str]:
        page = client.get(reverse("dashboard:drives") + query)
        return [drive.label for drive in page.context["list"].page.object_list]

    def test_the_worst_are_shown_first(self, viewer: Client) -> None:
        populate()
        order = ["Gone", "Tide tables", "Radio", "Waiting", "Coastal Field Recordings"]
        assert self.found(viewer) == order
        assert self.found(viewer, "?sort=-state") == order[::-1]

    def test_they_are_filtered_and_counted_by_state(self, viewer: Client) -> None:
        populate()
        assert self.found(viewer, "?state=safe") == ["Coastal Field Recordings"]
        assert self.found(viewer, "?state=at_risk") == ["Tide tables"]
        text = text_of(viewer.get(reverse("dashboard:drives")))
        for chip in ("All 5", "Unavailable 1", "At risk 1", "Copying 1", "Waiting 1", "Safe 1"):
            assert chip in text

    def test_they_are_found_by_name_tag_worker_source_and_any_spelling_of_the_key(
        self, viewer: Client
    ) -> None:
        populate()
        drive = Drive.objects.get(label="Coastal Field Recordings")
        terms = ("coastal", "sound", drive.key, drive.z32, drive.z32[:8], f"hyper://{drive.z32}")
        for query in (*(f"?q={term}" for term in terms), "?tag=sound", "?source=lists"):
            assert self.found(viewer, query) == [drive.label], query
        assert self.found(viewer, "?worker=pi") == ["Gone"]
        assert self.found(viewer, "?q=nothing+like+this") == []

    def test_those_that_no_peer_ever_read_are_found(self, viewer: Client) -> None:
        populate()
        Drive.objects.exclude(label="Radio").update(served_bytes=1)
        assert self.found(viewer, "?read=never") == ["Radio"]
        page = viewer.get(reverse("dashboard:drives") + "?read=never&sort=title")
        assert 'href="?sort=title">never read' in page.text
        assert len(self.found(viewer, "?read=always")) == 5

    def test_pages_and_order_live_in_the_address(self, viewer: Client) -> None:
        for number in range(30):
            a_drive(f"drive {number:02}", byte_length=number)
        assert self.found(viewer, "?sort=title&page=2") == [f"drive {number:02}" for number in range(25, 30)]
        assert self.found(viewer, "?sort=-size&rows=50")[0] == "drive 29"
        page = viewer.get(reverse("dashboard:drives") + "?sort=title&page=2&state=unavailable").text
        assert 'href="?state=unavailable&amp;sort=-title"' in page
        assert 'href="?sort=title"' in page


class TestOneDrive:
    def test_any_spelling_of_the_key_leads_to_one_address(self, viewer: Client) -> None:
        drive = a_drive("x")
        for spelling in (drive.key, drive.key.upper(), f"hyper://{drive.z32}", f"pear://{drive.key}"):
            response = viewer.get(f"/drives/{spelling}/?a=b")
            assert (response.status_code, response.headers["Location"]) == (301, f"/drives/{drive.z32}/?a=b")
        assert viewer.get(f"/drives/{drive.z32}/").status_code == 200

    def test_what_is_no_key_or_not_here_is_not_found(self, viewer: Client) -> None:
        for address in (
            "/drives/abc/",
            f"/drives/{key_of('no')}/x",
            "/drives/../x/",
            "/workers/nobody/",
            "/nothing",
        ):
            response = viewer.get(address, follow=True)
            assert response.status_code == 404, address
            assert "There is nothing at this address" in response.text

    def test_it_says_whether_the_publisher_may_go(self, viewer: Client) -> None:
        populate()
        drive = Drive.objects.get(label="Coastal Field Recordings")
        text = text_of(viewer.get(f"/drives/{drive.z32}/"))
        assert "Safe to go offline: 2 complete copies, proven" in text
        assert "2 copies, 2 are enough" in text and "In 2 places" in text
        assert "From lists , and added by hand" in text
        gone = Drive.objects.get(label="Gone")
        assert "No: no complete copy is online" in text_of(viewer.get(f"/drives/{gone.z32}/"))

    def test_an_operator_pauses_resumes_and_asks_for_proof_once_in_a_while(self, operator: Client) -> None:
        populate()
        drive = Drive.objects.get(label="Coastal Field Recordings")
        address = f"/drives/{drive.z32}/act/"
        assert "Paused" in text_of(operator.post(address, {"do": "pause"}, follow=True))
        assert Drive.objects.get(pk=drive.pk).state == "paused"
        assert "Resumed" in text_of(operator.post(address, {"do": "resume"}, follow=True))
        assert "Asked 2 complete copies for proof" in text_of(
            operator.post(address, {"do": "prove"}, follow=True)
        )
        assert "Coastal Field Recordings: asked a moment ago; again in 5" in text_of(
            operator.post(address, {"do": "prove"}, follow=True)
        )
        assert AuditEntry.objects.filter(action="drive.reverify", actor="otto").count() == 1
        assert operator.get(address).status_code == 405


def test_the_secrets_of_a_source_are_not_shown(viewer: Client) -> None:
    populate()
    page = viewer.get(reverse("dashboard:sources")).text
    assert "s3cret" not in page and "lists.example/keys.json" in page


def test_an_operator_acknowledges_an_alert(operator: Client) -> None:
    populate()
    alert = Alert.objects.get(subject="x")
    text = text_of(operator.post(reverse("dashboard:acknowledge", args=[alert.pk]), follow=True))
    assert "Nothing needs you" in text and "otto" in text
    assert AuditEntry.objects.filter(action="alert.acknowledge").exists()


class TestOverview:
    def test_an_empty_farm_says_the_one_next_step(self, operator: Client, viewer: Client) -> None:
        page = text_of(operator.get("/"))
        assert "Paste the key of a drive" in page
        assert "waits for its first worker" in page and "0 of 4 done" in page
        assert "Keep it" not in text_of(viewer.get("/"))
        a_worker("fra")
        AlertChannel.objects.create(name="night", kind=AlertChannel.Kind.NTFY)
        page = text_of(operator.get("/"))
        assert "The farm is running." in page and "2 of 4 done" in page

    def test_trouble_is_named_with_what_to_do(self, viewer: Client) -> None:
        populate()
        text = text_of(viewer.get("/"))
        assert "1 of 5 drives is unavailable" in text
        assert "pi is lost Needs you Look after it" in text
        assert "new wants to join" in text

    def test_a_bar_shows_the_part_of_the_room_that_is_used(self, viewer: Client) -> None:
        a_copy(a_drive("one"), a_worker("fra", used_bytes=10, free_bytes=30))
        page = viewer.get("/").text
        assert '<progress class="bar" max="40" value="10" aria-label="fra">' in page
        assert "↑ <b>2.0\u00a0MB/s" in page

    def test_a_worker_that_is_not_heard_has_no_rates(self, viewer: Client) -> None:
        populate()
        row = text_of(viewer.get("/")).split(" pi Lost ")[1]
        assert row.startswith("1.0\u00a0GB 1 – –") or row.startswith("1.0 GB 1 – –")

    def test_calm_is_calm(self, viewer: Client) -> None:
        a_copy(a_drive("one"), a_worker("fra"))
        a_copy(a_drive("two"), Worker.objects.get())
        text = text_of(viewer.get("/"))
        assert "All 2 drives are safe" in text and "Nothing needs you." in text and "Needs you" not in text


def test_events_are_in_the_order_in_which_they_happened(viewer: Client) -> None:
    """A worker that was away reports late."""
    now = timezone.now()
    for minutes, text in ((5, "first"), (1, "third"), (3, "second")):
        Event.objects.create(kind="x", text=f"the {text} event", at=now - timedelta(minutes=minutes))
    text = text_of(viewer.get(reverse("dashboard:events")))
    places = [text.index(f"the {word} event") for word in ("third", "second", "first")]
    assert places == sorted(places)


def test_pages_without_the_frame_have_the_name_of_the_farm(viewer: Client) -> None:
    with override_settings(FARM=replace(settings.FARM, name="<Reef> farm")):
        for page in (Client().get("/login/"), viewer.get("/nothing")):
            assert "&lt;Reef&gt; farm" in page.text.split("<title>")[1].split("</title>")[0]
            assert page.text.count("&lt;Reef&gt; farm") >= 2 and "<Reef>" not in page.text
    assert f"{env.COMMAND} up" in text_of(Client().get("/login/"))
    assert f"{env.COMMAND} worker enroll" in text_of(viewer.get("/workers/"))


def test_older_events_are_reached_at_the_same_cost(viewer: Client) -> None:
    Event.objects.bulk_create(Event(kind="x", text=f"event {number}") for number in range(250))
    page = viewer.get(reverse("dashboard:events"))
    assert "event 249" in page.text and "event 149" not in page.text
    older = viewer.get(reverse("dashboard:events") + f"?before={page.context['older']}")
    assert "event 149" in older.text and "event 150" not in older.text
