"""Sources and the registry, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seederfarm.registry.models import (
    Alert,
    AuditEntry,
    Drive,
    Event,
    Replica,
    Source,
    SourceEntry,
    Worker,
)
from seederfarm.registry.services.keys import add_keys
from seederfarm.registry.services.sources import accept_removals
from seederfarm.sources.apply import Outcome, apply_reading
from seederfarm.sources.claims import Reading, claim
from seederfarm.sources.list_formats import Entry

from .conftest import Site, read, read_due

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
A, B, C, D = (bytes([n]).hex() * 32 for n in range(1, 5))


def keys(*names: str) -> str:
    return json.dumps([{"key": name} for name in names])


def source(location: str, **values: Any) -> Source:
    return Source.objects.create(**{"name": "ours", "location": location, "every": 60, **values})


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def read(self) -> Source:
        """One beat, long after the last."""
        self.now += timedelta(hours=2)
        assert read_due(self.now) == 1
        return Source.objects.get()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wanted() -> set[str]:
    return set(Drive.objects.exclude(state=Drive.State.REMOVING).values_list("key", flat=True))


def test_keys_get_what_the_source_says(site: Site, clock: Clock) -> None:
    body = json.dumps([{"url": f"hyper://{A}", "label": "A film"}, {"url": B, "kind": "core"}, {"url": "x"}])
    source(
        site.serve("/", body), replicas_min=2, replicas_max=3, label="theirs", key_kind="drive", priority=1
    )
    read = clock.read()
    found = {
        d.key: (d.kind, d.label, d.replicas_min, d.replicas_max, d.priority) for d in Drive.objects.all()
    }
    assert found == {A: ("drive", "A film", 2, 3, 1), B: ("core", "theirs", 2, 3, 1)}
    assert (read.listed, read.refused, read.failures, read.last_error) == (2, 1, 0, "")
    assert read.next_at == clock.now + timedelta(seconds=60)


def test_one_added_and_one_removed_is_noticed(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B)))
    clock.read()
    site.serve("/", keys(A, C))
    assert clock.read().held == 0
    assert wanted() == {A, C}
    assert set(SourceEntry.objects.values_list("drive__key", flat=True)) == {A, C}


def sized(count: int) -> list[str]:
    return [number.to_bytes(32, "big").hex() for number in range(1, count + 1)]


def test_a_list_that_lost_much_is_held_until_it_is_back(site: Site, clock: Clock) -> None:
    names = sized(10)
    made = source(site.serve("/", keys(*names)))
    clock.read()
    site.serve("/", keys(*names[:4], A))
    read = clock.read()
    assert wanted() == {*names, A}, "what is new is added all the same"
    assert (read.held, read.failures) == (6, 0)
    assert read.held_because == "the list lost 6 of 10 keys within a day, more than 50 %"
    alert = Alert.objects.get(kind="source.held", resolved_at=None)
    assert "6 removals held" in alert.text and "sources accept" in alert.hint
    clock.read()
    assert Event.objects.filter(kind="source.held").count() == 1
    site.serve("/", keys(*names))
    read = clock.read()
    assert (read.held, read.held_because) == (0, "")
    assert wanted() == set(names)
    assert not SourceEntry.objects.exclude(gone="").exists()
    assert not Alert.objects.filter(kind="source.held", resolved_at=None).exists()
    made.delete()


def test_what_a_person_accepts_goes_and_nothing_that_went_meanwhile(site: Site, clock: Clock) -> None:
    names = sized(10)
    made = source(site.serve("/", keys(*names)))
    clock.read()
    site.serve("/", keys(*names[:4]))
    clock.read()
    site.serve("/", keys(names[0]))  # is not read before the person accepts
    assert accept_removals(made.pk, "cli") == (6, 0)
    assert wanted() == set(names[:4])
    made.refresh_from_db()
    assert made.held == 0
    assert not Alert.objects.filter(kind="source.held", resolved_at=None).exists()
    assert AuditEntry.objects.get(action="source.accept").data["keys"] == names[4:]
    read = clock.read()
    assert (read.held, wanted()) == (3, set(names[:4])), "a new shrinkage is held anew"
    assert accept_removals(made.pk, "cli").removed == 3
    assert accept_removals(made.pk, "cli") == (0, 0)


def test_a_list_that_shrinks_in_steps_is_held_too(site: Site, clock: Clock) -> None:
    names = sized(20)
    source(site.serve("/", keys(*names)))
    clock.read()
    for left in (15, 11, 7):
        site.serve("/", keys(*names[:left]))
        read = clock.read()
    assert (read.held, wanted()) == (4, set(names[:11]))
    clock.now += timedelta(days=1)
    assert (clock.read().held, wanted()) == (0, set(names[:7])), "four of eleven are no half, a day later"


@pytest.mark.slow
def test_a_list_that_grows_first_loses_no_more_of_what_it_had(site: Site, clock: Clock) -> None:
    names, more = sized(10), [f"{number:064x}" for number in range(5000, 6000)]
    source(site.serve("/", keys(*names)))
    clock.read()
    clock.now += timedelta(days=2)
    site.serve("/", keys(*names, *more))
    assert clock.read().held == 0
    site.serve("/", keys(*names[:6], *more))
    assert clock.read().held == 0, "four of ten"
    site.serve("/", keys(*more))
    read = clock.read()
    assert (read.held, wanted() & set(names)) == (6, set(names[:6]))
    assert "10 of 10 keys within a day that it had for longer" in read.held_because


@pytest.mark.parametrize(
    ("shrink", "setting", "held"), [(100, 50, 0), (None, 95, 0), (60, 50, 8), (None, 50, 8)]
)
def test_what_is_much_can_be_set_for_all_and_for_each(
    site: Site, clock: Clock, settings: Any, shrink: int | None, setting: int, held: int
) -> None:
    settings.FARM = replace(settings.FARM, source_shrink=setting)
    names = sized(10)
    source(site.serve("/", keys(*names)), shrink=shrink)
    clock.read()
    site.serve("/", keys(*names[:2]))
    assert clock.read().held == held


def test_a_removals_endpoint_that_names_much_is_held(site: Site, clock: Clock) -> None:
    names = sized(10)
    source(site.serve("/", keys(*names)), removals_url=site.serve("/gone", "[]"), remove_unlisted=False)
    clock.read()
    site.serve("/gone", keys(*names[:9]))
    assert clock.read().held == 9
    assert wanted() == set(names)
    site.serve("/gone", keys(*names[:2]))
    assert clock.read().held == 0
    assert wanted() == set(names[2:])


def test_a_seed_list_that_lost_much_is_held() -> None:
    made = source(A, kind="bee")
    names = sized(10)

    def stable(*names: str, version: tuple[int, int], refused: int = 0) -> Outcome | None:
        claimed = claim(made.pk, NOW, always=True)
        assert claimed is not None
        entries = {name: Entry(name) for name in names}
        problems = ("entry 1: no key",) * refused
        reading = Reading(entries, refused=refused, problems=problems, version=version)
        return apply_reading(claimed.source, reading, NOW)

    stable(*names, version=(0, 10))
    outcome = stable(*names[:3], version=(0, 20))
    assert outcome is not None and outcome.held == 7
    outcome = stable(*names[:9], version=(0, 30), refused=1)
    assert outcome is not None and (outcome.held, outcome.removed) == (1, 0)
    outcome = stable(*names[:9], version=(0, 40))
    assert outcome is not None and (outcome.held, outcome.removed) == (0, 1)


@pytest.mark.parametrize("kind", ["http", "file"])
def test_nothing_is_removed_by_a_list_with_malformed_lines(site: Site, clock: Clock, kind: str) -> None:
    names = sized(10)

    def listed(*lines: str) -> str:
        return json.dumps(lines) if kind == "http" else "\n".join(lines) + "\n"

    source(site.serve("/", listed(*names), Content_Type="text/plain"), kind=kind)
    clock.read()
    site.serve("/", listed(*names[:8], names[8][:40], C), Content_Type="text/plain")
    read = clock.read()
    assert wanted() == {*names, C}
    assert (read.held, read.refused) == (2, 1)
    assert read.held_because == "1 entry is malformed, and may be what is missing"
    (event,) = Event.objects.filter(kind="source.refused")
    assert ("line 9" if kind == "file" else "entry 9") in event.text
    site.serve("/", listed(*names[:8], C), Content_Type="text/plain")
    assert clock.read().held == 0
    assert wanted() == {*names[:8], C}


@pytest.mark.parametrize("tail", [B[:40], "\0" * 100, "<html>\n<p>502</p>\n", "# and so o", f"{B} # b"])
def test_a_list_that_is_cut_or_damaged_is_a_failed_reading(tmp_path: Path, clock: Clock, tail: str) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text(f"{A}\n{B}\n{C}\n")
    source(str(path), kind="file", shrink=100)
    clock.read()
    path.write_text(f"{A}\n{tail}")
    read = clock.read()
    assert wanted() == {A, B, C}
    assert read.failures == 1 and "line 2" in read.last_error


def test_an_answer_that_ends_early_is_a_failed_reading(site: Site, clock: Clock) -> None:
    source(site.serve("/", f"{A}\n{B}\n", Content_Type="text/plain"), kind="file", shrink=100)
    clock.read()
    site.serve("/", f"{A}\n", Content_Type="text/plain", Content_Length="130")
    assert "ended early" in clock.read().last_error
    chunk = f"{len(A) + 1:x}\r\n{A}\n\r\n"
    site.serve("/", chunk, Content_Type="text/plain", Transfer_Encoding="chunked")
    assert "ended early" in clock.read().last_error
    assert wanted() == {A, B}
    site.serve("/", f"{chunk}0\r\n\r\n", Content_Type="text/plain", Transfer_Encoding="chunked")
    assert (clock.read().failures, wanted()) == (0, {A})


def test_a_source_reads_no_secret_of_the_farm(tmp_path: Path, clock: Clock, settings: Any) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "secret_key").write_text("s3cret-of-the-farm")
    settings.FARM = replace(settings.FARM, source_files=str(tmp_path / "lists"))
    source(str(tmp_path / "secret_key"), kind="file")
    error = clock.read().last_error
    assert "files are read from there alone" in error and "s3cret" not in error


def test_an_error_that_was_not_foreseen_is_the_trouble_of_one_source(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(site.serve("/", keys(A)))
    clock.read()

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("seederfarm.sources.claims._ask_place", broken)
    read = clock.read()
    assert (read.failures, read.last_error) == (1, "an error that was not foreseen; the log has it")
    assert wanted() == {A}


def test_headers_that_are_none_are_the_trouble_of_one_source(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A)), headers=[1])
    assert "its headers are no JSON object" in clock.read().last_error


def test_headers_go_to_the_removals_of_the_same_origin_alone(site: Site, clock: Clock) -> None:
    away = site.base.replace("127.0.0.1", "localhost")
    site.serve("/gone", "[]")
    made = source(
        site.serve("/", keys(A)), removals_url=f"{away}/gone", headers={"Authorization": "Bearer x"}
    )
    clock.read()
    made.removals_url = f"{site.base}/gone"
    made.save()
    clock.read()
    sent = [(path, headers.get("authorization")) for path, headers, _ in site.seen]
    assert sent == [("/", "Bearer x"), ("/gone", None), ("/", "Bearer x"), ("/gone", "Bearer x")]


def test_without_mirror_what_is_gone_stays(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B)), remove_unlisted=False)
    clock.read()
    site.serve("/", keys(A, C))
    clock.read()
    assert wanted() == {A, B, C}


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ("<html>maintenance</html>", 200, "HTML"),
        ("[]", 200, "no keys"),
        ("", 200, "empty"),
        (keys("a", "b", C), 200, "most of the list"),
        ("[]", 500, "500"),
        ('{"error": 1}', 200, "expected a list"),
    ],
)
def test_a_bad_answer_changes_nothing_and_is_shown(
    site: Site, clock: Clock, body: str, status: int, why: str
) -> None:
    source(site.serve("/", keys(A, B)))
    succeeded = clock.read().last_success_at
    site.serve("/", body, status)
    read = clock.read()
    assert wanted() == {A, B}
    assert why in read.last_error
    assert (read.failures, read.last_success_at) == (1, succeeded)
    assert Event.objects.filter(kind="source.failed", text__contains=why).count() == 1
    clock.read()
    assert Event.objects.filter(kind="source.failed").count() == 1
    site.serve("/", keys(A))
    assert (clock.read().failures, wanted()) == (0, {A})


def test_removals_remove_what_they_name_and_nothing_else(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B, C)), removals_url=site.serve("/gone", "[]"), remove_unlisted=False)
    clock.read()
    site.serve("/gone", keys(D))  # nobody knows this one
    clock.read()
    assert wanted() == {A, B, C}
    for broken in ("<html>", '["x"]', "{}"):
        site.serve("/gone", broken)
        assert clock.read().last_error.startswith("removals: ")
        assert wanted() == {A, B, C}
    site.serve("/gone", keys(B))
    clock.read()
    clock.read()
    assert wanted() == {A, C}


def test_an_unchanged_answer_is_not_asked_for_again_unless_entries_changed(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B), ETag='"1"'))
    clock.read()
    clock.read()
    assert [status for _, _, status in site.seen] == [200, 304]
    Drive.objects.get(key=A).delete()
    clock.read()
    assert site.seen[-1][2] == 200
    assert wanted() == {A, B}


def test_keys_that_others_want_stay(site: Site, clock: Clock) -> None:
    add_keys(A, actor="cli")
    source(site.serve("/", keys(A, B, C)), shrink=100)
    clock.read()
    other = source(site.serve("/other", keys(B)), name="other", shrink=100)
    assert read(other, clock.now)
    site.serve("/", keys(C))
    assert read(Source.objects.get(name="ours"), clock.now + timedelta(hours=1))
    assert wanted() == {A, B, C}
    site.serve("/other", keys(D))
    assert read(Source.objects.get(name="other"), clock.now + timedelta(hours=1))
    assert wanted() == {A, C, D}


def test_the_last_copy_is_kept_until_its_writer_is_seen(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B), ETag='"1"'))
    clock.read()
    drive = Drive.objects.get(key=B)
    worker = Worker.objects.create(node_id="w" * 52, name="w")
    Replica.objects.create(drive=drive, worker=worker, phase=Replica.Phase.COMPLETE)
    site.serve("/", keys(A), ETag='"2"')
    clock.read()
    clock.read()
    assert wanted() == {A, B}
    assert Event.objects.filter(kind="source.changed", text__contains="1 kept").count() == 1
    Drive.objects.filter(pk=drive.pk).update(last_writer_seen_at=datetime.now(UTC))
    clock.read()
    assert wanted() == {A}


def test_a_source_set_to_do_so_removes_last_copies_too(site: Site, clock: Clock) -> None:
    source(site.serve("/", keys(A, B)), remove_last_copies=True)
    clock.read()
    worker = Worker.objects.create(node_id="w" * 52, name="w")
    Replica.objects.create(drive=Drive.objects.get(key=B), worker=worker, phase=Replica.Phase.COMPLETE)
    site.serve("/", keys(A))
    clock.read()
    assert wanted() == {A}


def test_two_followers_read_a_source_once(site: Site) -> None:
    made = source(site.serve("/", keys(A)))
    assert claim(made.pk, NOW) is not None
    assert claim(made.pk, NOW) is None
    assert read_due(NOW) == 0
    Source.objects.update(next_at=None, enabled=False)
    assert read_due(NOW) == 0 and claim(made.pk, NOW, always=True) is None
    assert site.seen == []


def test_files_are_read(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text(f"# ours\ndrive {A}\n{B}\n")
    source(str(path), kind="file")
    clock.read()
    assert wanted() == {A, B}
    path.unlink()
    assert "cannot be read" in clock.read().last_error
    assert wanted() == {A, B}


def test_a_source_that_was_changed_is_read_at_once_and_once(site: Site) -> None:
    made = source(site.serve("/", keys(A)))
    assert [read_due(NOW), read_due(NOW)] == [1, 0]
    Source.objects.update(location=site.serve("/moved", "<html>"))
    assert [read_due(NOW), read_due(NOW)] == [1, 0]
    made.refresh_from_db()
    assert made.failures == 1
