"""Seed lists that the official package writes, followed over a private DHT into the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from seederfarm.registry.models import Drive, Event, Source
from seederfarm.registry.services.keys import add_keys

from ...support.node import Publisher
from ...support.waiting import eventually
from .conftest import following

pytestmark = pytest.mark.usefixtures("committing_database")

A, B, C = (bytes([n]).hex() * 32 for n in range(1, 4))
WITHIN = 60.0


def kept() -> dict[str, tuple[str, str]]:
    rows = Drive.objects.exclude(state=Drive.State.REMOVING)
    return {drive.key: (drive.kind, drive.label) for drive in rows}


def eventually_kept(expected: dict[str, tuple[str, str]]) -> None:
    eventually(lambda: kept() == expected, timeout=WITHIN, what=f"{expected} in the registry")


@pytest.mark.interop
@pytest.mark.parametrize("farm_database", ["postgresql"], indirect=True)
def test_a_seed_list_of_the_official_package_is_followed_live(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    made = publisher.make("list", "list")
    publisher.ask("seed", name="list", key=A, type="drive", description="A film")
    publisher.ask("seed", name="list", key=B, type="core", description="")
    publisher.ask("join", name="list")
    add_keys(B, label="mine", actor="cli")
    source = Source.objects.create(name="list", kind="bee", shrink=100, location=made["key"], every=3600)
    with following(tmp_path / "lists", bootstrap) as lists:
        eventually_kept({A: ("drive", "A film"), B: ("", "mine")})
        publisher.ask("edit", name="list", key=A, description="A better film")
        publisher.ask("seed", name="list", key=C, type="bee", description="new")
        eventually_kept({A: ("drive", "A better film"), B: ("", "mine"), C: ("bee", "new")})
        publisher.ask("unseed", name="list", key=A)
        publisher.ask("unseed", name="list", key=B)
        eventually_kept({B: ("", "mine"), C: ("bee", "new")})
        assert Drive.objects.get(key=A).state == Drive.State.REMOVING

        publisher.ask("unseed", name="list", key=C)
        eventually(
            lambda: "no keys" in Source.objects.get().last_error, timeout=WITHIN, what="the empty list"
        )
        assert set(kept()) == {B, C}
        publisher.ask("seed", name="list", key=C, type="bee", description="new")
        eventually(lambda: Source.objects.get().failures == 0, timeout=WITHIN, what="the recovery")

        Source.objects.update(enabled=False)
        eventually(lambda: not lists.is_open, timeout=WITHIN, what="the end of the swarm")
    source.refresh_from_db()
    assert (source.listed, source.refused) == (1, 0)
    assert Event.objects.filter(kind="source.recovered").count() == 1


@pytest.mark.interop
@pytest.mark.parametrize("farm_database", ["sqlite"], indirect=True)
def test_without_its_publisher_a_list_stays_in_force(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seederfarm.sources.follower.PEER_TIMEOUT", 0.5)
    made = publisher.make("list", "list")
    publisher.ask("seed", name="list", key=A, type="drive", description="A film")
    publisher.ask("join", name="list")
    Source.objects.create(name="list", kind="bee", shrink=100, location=made["key"], every=1)
    with following(tmp_path / "lists", bootstrap):
        eventually_kept({A: ("drive", "A film")})
        publisher.stop()
        eventually(
            lambda: "no peer that has the list" in Source.objects.get().last_error,
            timeout=WITHIN,
            what="the publisher to be missed",
        )
        assert set(kept()) == {A}
    state = Source.objects.get().state
    with following(tmp_path / "elsewhere", bootstrap):  # one that remembers nothing
        failures = Source.objects.get().failures
        eventually(lambda: Source.objects.get().failures > failures, timeout=WITHIN, what="another attempt")
        assert set(kept()) == {A}
    assert Source.objects.get().state["version"] == state["version"]
