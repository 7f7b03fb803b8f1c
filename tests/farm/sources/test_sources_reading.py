"""Sources and the registry, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seederfarm.registry.models import Drive, Event, Replica, Source, SourceEntry, Worker
from seederfarm.registry.services.keys import add_keys
from seederfarm.sources.reading import begin

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
    source(site.says("/", body), replicas_min=2, replicas_max=3, label="theirs", key_kind="drive", priority=1)
    read = clock.read()
    found = {
        d.key: (d.kind, d.label, d.replicas_min, d.replicas_max, d.priority) for d in Drive.objects.all()
    }
    assert found == {A: ("drive", "A film", 2, 3, 1), B: ("core", "theirs", 2, 3, 1)}
    assert (read.listed, read.refused, read.failures, read.last_error) == (2, 1, 0, "")
    assert read.next_at == clock.now + timedelta(seconds=60)


def test_one_added_and_one_removed_is_noticed(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B)))
    clock.read()
    site.says("/", keys(A, C))
    clock.read()
    assert wanted() == {A, C}
    assert set(SourceEntry.objects.values_list("drive__key", flat=True)) == {A, C}


def test_without_mirror_what_is_gone_stays(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B)), mirror=False)
    clock.read()
    site.says("/", keys(A, C))
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
def test_a_bad_answer_changes_nothing_and_is_told(
    site: Site, clock: Clock, body: str, status: int, why: str
) -> None:
    source(site.says("/", keys(A, B)))
    succeeded = clock.read().last_success_at
    site.says("/", body, status)
    read = clock.read()
    assert wanted() == {A, B}
    assert why in read.last_error
    assert (read.failures, read.last_success_at) == (1, succeeded)
    assert Event.objects.filter(kind="source.failed", text__contains=why).count() == 1
    clock.read()
    assert Event.objects.filter(kind="source.failed").count() == 1
    site.says("/", keys(A))
    assert (clock.read().failures, wanted()) == (0, {A})


def test_removals_remove_what_they_name_and_nothing_else(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B, C)), removals_url=site.says("/gone", "[]"), mirror=False)
    clock.read()
    site.says("/gone", keys(D))  # nobody knows this one
    clock.read()
    assert wanted() == {A, B, C}
    for broken in ("<html>", '["x"]', "{}"):
        site.says("/gone", broken)
        assert clock.read().last_error.startswith("removals: ")
        assert wanted() == {A, B, C}
    site.says("/gone", keys(B))
    clock.read()
    clock.read()
    assert wanted() == {A, C}


def test_an_unchanged_answer_is_not_asked_for_again_unless_entries_changed(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B), ETag='"1"'))
    clock.read()
    clock.read()
    assert [status for _, _, status in site.seen] == [200, 304]
    Drive.objects.get(key=A).delete()
    clock.read()
    assert site.seen[-1][2] == 200
    assert wanted() == {A, B}


def test_keys_that_others_want_stay(site: Site, clock: Clock) -> None:
    add_keys(A, actor="cli")
    source(site.says("/", keys(A, B, C)))
    clock.read()
    other = source(site.says("/other", keys(B)), name="other")
    assert read(other, clock.now)
    site.says("/", keys(C))
    assert read(Source.objects.get(name="ours"), clock.now + timedelta(hours=1))
    assert wanted() == {A, B, C}
    site.says("/other", keys(D))
    assert read(Source.objects.get(name="other"), clock.now + timedelta(hours=1))
    assert wanted() == {A, C, D}


def test_the_last_copy_is_kept_until_its_writer_is_seen(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B), ETag='"1"'))
    clock.read()
    drive = Drive.objects.get(key=B)
    worker = Worker.objects.create(node_id="w" * 52, name="w")
    Replica.objects.create(drive=drive, worker=worker, phase=Replica.Phase.COMPLETE)
    site.says("/", keys(A), ETag='"2"')
    clock.read()
    clock.read()
    assert wanted() == {A, B}
    assert Event.objects.filter(kind="source.changed", text__contains="1 kept").count() == 1
    Drive.objects.filter(pk=drive.pk).update(last_writer_seen_at=datetime.now(UTC))
    clock.read()
    assert wanted() == {A}


def test_a_source_that_is_told_so_takes_last_copies_along(site: Site, clock: Clock) -> None:
    source(site.says("/", keys(A, B)), force=True)
    clock.read()
    worker = Worker.objects.create(node_id="w" * 52, name="w")
    Replica.objects.create(drive=Drive.objects.get(key=B), worker=worker, phase=Replica.Phase.COMPLETE)
    site.says("/", keys(A))
    clock.read()
    assert wanted() == {A}


def test_two_followers_read_a_source_once(site: Site) -> None:
    made = source(site.says("/", keys(A)))
    assert begin(made.pk, NOW) is not None
    assert begin(made.pk, NOW) is None
    assert read_due(NOW) == 0
    Source.objects.update(next_at=None, enabled=False)
    assert read_due(NOW) == 0 and begin(made.pk, NOW, always=True) is None
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
    made = source(site.says("/", keys(A)))
    assert [read_due(NOW), read_due(NOW)] == [1, 0]
    Source.objects.update(location=site.says("/moved", "<html>"))
    assert [read_due(NOW), read_due(NOW)] == [1, 0]
    made.refresh_from_db()
    assert made.failures == 1
