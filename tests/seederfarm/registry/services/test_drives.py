from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from seederfarm.registry import queries, services
from seederfarm.registry.models import AuditEntry, Drive, Event, Replica, Worker

from ..factories import key_of, make_drive, make_replica, make_user, make_worker

pytestmark = pytest.mark.usefixtures("database")


def state_of(drive: Drive) -> str:
    drive.refresh_from_db()
    return drive.state


def test_pause_and_resume_change_only_those_that_are_not_so_already() -> None:
    one, two = make_drive(), make_drive(state=Drive.State.PAUSED)
    assert services.pause([one, two], "cli") == 1
    assert services.pause(Drive.objects.all(), "cli") == 0
    assert services.resume(Drive.objects.all(), make_user("bob")) == 2
    assert (state_of(one), state_of(two)) == ("active", "active")
    assert one.dirty and two.dirty
    assert [(entry.actor, entry.action) for entry in AuditEntry.objects.order_by("id")] == [
        ("cli", "drive.pause"),
        ("bob", "drive.resume"),
    ]


def test_pausing_does_not_bring_back_what_is_being_removed() -> None:
    drive = make_drive()
    services.remove([drive], "cli")
    assert services.pause([drive], "cli") == 0
    assert state_of(drive) == "removing"


def test_removing_a_drive_takes_its_row_only_when_the_last_copy_is_gone() -> None:
    drive = make_drive()
    copy = make_replica(drive, make_worker(), phase=Replica.Phase.DOWNLOADING)
    services.record_event("drive.seen", "seen", drive=drive)
    assert services.remove([drive], "cli") == services.RemoveResult(1, [])
    assert (state_of(drive), drive.dirty) == ("removing", True)
    assert services.finish_removals() == 0
    copy.delete()
    assert services.finish_removals() == 1
    assert not Drive.objects.exists()
    event = Event.objects.get()
    assert (event.drive, event.data["key"]) == (None, drive.key), "the flight recorder remembers"


@pytest.mark.parametrize(
    ("seen_hours_ago", "phase", "kept"),
    [
        (None, "complete", True),
        (25, "complete", True),
        (1, "complete", False),
        (None, "downloading", False),
    ],
)
def test_the_last_copies_are_kept_unless_a_writer_was_seen_lately(
    seen_hours_ago: int | None, phase: str, kept: bool
) -> None:
    seen = None if seen_hours_ago is None else timezone.now() - timedelta(hours=seen_hours_ago)
    drive = make_drive(last_writer_seen_at=seen)
    make_replica(drive, make_worker(), phase=phase)
    result = services.remove([drive], "cli")
    assert (result.removing, [item.drive for item in result.guarded]) == (
        int(not kept),
        [drive] if kept else [],
    )
    assert state_of(drive) == ("active" if kept else "removing")


def test_force_removes_the_last_copies_too_and_the_log_says_so() -> None:
    drive = make_drive("a")
    make_replica(drive, make_worker())
    assert (
        services.remove([drive], "cli")
        .guarded[0]
        .why.startswith("the farm has the only complete copies known (1)")
    )
    assert AuditEntry.objects.count() == 0
    assert services.remove([drive], "cli", force=True).removing == 1
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target, entry.data["force"]) == ("drive.remove", key_of("a"), True)


def test_numbers_of_copies_are_checked() -> None:
    drive = make_drive(replicas_min=1, replicas_max=1)
    for wrong in ((0, 1), (3, 2), (1, 1001)):
        with pytest.raises(ValidationError):
            services.set_replicas([drive], *wrong, actor="cli")
    assert services.set_replicas([drive], 2, 3, "cli") == 1
    assert services.set_replicas([drive], 2, 3, "cli") == 0
    drive.refresh_from_db()
    assert (drive.replicas_min, drive.replicas_max, drive.dirty) == (2, 3, True)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas_min": 0},
        {"replicas_min": 3, "replicas_max": 2},
        {"state": "gone"},
        {"kind": "dat"},
        {"priority": 10},
    ],
)
def test_the_database_refuses_what_makes_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_drive(**values)


def test_one_copy_for_each_drive_and_worker() -> None:
    drive, worker = make_drive(), make_worker()
    make_replica(drive, worker)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_replica(drive, worker)
    with pytest.raises(IntegrityError), transaction.atomic():
        Replica.objects.update(desired=False)  # without the time it was released


def test_drives_go_when_their_time_is_over_and_not_before() -> None:
    now = timezone.now()
    over, later, never = (make_drive(expires_at=at) for at in (now, now + timedelta(minutes=1), None))
    make_replica(over, make_worker())
    Drive.objects.filter(pk=over.pk).update(last_writer_seen_at=now)
    assert [services.expire(now), services.expire(now)] == [1, 0]
    assert [state_of(drive) for drive in (over, later, never)] == ["removing", "active", "active"]
    assert Event.objects.get().kind == "drive.expired"


@pytest.mark.parametrize(
    ("phase", "have", "kept"),
    [
        ("complete", 100, True),
        ("complete", 97, True),
        ("looking", 97, True),
        ("error", 3, True),
        ("downloading", 97, False),
        ("looking", 0, False),
        ("removing", 97, False),
    ],
)
def test_the_fullest_copy_known_outlives_expiry_and_removal(phase: str, have: int, kept: bool) -> None:
    now = timezone.now()
    drive = make_drive(expires_at=now)
    make_replica(
        drive,
        make_worker(),
        phase=phase,
        have_blocks=have,
        total_blocks=100,
        have_bytes=have,
        total_bytes=100,
    )
    assert services.expire(now) == (0 if kept else 1)
    assert state_of(drive) == ("active" if kept else "removing")
    if not kept:
        return
    assert services.expire(now + timedelta(minutes=1)) == 0
    (event,) = Event.objects.all()
    assert (event.kind, event.severity) == ("drive.expiry_held", "warning"), "said once"
    result = services.remove([drive], "cli")
    assert result.removing == 0
    if phase != "complete":
        assert f"fullest copy known ({have} %)" in result.guarded[0].why
    Drive.objects.filter(pk=drive.pk).update(last_writer_seen_at=now)
    assert services.expire(now) == 1, "its writer is there"


def test_a_retired_worker_may_have_nothing_that_no_other_has() -> None:
    anna, bert = make_worker("anna"), make_worker("bert")
    cases = {
        "alone": (("looking", 97, "[10,13]"), None),
        "same": (("looking", 97, "[10,13]"), ("looking", 97, "[10,13]")),
        "other blocks": (("looking", 97, "[10,13]"), ("looking", 97, "[20,23]")),
        "less": (("complete", 97, "[10,13]"), ("complete", 90, "[10,20]")),
        "more": (("complete", 97, "[10,13]"), ("complete", 98, "[10,12]")),
        "whole": (("complete", 97, "[10,13]"), ("complete", 100, "")),
        "complete but less": (("looking", 97, "[10,13]"), ("complete", 90, "[10,20]")),
        "being filled": (("complete", 97, "[10,13]"), ("looking", 98, "[10,12]")),
        "unknown": (("looking", 97, "[10,13]"), ("downloading", 99, "")),
    }
    for name, copies in cases.items():
        drive = make_drive(name)
        for worker, copy in zip((anna, bert), copies, strict=True):
            if copy is not None:
                phase, have, runs = copy
                gaps = f'[{{"length":100,"runs":{runs}}}]' if runs else ""
                make_replica(
                    drive, worker, phase=phase, have_blocks=have, total_blocks=100, length=100, gaps=gaps
                )
    alone = set(Drive.objects.filter(pk__in=services.last_copies_on(anna)).values_list("label", flat=True))
    assert alone == {"alone", "other blocks", "less", "complete but less", "being filled", "unknown"}
    (guarded,) = services.retire([anna], "cli").guarded
    assert guarded.drives == 6 and "6 drives that no other worker has" in guarded.why


def test_queries_count_copies_and_find_what_is_short_of_them() -> None:
    worker, second = make_worker(), make_worker()
    well, short, broken = (
        make_drive(under_replicated=False),
        make_drive(replicas_min=2, replicas_max=2),
        make_drive(),
    )
    make_replica(well, worker)
    make_replica(short, worker, last_proven_at=None)
    make_replica(short, second, phase=Replica.Phase.DOWNLOADING)
    make_replica(broken, worker, phase=Replica.Phase.ERROR)
    row = queries.with_copies(Drive.objects.all()).get(pk=short.pk)
    assert (row.copies, row.complete) == (2, 1)
    drives = Drive.objects.all()
    assert set(queries.under_replicated(drives)) == {short, broken}
    assert set(queries.with_errors(drives)) == {broken}
    loaded = queries.with_load(Worker.objects.all()).get(pk=worker.pk)
    assert (loaded.copies, loaded.complete) == (3, 2)


@pytest.mark.parametrize("length", [4, 5, 10, 51, 52])
def test_a_drive_is_found_by_the_beginning_of_its_key_in_either_spelling(length: int) -> None:
    drive = make_drive("a")
    make_drive("b")
    for start in (
        drive.z32[:length],
        drive.key[:length],
        f"hyper://{drive.z32[:length]}",
        drive.z32[:length] + "…",
    ):
        found = queries.matching_key(start)
        assert found is not None, start
        assert drive in Drive.objects.filter(found), start


def test_words_are_not_taken_for_keys() -> None:
    assert queries.matching_key("Radio archive") is None
    assert queries.matching_key("abc") is None


def test_a_thousand_drives_change_in_few_statements(django_assert_max_num_queries: object) -> None:
    services.add_keys([key_of(number) for number in range(1000)], actor="cli")
    with django_assert_max_num_queries(80):  # health and changes of state are stored for 500 drives at a time
        assert services.pause(Drive.objects.all(), "cli") == 1000
        assert services.remove(Drive.objects.all(), "cli").removing == 1000
