"""The follower beside a registry that others change: slow sources, races, a database that goes away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from seederfarm.registry.models import Drive, Source, SourceEntry
from seederfarm.registry.services.keys import add_keys
from seederfarm.sources.apply import Outcome, apply_reading
from seederfarm.sources.claims import Reading, claim
from seederfarm.sources.list_formats import Entry

from ...support.databases import FarmDatabase
from ...support.waiting import eventually
from .conftest import Site, following

pytestmark = pytest.mark.usefixtures("committing_database")

A, B, C = (bytes([n]).hex() * 32 for n in range(1, 4))
WITHIN = 60.0


def keys(*names: str) -> str:
    return json.dumps([{"key": name} for name in names])


def wanted() -> set[str]:
    return set(Drive.objects.exclude(state=Drive.State.REMOVING).values_list("key", flat=True))


def side_by_side(*calls: Callable[[], object]) -> list[object]:
    """Each in a thread, all at once; what they returned or raised."""
    results: list[object] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], object]) -> None:
        start.wait()
        try:
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.slow
def test_a_slow_source_delays_no_other_and_is_read_anew_after_a_restart(site: Site, tmp_path: Path) -> None:
    for number in range(4):
        Source.objects.create(name=f"slow {number}", location=site.serve(f"/{number}", keys(C), X_Wait="yes"))
    with following(tmp_path, []):
        eventually(lambda: Source.objects.filter(last_at=None).count() == 0, timeout=WITHIN, what="readings")
        Source.objects.create(name="quick", location=site.serve("/quick", keys(A)))
        eventually(lambda: wanted() == {A}, timeout=WITHIN, what="the quick source")
    assert Source.objects.filter(name__startswith="slow", next_at=None).count() == 4
    site.go_on.set()
    with following(tmp_path, []):
        eventually(lambda: wanted() == {A, C}, timeout=WITHIN, what="the slow ones")


def test_a_follower_outlives_its_connections_and_the_database_being_away(
    site: Site,
    tmp_path: Path,
    farm_database: FarmDatabase,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    Source.objects.create(name="ours", shrink=100, location=site.serve("/", keys(A)), every=3600)
    with following(tmp_path, []):
        eventually(lambda: wanted() == {A}, timeout=WITHIN, what="the first reading")
        if farm_database.vendor == "postgresql":
            connection.close()
            request.getfixturevalue("postgres_server").sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'farm'"
            )
            connection.close()
        site.serve("/", keys(B))
        Source.objects.update(next_at=None)
        eventually(lambda: wanted() == {B}, timeout=WITHIN, what="the second reading")


def test_concurrent_claims_give_a_source_to_one_reader() -> None:
    source = Source.objects.create(name="ours", shrink=100, location="https://example.org/")
    now = timezone.now()
    claimed = side_by_side(*(lambda: claim(source.pk, now) for _ in range(6)))
    assert sum(one is not None for one in claimed) == 1, claimed


def test_a_reading_that_was_overtaken_changes_nothing() -> None:
    source = Source.objects.create(name="ours", shrink=100, location="https://example.org/")
    now = timezone.now()
    first, second = claim(source.pk, now), claim(source.pk, now, always=True)
    assert first is not None and second is not None
    assert apply_reading(second.source, Reading({A: Entry(A)}), now) is not None
    assert apply_reading(first.source, Reading({B: Entry(B)}), now) is None
    assert wanted() == {A}


def reading_of(name: str, *listed: str) -> Callable[[], Outcome | None]:
    """A reading of the source `name` that is ready to be taken in."""
    claimed = claim(Source.objects.get(name=name).pk, timezone.now(), always=True)
    assert claimed is not None
    return lambda: apply_reading(claimed.source, Reading({key: Entry(key) for key in listed}), timezone.now())


@pytest.mark.parametrize("attempt", range(2))
def test_a_key_that_is_added_by_hand_while_its_source_adds_or_drops_it_stays(attempt: int) -> None:
    Source.objects.create(name="ours", shrink=100, location="https://example.org/")
    adding = reading_of("ours", A, B)
    _, outcome = side_by_side(lambda: add_keys(A, actor="cli"), adding)
    assert isinstance(outcome, Outcome), outcome
    assert Drive.objects.get(key=A).added_manually and not Drive.objects.get(key=B).added_manually
    dropping = reading_of("ours", C)
    _, outcome = side_by_side(lambda: add_keys(B, actor="cli"), dropping)
    assert isinstance(outcome, Outcome), outcome
    assert wanted() == {A, B, C}
    assert reading_of("ours", A)() is not None
    assert wanted() == {A, B}


@pytest.mark.parametrize("attempt", range(2))
def test_a_key_that_two_sources_drop_at_once_goes_and_one_that_another_takes_up_stays(attempt: int) -> None:
    for name in ("one", "two"):
        Source.objects.create(name=name, shrink=100, location="https://example.org/")
        assert reading_of(name, A, B)() is not None
    outcomes = side_by_side(reading_of("one", B), reading_of("two", B))
    assert all(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
    assert wanted() == {B}
    assert reading_of("two", C)() is not None
    outcomes = side_by_side(reading_of("one", C), reading_of("two", B, C))
    assert all(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
    assert wanted() == {B, C}


def test_what_a_person_wants_is_remembered_and_what_a_person_removes_comes_back_while_it_is_listed() -> None:
    from seederfarm.registry.services.drives import finish_removals, remove, resume

    Source.objects.create(name="ours", shrink=100, location="https://example.org/")
    assert reading_of("ours", A, B)() is not None
    add_keys(A, actor="cli")
    remove(Drive.objects.filter(key=B), "cli")
    assert finish_removals() == 1
    assert wanted() == {A}
    assert reading_of("ours", A, B)() is not None
    assert wanted() == {A, B}
    remove(Drive.objects.all(), "cli")
    resume(Drive.objects.filter(key=B), "cli")
    assert set(Drive.objects.values_list("key", "added_manually")) == {(A, False), (B, True)}
    assert reading_of("ours", C)() is not None
    assert wanted() == {B, C}


def test_keys_of_a_deleted_source_stay_for_good() -> None:
    for name in ("one", "two"):
        Source.objects.create(name=name, shrink=100, location="https://example.org/")
    assert reading_of("one", A, B)() is not None
    assert reading_of("two", B)() is not None
    with transaction.atomic():
        Source.objects.filter(name="one").delete()
    assert reading_of("two", C)() is not None
    assert wanted() == {A, C}


def test_what_a_source_says_anew_is_taken_over_unless_a_person_changed_it() -> None:
    Source.objects.create(name="ours", shrink=100, location="https://example.org/", label="theirs")

    def serve(**labels: str) -> Outcome | None:
        claimed = claim(Source.objects.get().pk, timezone.now(), always=True)
        assert claimed is not None
        listed = {key: Entry(key, "", labels.get(name, "")) for name, key in (("a", A), ("b", B))}
        return apply_reading(claimed.source, Reading(listed), timezone.now())

    serve(a="A film", b="B film")
    Drive.objects.filter(key=B).update(label="mine")
    outcome = serve(a="A better film", b="B better film")
    assert outcome is not None and outcome.changed == 2
    assert set(Drive.objects.values_list("key", "label")) == {(A, "A better film"), (B, "mine")}
    serve()
    assert set(Drive.objects.values_list("key", "label")) == {(A, "theirs"), (B, "mine")}
    assert set(SourceEntry.objects.values_list("label", flat=True)) == {""}
