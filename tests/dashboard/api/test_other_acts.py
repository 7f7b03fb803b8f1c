"""Changes of workers, sources and alerts."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from seederfarm.registry.models import Alert, AuditEntry, Drive, Source, SourceEntry, Worker

from ...seederfarm.registry.factories import key_of, make_drive, make_user, make_worker
from ..farm import a_copy, a_drive, a_worker
from .client import ApiClient
from .conftest import token_for

pytestmark = pytest.mark.usefixtures("database")

LIST = {"name": "films", "kind": "http", "location": "https://user:secret@lists.example/keys"}


def last_entry() -> AuditEntry:
    return AuditEntry.objects.exclude(action__startswith="token.").latest("pk")


def test_a_worker_is_approved_drained_and_taken_back(writer: ApiClient) -> None:
    worker = make_worker("pi", state="pending")
    for _ in range(2):
        assert writer("POST", "workers/pi/activate").body["state"] == "active"
    assert (last_entry().action, last_entry().actor) == ("worker.activate", "otto (token ci)")
    assert writer("POST", f"workers/{worker.node_id}/drain").body["state"] == "draining"
    assert writer("POST", "workers/pi/activate").body["state"] == "active"
    assert writer("POST", "workers/pi/pause").body["paused"] is True
    assert writer("POST", "workers/pi/resume").body["paused"] is False
    Worker.objects.update(state="retired")
    assert writer("POST", "workers/pi/drain").status == 409
    assert writer("POST", "workers/nobody/drain").status == 404


def test_a_worker_with_blocks_that_no_other_has_is_not_retired_unless_forced(writer: ApiClient) -> None:
    worker = a_worker("pi")
    a_copy(a_drive("a"), worker)
    answer = writer("POST", "workers/pi/retire")
    assert answer.status == 409 and "drain it first" in answer.body["detail"]
    assert writer("POST", "workers/pi/retire?force=1").body["state"] == "retired"
    assert writer("POST", "workers/pi/retire").status == 200


def test_a_source_is_added_changed_read_and_deleted(writer: ApiClient) -> None:
    made = writer(
        "POST", "sources",
        {**LIST, "headers": {"Authorization": "Bearer topsecret"}, "tags": ["Film"], "every": 600},
    )  # fmt: skip
    assert made.status == 201 and made.body["headers"] == ["Authorization"]
    assert made.body["location"] == "https://***@lists.example/keys" and made.body["tags"] == ["film"]
    source = Source.objects.get()
    assert (source.location, source.every) == (LIST["location"], 600)
    assert (last_entry().action, last_entry().actor) == ("source.add", "otto (token ci)")
    assert "secret" not in f"{last_entry().text}{last_entry().data}"
    assert writer("POST", "sources", LIST).status == 409
    changed = writer(
        "PATCH", "sources/films", {"enabled": False, "label": "Films", "replicas_min": 1, "replicas_max": 2}
    )
    assert changed.status == 200 and changed.body["enabled"] is False
    source.refresh_from_db()
    assert source.location == LIST["location"] and source.headers == {"Authorization": "Bearer topsecret"}
    assert writer("POST", "sources/films/read").status == 409
    writer("PATCH", "sources/films", {"enabled": True})
    assert writer("POST", "sources/films/read").status == 202
    drive = make_drive("a", added_manually=False)
    SourceEntry.objects.create(source=source, drive=drive)
    assert writer("DELETE", "sources/films").status == 204
    drive.refresh_from_db()
    assert drive.added_manually and not Source.objects.exists()
    assert writer("GET", "sources/films").status == 404


def test_adding_a_source_again_with_the_same_key_gets_the_first_answer(writer: ApiClient) -> None:
    first = writer("POST", "sources", LIST, Idempotency_Key="films-1")
    again = writer("POST", "sources", LIST, Idempotency_Key="films-1")
    assert (first.status, again.status) == (201, 201) and first.body == again.body


@pytest.mark.parametrize(
    "body",
    [
        {"location": "ftp://x"}, {"kind": "bee", "location": "no key"}, {"headers": {"a b": "c"}},
        {"headers": {"A": "b\r\nC: d"}}, {"headers": []}, {"location": "https://***@lists.example/keys"},
        {"removals_url": "file:///etc/passwd"}, {"replicas_min": 3, "replicas_max": 2}, {"every": 1},
        {"replicas_min": 3}, {"shrink": 0}, {"state": {}}, {"kind": "file", "location": "/etc/passwd"},
        {"tags": ["?"]}, {"mapping": "\0"}, {"held": 0}, {"name": ""},
        {"headers": {str(n): "" for n in range(21)}},
    ],
)  # fmt: skip
def test_a_source_that_makes_no_sense_is_refused(writer: ApiClient, body: Any) -> None:
    assert writer("POST", "sources", {**LIST, **body}).status == 422
    assert not Source.objects.exists()
    if "name" not in body:
        writer("POST", "sources", LIST)
        assert writer("PATCH", "sources/films", body).status == 422
        assert Source.objects.get().location == LIST["location"]


def test_only_superusers_add_sources_that_read_files() -> None:
    client = ApiClient(token_for(make_user("anna"), "sources"))
    assert client("POST", "sources", {**LIST, "kind": "file", "location": "seeds.txt"}).status == 201


def test_held_removals_are_accepted(writer: ApiClient) -> None:
    source = Source.objects.create(name="films", location="https://lists.example/", held=1)
    drive = make_drive("a", added_manually=False)
    SourceEntry.objects.create(source=source, drive=drive, gone=SourceEntry.Gone.HELD)
    answer = writer("POST", "sources/films/accept")
    assert answer.body == {"removed": 1, "kept": 0}
    assert Drive.objects.get(key=key_of("a")).state == "removing"


def test_an_alert_is_acknowledged_once(writer: ApiClient, otto: User) -> None:
    alert = Alert.objects.create(kind="k", subject="s", text="pi is lost")
    answer = writer("POST", f"alerts/{alert.pk}/acknowledge")
    assert answer.body["acknowledged_by"] == "otto"
    number = AuditEntry.objects.count()
    assert writer("POST", f"alerts/{alert.pk}/acknowledge").status == 200
    assert AuditEntry.objects.count() == number
    assert writer("POST", f"alerts/{alert.pk + 1}/acknowledge").status == 404
    assert writer("POST", "alerts/99999999999999999999/acknowledge").status == 422
