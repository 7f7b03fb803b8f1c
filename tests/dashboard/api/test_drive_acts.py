"""Adding, changing, pausing, proving and removing drives, as the log of the farm has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dashboard.api.given import MAX_KEYS
from dashboard.api.repeats import MAX_KEPT, MAX_KEPT_BYTES, MAX_KEY, _kept
from hypercore.keys import encode_key
from seederfarm.registry.models import AuditEntry, Drive

from ...seederfarm.registry.factories import key_of, make_drive, make_worker
from ..farm import a_copy, a_drive, a_worker
from .client import ApiClient
from .conftest import token_for

pytestmark = pytest.mark.usefixtures("database")

PLAIN = "lone"


def last_entry() -> AuditEntry:
    return AuditEntry.objects.exclude(action__startswith="token.").latest("pk")


def test_drives_are_added_once_and_logged_with_the_name_of_the_token(writer: ApiClient, otto: User) -> None:
    known = make_drive("known")
    body = {
        "keys": [key_of("a"), f"hyper://{encode_key(bytes.fromhex(key_of('b')))}", known.z32, key_of("a")],
        "kind": "drive", "label": "Films", "tags": ["Film"], "copies": {"min": 2, "max": 3}, "priority": 1,
    }  # fmt: skip
    answer = writer("POST", "drives", body)
    assert answer.status == 201
    assert {item["hex"] for item in answer.body["added"]} == {key_of("a"), key_of("b")}
    assert [item["hex"] for item in answer.body["existing"]] == [known.key]
    assert answer.body["repeated"] == 1
    drive = Drive.objects.get(key=key_of("a"))
    assert (drive.kind, drive.label, drive.replicas_min, drive.replicas_max) == ("drive", "Films", 2, 3)
    assert (drive.priority, drive.owner, [tag.name for tag in drive.tags.all()]) == (1, otto, ["film"])
    entry = last_entry()
    assert (entry.action, entry.actor, entry.user) == ("drive.add", "otto (token ci)", otto)
    again = writer("POST", "drives", body)
    assert again.status == 200 and again.body["added"] == []
    assert Drive.objects.count() == 3


def test_one_malformed_line_and_nothing_is_added(writer: ApiClient) -> None:
    answer = writer("POST", "drives", {"keys": [key_of("a"), "no key", "# comment"]})
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "body.keys.1"
    assert not Drive.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {}, {"keys": []}, {"keys": "abc"}, {"keys": [1]}, {"keys": ["x" * 301]}, {"keys": None},
        {"keys": [key_of("a")], "owner": 1}, {"keys": [key_of("a")], "tags": ["?!"]},
        {"keys": [key_of("a")], "tags": ["t"] * 51}, {"keys": [key_of("a")], "label": "a\0b"},
        {"keys": [key_of("a")], "copies": {"min": 3, "max": 2}}, {"keys": [key_of("a")], "priority": 10},
        {"keys": [key_of("a")], "copies": {"min": 0, "max": 1}}, {"keys": [key_of("a")], "kind": "video"},
        {"keys": ["a"] * (MAX_KEYS + 1)}, [], '"text"', 7, {"keys": [key_of("a")], "label": "x" * 201},
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_adds_nothing(writer: ApiClient, body: Any) -> None:
    assert writer("POST", "drives", body).status == 422
    assert not Drive.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"keys": ' + b"[" * 100_000, b"NaN"])
def test_a_body_that_is_no_json_is_a_problem(writer: ApiClient, body: bytes) -> None:
    assert writer("POST", "drives", body).status in (400, 422)
    assert not Drive.objects.exists()


def test_a_repetition_with_the_same_key_gets_the_first_answer(writer: ApiClient, otto: User) -> None:
    _kept.clear()
    named = {"Idempotency_Key": "one"}
    first = writer("POST", "drives", {"keys": [key_of("a")]}, **named)
    again = writer("POST", "drives", {"keys": [key_of("a")]}, **named)
    assert (first.status, first.body) == (again.status, again.body)
    assert AuditEntry.objects.filter(action="drive.add").count() == 1
    assert writer("POST", "drives", {"keys": [key_of("b")]}, **named).status == 422
    other = ApiClient(token_for(otto, "drives"))
    assert other("POST", "drives", {"keys": [key_of("b")]}, **named).status == 201
    long = {"Idempotency_Key": "x" * (MAX_KEY + 1)}
    assert writer("POST", "drives", {"keys": [key_of("c")]}, **long).status == 422


def test_kept_answers_are_bounded(writer: ApiClient) -> None:
    _kept.clear()
    for number in range(MAX_KEPT):
        _kept[(0, str(number))] = ("", 0, None)
    assert writer("POST", "drives", {"keys": [key_of("a")]}, Idempotency_Key="one").status == 201
    assert len(_kept) == MAX_KEPT and (0, "0") not in _kept
    _kept[(0, "large")] = ("", MAX_KEPT_BYTES, None)
    assert writer("POST", "drives", {"keys": [key_of("b")]}, Idempotency_Key="two").status == 201
    assert [key for _, key in _kept] == ["two"]
    _kept.clear()


def test_what_is_sent_is_changed_and_the_rest_stays(writer: ApiClient) -> None:
    worker = make_worker("fra")
    drive = make_drive(PLAIN, note="a note", priority=3)
    ends = timezone.now() + timedelta(days=3)
    answer = writer(
        "PATCH", f"drives/{drive.z32}",
        {
            "label": "New", "tags": ["B", "a"], "copies": {"min": 2, "max": 4}, "required_tags": ["ssd"],
            "pinned_workers": ["fra"], "expires_at": ends.isoformat(), "max_fork": 2,
        },
    )  # fmt: skip
    assert answer.status == 200
    drive.refresh_from_db()
    assert (drive.label, drive.note, drive.priority, drive.replicas_min) == ("New", "a note", 3, 2)
    assert (drive.required_tags, drive.max_fork, drive.expires_at, drive.dirty) == (["ssd"], 2, ends, True)
    assert answer.body["tags"] == ["a", "b"]
    assert answer.body["pinned_workers"] == [{"id": worker.node_id, "name": "fra"}]
    entry = last_entry()
    assert entry.action == "drive.change" and entry.target == drive.key
    assert set(entry.data["changed"]) == {
        "label", "tags", "replicas_min", "replicas_max", "required_tags", "pinned_workers", "expires_at",
        "max_fork",
    }  # fmt: skip
    number = AuditEntry.objects.count()
    same = writer(
        "PATCH", f"drives/{drive.z32}", {"label": "New", "tags": ["a", "b"], "pinned_workers": ["fra"]}
    )
    assert same.status == 200 and AuditEntry.objects.count() == number
    cleared = writer(
        "PATCH", f"drives/{drive.z32}",
        {"expires_at": None, "max_fork": None, "tags": [], "pinned_workers": [], "kind": None},
    )  # fmt: skip
    assert cleared.body["expires_at"] is None and cleared.body["tags"] == []
    assert cleared.body["pinned_workers"] == [] and cleared.body["max_fork"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"copies": None}, {"copies": {"min": 2}}, {"priority": 10}, {"pinned_workers": ["nobody"]},
        {"pinned_workers": ["\0"]}, {"state": "safe"}, {"key": "x"}, {"expires_at": "2026-01-01T00:00:00"},
        {"max_fork": -1}, {"max_fork": 2**63}, {"note": "\0"}, {"required_tags": ["?"]}, {"label": None},
    ],
)  # fmt: skip
def test_a_change_that_makes_no_sense_changes_nothing(writer: ApiClient, body: Any) -> None:
    drive = make_drive(PLAIN)
    assert writer("PATCH", f"drives/{drive.z32}", {"label": "New", **body}).status == 422
    drive.refresh_from_db()
    assert drive.label == PLAIN


def test_a_drive_is_paused_and_resumed(writer: ApiClient) -> None:
    drive = make_drive(PLAIN)
    for _ in range(2):
        assert writer("POST", f"drives/{drive.z32}/pause").body["state"] == "paused"
    assert last_entry().action == "drive.pause"
    assert writer("POST", f"drives/{drive.z32}/resume").body["wanted_state"] == "active"
    Drive.objects.update(state="removing")
    assert writer("POST", f"drives/{drive.z32}/pause").status == 409


def test_proof_is_asked_for_once_in_five_minutes(writer: ApiClient) -> None:
    drive = a_drive(PLAIN)
    a_copy(drive, a_worker("fra"))
    first = writer("POST", f"drives/{drive.z32}/prove")
    assert (first.status, first.body) == (202, {"copies": 1})
    second = writer("POST", f"drives/{drive.z32}/prove")
    assert second.status == 429 and 200 < int(second.headers["Retry-After"]) <= 300


def test_the_last_copy_stays_unless_forced(writer: ApiClient) -> None:
    drive, empty = a_drive(PLAIN), make_drive("empty")
    a_copy(drive, a_worker("fra"))
    answer = writer("DELETE", f"drives/{drive.z32}")
    assert answer.status == 409 and "the only complete copies known" in answer.body["detail"]
    drive.refresh_from_db()
    assert drive.state == "active"
    assert writer("DELETE", f"drives/{empty.key}").status == 202
    assert writer("DELETE", f"drives/{drive.z32}?force=true").status == 202
    assert writer("DELETE", f"drives/{drive.z32}").status == 202
    assert set(Drive.objects.values_list("state", flat=True)) == {"removing"}
    assert last_entry().data["force"] is True
    assert writer("DELETE", f"drives/{key_of('no')}").status == 404


def test_reading_alone_changes_nothing(reader: ApiClient) -> None:
    drive = make_drive(PLAIN)
    assert reader("POST", "drives", {"keys": [key_of("a")]}).status == 403
    assert reader("PATCH", f"drives/{drive.z32}", {"label": "x"}).status == 403
    assert reader("DELETE", f"drives/{drive.z32}").status == 403
    drive.refresh_from_db()
    assert (drive.label, drive.state) == (PLAIN, "active")
