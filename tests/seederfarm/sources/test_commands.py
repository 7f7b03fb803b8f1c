"""`sources` and `fetch`, on a farm of their own that does not run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...support.farm_home import FarmHome, OneProcessHome
from ...support.node import Publisher, Testnet
from ...support.waiting import eventually
from .conftest import Site

pytestmark = pytest.mark.interop

A, B, C, D = (bytes([n]).hex() * 32 for n in range(1, 5))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, testnet: Testnet) -> Iterator[FarmHome]:
    path = tmp_path_factory.mktemp("farm") / "home"
    made = OneProcessHome(
        path,
        SEEDERFARM_BOOTSTRAP=",".join(testnet.bootstrap),
        SEEDERFARM_SOURCE_NETWORKS="127.0.0.0/8",
    )
    try:
        made.lines("init")
        yield made
    finally:
        made.dispose()


def add_source(home: FarmHome, **values: object) -> None:
    made = f"from seederfarm.registry.models import Source; Source.objects.create(**{values!r})"
    done = FarmHome.run(home, "shell", stdin=made)  # it reads the process's own standard input
    assert done.returncode == 0, done.stderr


def test_fetch_reads_what_is_due_or_named_and_says_what_changed(home: FarmHome, site: Site) -> None:
    assert "No source is due" in home.run("fetch").stdout
    add_source(home, name="good", location=site.serve("/", json.dumps([A, B, "x", f"seeders {A}"])))
    (reported,) = home.lines("fetch")
    assert reported == {
        "source": "good",
        "ok": True,
        "error": None,
        "unchanged": False,
        "keys": 2,
        "added": 2,
        "removed": 0,
        "kept": 0,
        "changed": 0,
        "refused": 1,
        "skipped": 1,
        "held": 0,
        "held_because": None,
        "problems": reported["problems"],
    }
    assert "entry 3" in reported["problems"][0]
    assert home.lines("fetch") == []

    site.serve("/", json.dumps([A]))
    assert home.run("fetch", "good").stdout == "good: 1 key, 0 added, 1 removed\n"
    site.serve("/", json.dumps([C]))
    done = home.run("fetch", "good")
    assert done.stdout == "good: 1 key, 1 added, 0 removed, 1 held\n"
    assert "sources accept good" in done.stderr and "lost 2 of 2 keys within a day" in done.stderr
    assert "1 removal held" in home.run("sources").stdout
    (reported,) = home.lines("sources")
    assert (reported["held"], reported["held_because"].partition(",")[0]) == (
        1,
        "the list lost 2 of 2 keys within a day",
    )
    assert home.run("sources", "accept", "good").stdout == "good: 1 removed\n"
    assert home.run("sources", "accept", "good").stdout == "good: nothing is held.\n"
    assert home.run("sources", "accept", "nope").returncode == 2
    assert [line["key"] for line in home.lines("list", "--state", "active")] == [C]
    site.serve("/", json.dumps([C, A]))
    assert home.run("fetch", "good").stdout == "good: 2 keys, 1 added, 0 removed\n"
    site.serve("/", json.dumps([A]))
    assert home.run("fetch", "good").stdout == "good: 1 key, 0 added, 1 removed\n"
    add_source(home, name="bad", location=site.serve("/bad", "<html>"))
    done = home.run("fetch", "good", "bad")
    assert done.returncode == 1
    assert done.stdout.startswith("good: 1 key") and "bad: failed: " in done.stderr
    assert [line["key"] for line in home.lines("list", "--state", "active")] == [A]

    done = home.run("fetch", "good", "nope")
    assert done.returncode == 2 and "no source is called 'nope'; there are bad, good" in done.stderr
    assert {line["name"]: line["failures"] for line in home.lines("sources")} == {"good": 0, "bad": 1}


def test_fetch_reads_a_seed_list_from_the_swarm(home: FarmHome, publisher: Publisher) -> None:
    made = publisher.make("list", "list")
    publisher.ask("seed", name="list", key=D, type="drive", description="A film")
    publisher.ask("join", name="list")
    add_source(home, name="list", kind="bee", location=made["key"])
    (reported,) = home.lines("fetch", "list")
    assert (reported["ok"], reported["added"]) == (True, 1)
    (reported,) = home.lines("fetch", "list")
    assert (reported["ok"], reported["unchanged"]) == (True, True)
    assert {line["key"]: line["label"] for line in home.lines("list")}[D] == "A film"


def test_hostile_lists_take_little_memory_all_at_once(home: FarmHome, site: Site) -> None:
    """Eight lists of 8 MiB at the same time, of which CPython makes 2 GB, in the process that `up` runs."""
    body = b"[" + b",".join([b"{}"] * (8 * 2**20 // 3 - 2)) + b"]"
    site.serve("/huge", body)
    for number in range(8):
        mapping = "[].{key: k}" if number % 2 else ""
        add_source(home, name=f"huge {number}", location=f"{site.base}/huge?{number}", mapping=mapping)
        site.serve(f"/huge?{number}", body)
    following = home.popen("sources", "follow")
    try:
        status = Path(f"/proc/{following.pid}/status")

        def failed() -> int:
            notified = [
                line["error"] or "" for line in home.lines("sources") if line["name"].startswith("huge")
            ]
            return sum("500,000 entries" in text or "MiB of memory" in text for text in notified)

        eventually(lambda: failed() == 8, timeout=60, what="all lists to be refused")
        limits = Path(f"/proc/{following.pid}/limits").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) << 10  # type: ignore[index]
    finally:
        following.terminate()
        following.communicate(timeout=30)
    assert re.search(rf"Max address space\s+{2 << 30}\s", limits)
    assert peak < 320 << 20, f"{peak >> 20} MiB"
