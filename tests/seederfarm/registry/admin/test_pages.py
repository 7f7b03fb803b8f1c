from __future__ import annotations

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.admin import lists
from seederfarm.registry.models import (
    Alert,
    AssignmentState,
    AuditEntry,
    Drive,
    Event,
    Replica,
    Sample,
    Source,
    Tag,
    Worker,
)

from ..factories import key_of, make_drive, make_replica, make_user, make_worker
from .client import act, text_of
from .client import client as client

pytestmark = pytest.mark.usefixtures("database")

DRIVES = "admin:registry_drive_changelist"
WORKERS = "admin:registry_worker_changelist"


def populate() -> None:
    drive, worker = make_drive("shown", title="T", length=1, byte_length=5, fork=0), make_worker("w")
    AssignmentState.objects.create(worker=worker, version=2)
    make_replica(drive, worker, total_bytes=10, have_bytes=4, phase="downloading", error="disk full")
    drive.tags.add(Tag.objects.create(name="music"))
    services.record_event("drive.seen", "seen", drive=drive, worker=worker)
    Alert.objects.create(kind="x", subject="x", text="an alert")
    Source.objects.create(name="s", location="http://localhost/seeds.json")
    Sample.objects.create(scope="farm", metric="bytes_up", span=60, at=timezone.now())
    services.issue_api_token(User.objects.get(), "grafana", actor="cli")
    services.issue_enrolment(name="pi", actor="cli")


def test_the_page_of_a_worker_compares_its_assignment_with_the_one_it_should_have(client: Client) -> None:
    worker = make_worker("w", assignment_version=1, assignment_digest="a")
    url = reverse("admin:registry_worker_change", args=[worker.pk])
    assert "none yet" in text_of(client.get(url))
    AssignmentState.objects.create(worker=worker, version=2, digest="b")
    assert "has version 1, should have 2" in text_of(client.get(url))
    Worker.objects.update(assignment_version=2)
    assert "has version 2, but not its content" in text_of(client.get(url))
    Worker.objects.update(assignment_digest="b")
    assert "version 2, as it should be" in text_of(client.get(url))


MODELS = ("drive", "replica", "worker", "source", "alert", "event", "auditentry", "sample", "tag", "apitoken")


@pytest.mark.parametrize(
    "model", [*(f"registry_{name}" for name in (*MODELS, "enrolmenttoken")), "auth_user"]
)
def test_every_list_and_every_row_has_a_page(client: Client, model: str) -> None:
    populate()
    response = client.get(reverse(f"admin:{model}_changelist"))
    assert response.status_code == 200
    row = response.context["cl"].queryset[0]
    assert client.get(reverse(f"admin:{model}_change", args=(row.pk,))).status_code == 200
    assert client.get(reverse(f"admin:{model}_changelist") + "?q=a").status_code == 200


@pytest.mark.parametrize("model", ["drive", "source", "tag", "apitoken"])
def test_what_people_make_has_a_page_to_make_it(client: Client, model: str) -> None:
    assert client.get(reverse(f"admin:registry_{model}_add")).status_code == 200


@pytest.mark.parametrize("model", ["replica", "worker", "alert", "event", "auditentry", "sample"])
def test_what_the_farm_writes_cannot_be_made_by_hand(client: Client, model: str) -> None:
    assert client.get(reverse(f"admin:registry_{model}_add")).status_code == 403


def test_the_list_of_drives_costs_the_same_for_one_and_for_fifty(
    client: Client, django_assert_max_num_queries: object
) -> None:
    worker = make_worker()
    for number in range(50):
        make_replica(make_drive(str(number)), worker)
    with django_assert_max_num_queries(15):
        assert client.get(reverse(DRIVES)).status_code == 200


@pytest.mark.parametrize(
    "query", ["health=at_risk", "health=safe", "health=error", "state__exact=active", "kind__exact=core"]
)
def test_drives_are_filtered(client: Client, query: str) -> None:
    populate()
    response = client.get(reverse(DRIVES) + "?" + query)
    assert response.status_code == 200
    assert "e=1" not in response.headers.get("Location", "")


def test_a_drive_is_found_by_any_spelling_of_its_key(client: Client) -> None:
    drive, other = make_drive("a"), make_drive("b")
    for term in (drive.key, drive.z32, f"hyper://{drive.z32}/x", drive.z32[:8], drive.key[:12], drive.label):
        found = client.get(reverse(DRIVES), {"q": term}).context["cl"].queryset
        assert drive in found, term
    assert list(client.get(reverse(DRIVES), {"q": other.z32}).context["cl"].queryset) == [other]


def paste(client: Client, keys: str, **fields: object) -> HttpResponse:
    given = {"keys": keys, "replicas_min": 2, "replicas_max": 3, "priority": 5, **fields}
    response: HttpResponse = client.post(reverse("admin:registry_drive_add"), given, follow=True)
    return response


def test_pasted_keys_are_added_and_duplicates_reported(client: Client) -> None:
    make_drive("known", label="An old friend")
    reported = text_of(
        paste(client, f"{key_of('known')}\n{key_of('new')}\n{key_of('new')}", tags="Music, maps")
    )
    assert "Added 1 key." in reported
    assert "1 key known already, left unchanged: An old friend." in reported
    assert "1 line named a key of the list again." in reported
    drive = Drive.objects.get(key=key_of("new"))
    assert (drive.replicas_min, drive.replicas_max, drive.owner) == (2, 3, User.objects.get())
    assert sorted(tag.name for tag in drive.tags.all()) == ["maps", "music"]
    assert AuditEntry.objects.get().actor == "alice"


def test_malformed_lines_are_named_and_left_in_the_form_to_be_corrected(client: Client) -> None:
    response = paste(client, f"{key_of('a')}\nthis is no key\n{'z' * 64}")
    reported = text_of(response)
    assert "2 lines could not be read. The others were taken." in reported
    assert "Line 2:" in reported and "Line 3:" in reported
    assert Drive.objects.count() == 1
    assert "this is no key" in response.context["form"]["keys"].value()
    assert key_of("a") not in response.context["form"]["keys"].value()


def test_a_seeds_txt_is_uploaded(client: Client) -> None:
    text = f"\ufeff# seeds\r\ndrive {key_of('a')}\r\ncore {key_of('b')}\r\n"
    reported = text_of(paste(client, "", file=SimpleUploadedFile("seeds.txt", text.encode())))
    assert "Added 2 keys." in reported
    assert Drive.objects.get(key=key_of("a")).kind == "drive"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Paste a key, or choose a file."),
        ({"file": b"\xff\xfe\x00"}, "Not text (UTF-8)"),
        ({"keys": key_of("a"), "replicas_min": 4}, "The maximum must not be below the minimum."),
        ({"keys": key_of("a"), "tags": "two words"}, "is not a tag"),
        ({"keys": key_of("a"), "priority": 10}, "less than or equal to 9"),
    ],
)
def test_a_form_that_is_wrong_adds_nothing_and_says_why(
    client: Client, fields: dict[str, object], expected: str
) -> None:
    given = {"keys": "", **fields}
    if isinstance(content := given.get("file"), bytes):
        given["file"] = SimpleUploadedFile("seeds.txt", content)
    reported = text_of(paste(client, str(given.pop("keys")), **given))
    assert expected in reported
    assert not Drive.objects.exists()


def test_drives_are_paused_and_resumed(client: Client) -> None:
    one, two = make_drive(), make_drive()
    assert "2 drives paused" in text_of(act(client, DRIVES, "pause", one, two))
    assert "None was active" in text_of(act(client, DRIVES, "pause", one, two))
    assert "1 drive resumed" in text_of(act(client, DRIVES, "resume", one))
    assert AuditEntry.objects.filter(actor="alice").count() == 2


def test_all_drives_of_a_filter_are_chosen_across_pages(client: Client) -> None:
    drives = [make_drive() for _ in range(60)]
    act(client, DRIVES, "pause", drives[0], select_across="1")
    assert Drive.objects.filter(state="paused").count() == 60


def test_numbers_of_copies_are_changed_after_a_page_that_asks(client: Client) -> None:
    drive = make_drive()
    assert "How many copies of 1 drive" in text_of(act(client, DRIVES, "change_replicas", drive))
    wrong = act(client, DRIVES, "change_replicas", drive, apply="1", replicas_min=3, replicas_max=2)
    assert "The maximum must not be below the minimum." in text_of(wrong)
    right = act(client, DRIVES, "change_replicas", drive, apply="1", replicas_min=2, replicas_max=4)
    assert "1 drive changed." in text_of(right)
    drive.refresh_from_db()
    assert (drive.replicas_min, drive.replicas_max, drive.dirty) == (2, 4, True)


def test_removing_asks_and_keeps_last_copies_unless_forced(client: Client) -> None:
    guarded, free = make_drive("guarded"), make_drive("free")
    make_replica(guarded, make_worker())
    asked = text_of(act(client, DRIVES, "remove", guarded, free))
    assert "Remove 2 drives, and delete all copies" in asked
    assert Drive.objects.filter(state="active").count() == 2, "it only asked"
    reported = text_of(act(client, DRIVES, "remove", guarded, free, apply="1"))
    assert "1 drive being removed" in reported
    kept = "Kept guarded: the farm has the only complete copies known (1); its publisher has written nothing"
    assert f"{kept} since it was added." in reported
    act(client, DRIVES, "remove", guarded, apply="1", force="on")
    assert Drive.objects.filter(state="removing").count() == 2


@pytest.mark.parametrize(
    ("name", "asked", "reported", "state"),
    [
        ("pause_one", "Leave the copies where they are", "1 drive paused", "paused"),
        ("resume_one", "Look after it again?", "All were active already", "active"),
        ("verify_one", "Have every complete copy prove itself", "Asked 1 complete copy for proof", "active"),
        (
            "remove_one",
            "Remove 1 drive, and delete all copies",
            "Kept a: the farm has the only complete",
            "active",
        ),
    ],
)
def test_the_page_of_a_drive_has_buttons_that_ask_first(
    client: Client, name: str, asked: str, reported: str, state: str
) -> None:
    drive = make_drive("a")
    make_replica(drive, make_worker())
    url = reverse(f"admin:registry_drive_{name}", args=(drive.pk,))
    assert url in client.get(reverse("admin:registry_drive_change", args=(drive.pk,))).text
    assert asked in text_of(client.get(url))
    assert not AuditEntry.objects.exists(), "a link alone does nothing"
    assert reported in text_of(client.post(url, {"apply": "1"}, follow=True))
    drive.refresh_from_db()
    assert drive.state == state


@pytest.mark.parametrize(
    ("name", "state"), [("activate_one", "active"), ("drain_one", "draining"), ("retire_one", "retired")]
)
def test_the_page_of_a_worker_has_buttons_that_ask_first(client: Client, name: str, state: str) -> None:
    worker = make_worker(state=Worker.State.ACTIVE if name != "activate_one" else Worker.State.PENDING)
    url = reverse(f"admin:registry_worker_{name}", args=(worker.pk,))
    assert client.get(url).status_code == 200
    assert not AuditEntry.objects.exists()
    client.post(url, {"apply": "1"})
    worker.refresh_from_db()
    assert worker.state == state


def test_verification_is_asked_for(client: Client) -> None:
    drive = make_drive()
    assert "No copy is complete yet" in text_of(act(client, DRIVES, "reverify", drive))
    make_replica(drive, make_worker())
    assert "Asked 1 complete copy for proof" in text_of(act(client, DRIVES, "reverify", drive))
    assert f"{drive}: asked a moment ago; again in 5 min" in text_of(act(client, DRIVES, "reverify", drive))


def test_a_drive_that_is_edited_is_planned_again_only_when_placement_is_concerned(client: Client) -> None:
    drive = make_drive("a")
    url = reverse("admin:registry_drive_change", args=(drive.pk,))
    fields = {"label": "new name", "priority": 5, "replicas_min": 1, "replicas_max": 1, "required_tags": ""}
    formset = {"replicas-TOTAL_FORMS": 0, "replicas-INITIAL_FORMS": 0}
    assert client.post(url, {**fields, **formset}).status_code == 302
    drive.refresh_from_db()
    assert (drive.label, drive.dirty) == ("new name", False)
    assert AuditEntry.objects.get().text == "Changed Label of drive new name"
    assert client.post(url, {**fields, **formset, "required_tags": "SSD, eu"}).status_code == 302
    drive.refresh_from_db()
    assert (drive.required_tags, drive.dirty) == (["eu", "ssd"], True)


def test_hostile_titles_stay_text(client: Client) -> None:
    evil = "<script>alert(1)</script>"
    drive = make_drive("a", label=evil, title=evil)
    worker = make_worker("w", host={"cores": evil}, refused=1, refused_reason=evil)
    make_replica(drive, worker, error=evil)
    services.record_event("x", evil, drive=drive)
    for url in (
        reverse(DRIVES),
        reverse("admin:registry_drive_change", args=(drive.pk,)),
        reverse("admin:registry_replica_changelist"),
        reverse("admin:registry_event_changelist"),
        reverse("admin:registry_worker_change", args=(worker.pk,)),
    ):
        assert evil not in client.get(url).text, url
    assert evil not in act(client, DRIVES, "remove", drive).text


def test_workers_are_approved_drained_and_retired(client: Client) -> None:
    keeper, newcomer = make_worker("keeper"), make_worker("newcomer", state=Worker.State.PENDING)
    make_replica(make_drive(), keeper, length=5, total_blocks=5, have_blocks=5)
    assert "1 worker active now" in text_of(act(client, WORKERS, "activate", newcomer))
    asked = text_of(act(client, WORKERS, "retire", keeper, newcomer))
    assert "keeper: it has blocks of 1 drive that no other worker has: drain it first. Last copies: " in asked
    reported = text_of(act(client, WORKERS, "retire", keeper, newcomer, apply="1"))
    assert "1 worker retired" in reported
    assert "keeper was not retired: it has blocks of 1 drive that no other worker has" in reported
    assert "1 worker draining" in text_of(act(client, WORKERS, "drain", keeper))
    assert "1 worker paused" in text_of(act(client, WORKERS, "pause", keeper))
    assert "1 worker deleted" in text_of(act(client, WORKERS, "delete_retired", keeper, newcomer))
    assert list(Worker.objects.values_list("name", "paused")) == [("keeper", True)]


def test_editing_a_worker_does_not_undo_a_report_that_came_meanwhile(client: Client) -> None:
    worker = make_worker("w", last_seq_in=5)
    url = reverse("admin:registry_worker_change", args=(worker.pk,))
    Worker.objects.update(last_seq_in=9, free_bytes=7)
    assert client.post(url, {"name": "w", "weight": "2.5", "zone": "attic", "tags": "ssd"}).status_code == 302
    worker.refresh_from_db()
    assert (worker.weight, worker.zone, worker.tags) == (2.5, "attic", ["ssd"])
    assert (worker.last_seq_in, worker.free_bytes) == (9, 7)
    given = {"name": "w", "weight": "2.5", "zone": "attic", "tags": "ssd", "blind_max_bytes": "2 GB"}
    assert "write anyone, none or public keys" in client.post(url, {**given, "blind_clients": "friends"}).text
    assert client.post(url, {**given, "blind_clients": "none"}).status_code == 302
    worker.refresh_from_db()
    assert (worker.blind_clients, worker.blind_max_bytes) == ("none", 2 * 10**9)


@pytest.mark.parametrize(
    ("text", "count"), [("500 GB", 500 * 10**9), ("20MiB", 20 << 20), ("1000", 1000), ("", None), ("0", 0)]
)
def test_sizes_are_written_as_people_write_them(client: Client, text: str, count: int | None) -> None:
    worker = make_worker("w", quota_bytes=5)
    url = reverse("admin:registry_worker_change", args=(worker.pk,))
    assert client.post(url, {"name": "w", "weight": "1", "quota_bytes": text}).status_code == 302
    worker.refresh_from_db()
    assert worker.quota_bytes == count
    shown = client.get(url).context["adminform"].form["quota_bytes"].value()
    assert (
        client.post(
            url, {"name": "w", "weight": "1", "quota_bytes": "" if shown is None else shown}
        ).status_code
        == 302
    )
    worker.refresh_from_db()
    assert worker.quota_bytes == count, "what is shown means the same when it is sent back"


def test_a_size_that_is_none_is_refused(client: Client) -> None:
    worker = make_worker("w", quota_bytes=5)
    url = reverse("admin:registry_worker_change", args=(worker.pk,))
    for wrong in ("much", "-5", "9999999 PB"):
        assert client.post(url, {"name": "w", "weight": "1", "quota_bytes": wrong}).status_code == 200
    worker.refresh_from_db()
    assert worker.quota_bytes == 5


def test_menus_offer_the_tokens_of_workers_and_of_the_api(client: Client) -> None:
    for page in ("admin:index", DRIVES):
        shown = client.get(reverse(page)).content.decode()
        assert reverse("admin:registry_enrolmenttoken_changelist") in shown, page
        assert reverse("admin:registry_apitoken_changelist") in shown, page


def test_alerts_are_acknowledged(client: Client) -> None:
    alert = Alert.objects.create(kind="x", subject="x", text="attic is silent")
    act(client, "admin:registry_alert_changelist", "acknowledge", alert)
    alert.refresh_from_db()
    assert alert.acknowledged_by == User.objects.get()
    assert AuditEntry.objects.get().text == "Acknowledged: attic is silent"


def test_sources_are_checked_and_switched(client: Client) -> None:
    url = reverse("admin:registry_source_add")
    given = {
        "name": "s",
        "kind": "http",
        "location": "ftp://x",
        "priority": 5,
        "headers": "{}",
        "enabled": "on",
    }
    assert "begins with http:// or https://" in text_of(client.post(url, given))
    given |= {"kind": "bee", "location": f"hyper://{make_drive('bee').z32}"}
    assert client.post(url, given).status_code == 302
    source = Source.objects.get()
    assert source.location == key_of("bee")
    act(client, "admin:registry_source_changelist", "disable", source)
    source.refresh_from_db()
    assert not source.enabled
    assert "left alone" in text_of(act(client, "admin:registry_source_changelist", "read_now", source))
    Source.objects.update(enabled=True, next_at=source.created_at)
    reported = text_of(act(client, "admin:registry_source_changelist", "read_now", source))
    assert "1 source will be read" in reported
    assert Source.objects.get().next_at is None


class TestPermissions:
    def test_anonymous_users_are_sent_to_the_login(self) -> None:
        response = Client().get(reverse(DRIVES))
        assert response.status_code == 302
        assert "/admin/login/" in response.headers["Location"]

    def test_staff_without_permissions_see_nothing(self) -> None:
        client = Client()
        client.force_login(make_user("charlie", is_superuser=False))
        for name in (DRIVES, WORKERS, "admin:registry_drive_add", "admin:registry_auditentry_changelist"):
            assert client.get(reverse(name)).status_code == 403, name

    def test_users_that_may_only_view_cannot_act(self) -> None:
        user = make_user("bob", is_superuser=False)
        user.user_permissions.add(Permission.objects.get(codename="view_drive"))
        client = Client()
        client.force_login(user)
        drive = make_drive()
        assert client.get(reverse(DRIVES)).status_code == 200
        for action in ("pause", "remove", "change_replicas"):
            act(client, DRIVES, action, drive, apply="1", force="on", replicas_min=2, replicas_max=2)
        drive.refresh_from_db()
        assert (drive.state, drive.replicas_min) == ("active", 1)
        assert client.get(reverse("admin:registry_drive_add")).status_code == 403
        url = reverse("admin:registry_drive_remove_one", args=(drive.pk,))
        assert client.post(url, {"apply": "1"}).status_code == 403

    def test_actions_need_the_token_of_the_page(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(make_user("alice"))
        drive = make_drive()
        data = {"action": "pause", ACTION_CHECKBOX_NAME: [drive.pk]}
        assert client.post(reverse(DRIVES), data).status_code == 403

    def test_nothing_is_done_by_a_get(self, client: Client) -> None:
        drive = make_drive()
        client.get(reverse(DRIVES), {"action": "remove", ACTION_CHECKBOX_NAME: drive.pk, "apply": "1"})
        drive.refresh_from_db()
        assert drive.state == "active"
        assert not Event.objects.exists() and not Replica.objects.exists()


def test_the_web_process_lives_without_the_database() -> None:
    assert Client().get("/livez").content == b"ok\n"


def test_a_copy_is_found_by_its_drive_its_worker_or_its_trouble(client: Client) -> None:
    anna, bert = make_worker("anna"), make_worker("bert")
    song, film = make_drive("song"), make_drive("film")
    here = make_replica(song, anna)
    failed = make_replica(film, bert, phase=Replica.Phase.ERROR, error="NO_ROOM: 5 bytes are free")
    for term, wanted in (
        ("song", here), (song.z32, here), (song.key[:9], here), ("anna", here), ("no_room", failed),
    ):  # fmt: skip
        found = client.get(reverse("admin:registry_replica_changelist"), {"q": term}).context["cl"]
        assert list(found.result_list) == [wanted], term


def test_an_event_is_found_by_its_words_its_kind_or_its_drive(client: Client) -> None:
    song = make_drive("song")
    about = Event.objects.create(kind="replica.complete", drive=song, text="A copy is complete")
    other = Event.objects.create(kind="worker.lost", text="anna is gone")
    for term, wanted in (("copy", about), (song.key, about), (song.z32[:8], about), ("worker.lost", other)):
        found = client.get(reverse("admin:registry_event_changelist"), {"q": term}).context["cl"]
        assert list(found.result_list) == [wanted], term


def test_a_page_is_in_the_order_that_was_asked_for_and_has_its_numbers(client: Client) -> None:
    worker = make_worker()
    drives = [make_drive(str(size), byte_length=size) for size in (3, 1, 2)]
    make_replica(drives[0], worker)
    page = client.get(reverse(DRIVES), {"o": "4"}).context["cl"].result_list
    assert [drive.byte_length for drive in page] == [1, 2, 3]
    assert [drive.complete for drive in page] == [0, 0, 1]


def test_a_long_list_says_how_long_as_the_database_estimates(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "ESTIMATED_FROM", 20)
    Event.objects.bulk_create(Event(kind="test", text=str(number)) for number in range(30))
    rows = Event.objects.order_by("-pk")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registry_event")
    assert lists.Estimating(rows, 10).count == 30
    Event.objects.filter(text__startswith="1").delete()
    assert lists.Estimating(rows.filter(kind="test"), 10).count == 19
    assert lists.Estimating(rows, 10).count == (30 if connection.vendor == "postgresql" else 19)
