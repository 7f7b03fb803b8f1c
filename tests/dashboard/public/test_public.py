"""Public pages: what they show, what they never show, who gets them, and what keeps them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.public import limits
from dashboard.public.limits import ASKED, MAX_COUNTED
from seederfarm.registry.buckets import Buckets
from seederfarm.registry.models import AuditEntry, Drive, Replica, Worker

from ...seederfarm.registry.factories import key_of
from ..api.client import ApiClient
from ..api.conftest import make_operator, token_for
from ..farm import a_copy, a_drive, a_worker, populate, text_of

pytestmark = pytest.mark.usefixtures("database")

KINDS = ("public", "badge", "public_json")
SECRETS = ("fra", "hel", "zone of", "Coastal", "sound", "a note", "admin", "Bearer")


@pytest.fixture(autouse=True)
def fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "asked", Buckets(ASKED, MAX_COUNTED))


def published(label: str = "Coastal Field Recordings") -> Drive:
    Drive.objects.filter(label=label).update(public=True, title="Sounds <b>&")
    return Drive.objects.get(label=label)


def address(kind: str, key: str) -> str:
    return reverse(f"dashboard:{kind}", kwargs={"key": key})


def test_anyone_sees_that_a_public_drive_is_safe_and_nothing_else() -> None:
    populate()
    drive = published()
    page = Client().get(address("public", drive.key))
    assert page.status_code == 200
    shown = text_of(page)
    assert "Yes, you can go offline." in shown and "Sounds <b>&" in shown
    assert "2 complete copies are online, with everything up to version 10." in shown
    assert "<b>&" not in page.text and drive.z32 in page.text
    for kind in KINDS:
        text = Client().get(address(kind, drive.key)).text
        assert [secret for secret in SECRETS if secret in text] == [], kind
    found = json.loads(Client().get(address("public_json", drive.key)).text)
    assert (found["safe"], found["state"], found["copies"]) == (True, "safe", {"counted": 2, "wanted": 2})
    assert found["key"] == drive.z32 and "places" not in found


def test_places_are_named_where_the_operator_allows_it(settings: Any) -> None:
    populate()
    drive = published()
    with override_settings(FARM=replace(settings.FARM, public_places=True)):
        assert "zone of fra, zone of hel" in text_of(Client().get(address("public", drive.key)))
        found = json.loads(Client().get(address("public_json", drive.key)).text)
        assert found["places"] == ["zone of fra", "zone of hel"]


def test_the_badge_comes_with_markdown_for_other_sites(settings: Any) -> None:
    populate()
    drive = published()
    place = f"/p/{drive.z32}/"
    asked = Client().get(address("public", drive.key))
    assert f"[![copies](http://testserver{place}badge.svg)](http://testserver{place})" in text_of(asked)
    with override_settings(FARM=replace(settings.FARM, public_url="https://farm.example.org")):
        page = Client().get(address("public", drive.key)).text
    whole = f"https://farm.example.org{place}"
    assert f'data-copy="[![copies]({whole}badge.svg)]({whole})"' in page
    assert Client().get(f"{place}badge.svg").status_code == 200


def test_private_drives_and_unknown_keys_get_the_same_answer(administrator: Client) -> None:
    populate()
    private = Drive.objects.get(label="Coastal Field Recordings")
    for kind in KINDS:
        for client in (Client(), administrator):
            answers, queries = [], []
            for key in (private.key, key_of("never seen")):
                with CaptureQueriesContext(connection) as made:
                    answer = client.get(address(kind, key))
                answers.append((answer.status_code, re.sub(r'value="\w{64}"|[a-z0-9]{52}', "", answer.text)))
                queries.append([re.sub(r"[0-9a-f]{64}", "", query["sql"]) for query in made])
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
            assert queries[0] == queries[1]


def test_a_key_in_another_spelling_is_sent_on_whether_or_not_it_is_known() -> None:
    drive = a_drive("d")
    for key in (drive.key, key_of("never seen")):
        answer = Client().get(f"/p/{key}/")
        assert answer.status_code == 301 and answer.headers["Location"] == address("public", key)
    for bad in ("x", "../etc", "a" * 63, "%00"):
        assert Client().get(f"/p/{bad}/").status_code == 404


def test_answers_are_kept_by_caches_and_change_with_the_drive() -> None:
    populate()
    drive = published()
    for kind in KINDS:
        where = address(kind, drive.key)
        first = Client().get(where)
        assert first.headers["Cache-Control"] == "public, max-age=60"
        assert "Cookie" not in first.headers.get("Vary", "") and not first.cookies
        again = Client().get(where, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    before = Client().get(address("badge", drive.key)).headers["ETag"]
    Replica.objects.filter(drive=drive).update(phase="error")
    changed = Client().get(address("badge", drive.key), headers={"If-None-Match": before})
    assert changed.status_code == 200


@pytest.mark.slow
def test_an_address_gets_so_many_answers_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(limits, "monotonic", lambda: now[0])
    where = address("badge", key_of("never seen"))

    def ask(host: str) -> int:
        return Client().get(where, REMOTE_ADDR=host).status_code

    assert {ask("192.0.2.1") for _ in range(ASKED.burst)} == {404}
    refused = Client().get(where, REMOTE_ADDR="192.0.2.1")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert ask("192.0.2.2") == 404
    now[0] += ASKED.seconds
    assert [ask("192.0.2.1") for _ in range(2)] == [404, 429]
    assert Client().post(where).status_code == 405


def states() -> dict[str, Drive]:
    now = timezone.now()
    worker, lost = a_worker("w"), a_worker("gone", lost_since=now)
    found = {name: a_drive(name) for name in ("safe", "copying", "unavailable")}
    found["risk"] = a_drive("risk", replicas_min=2, replicas_max=2)
    found["waiting"] = a_drive("waiting", length=None)
    found["paused"] = a_drive("paused", state="paused")
    found["removing"] = a_drive("removing", state="removing", removing_since=now)
    a_copy(found["safe"], worker)
    a_copy(found["risk"], worker)
    a_copy(found["unavailable"], lost)
    a_copy(
        found["copying"], worker, phase="downloading", have_blocks=6, have_bytes=999, completed_at=None,
        last_proven_at=None, grew_at=now,
    )  # fmt: skip
    Drive.objects.update(public=True)
    return found


@pytest.mark.parametrize(
    ("state", "badge", "expected"),
    [
        ("safe", "1 copy", "Yes, you can go offline."),
        ("copying", "copying 99%", "Not yet: please stay online."),
        ("waiting", "copying", "Not yet: nothing has arrived."),
        ("risk", "at risk", "Better stay online."),
        ("unavailable", "at risk", "No: no complete copy is online."),
        ("paused", "at risk", "Better stay online."),
        ("removing", "at risk", "No: the farm is removing it."),
    ],
)
def test_the_answer_and_the_badge_follow_the_state(state: str, badge: str, expected: str) -> None:
    drive = states()[state]
    assert expected in text_of(Client().get(address("public", drive.key)))
    answer = Client().get(address("badge", drive.key))
    assert answer.headers["Content-Type"] == "image/svg+xml"
    picture = ElementTree.fromstring(answer.text)
    words = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["seeder farm", badge]
    assert "script" not in answer.text and "href" not in answer.text
    found = json.loads(Client().get(address("public_json", drive.key)).text)
    assert found["safe"] == (state == "safe")


def test_hostile_titles_stay_text() -> None:
    drive = a_drive("d", public=True, title="</title><script>alert(1)</script>\u202e'\"" + "A" * 150)
    for kind in KINDS:
        text = Client().get(address(kind, drive.key)).text
        assert "<script>alert" not in text.replace("\\u003C", "<") or kind == "public_json"
        assert "\u202e" not in text


def test_operators_share_a_drive_on_its_page_and_by_the_api(operator: Client, viewer: Client) -> None:
    populate()
    drive = Drive.objects.get(label="Coastal Field Recordings")
    act = reverse("dashboard:act", kwargs={"key": drive.key})
    assert viewer.post(act, {"do": "share"}).status_code == 403
    assert operator.post(act, {"do": "share"}).status_code == 302
    assert Client().get(address("public", drive.key)).status_code == 200
    assert "Make private" in operator.get(reverse("dashboard:drive", kwargs={"key": drive.key})).text
    assert AuditEntry.objects.filter(action="drive.change", target=drive.key).exists()
    operator.post(act, {"do": "unshare"})
    assert Client().get(address("public", drive.key)).status_code == 404
    api = ApiClient(token_for(make_operator("api"), "read", "drives"))
    assert api("PATCH", f"drives/{drive.z32}", {"public": True}).body["public"] is True
    assert Client().get(address("public", drive.key)).status_code == 200


def test_the_number_of_queries_does_not_grow_with_copies() -> None:
    drive = a_drive("d", public=True)

    def count() -> int:
        with CaptureQueriesContext(connection) as made:
            assert Client().get(address("public", drive.key)).status_code == 200
        return len(made)

    a_copy(drive, a_worker("w"))
    before = count()
    for number in range(10):
        a_copy(drive, a_worker(f"w{number}"))
    assert count() == before <= 4
    assert Worker.objects.count() == 11
