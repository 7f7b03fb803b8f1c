"""`plan --dry-run`: what would be done, and nothing is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypercore.keys import encode_key

from ....support.farm_home import FarmHome, OneProcessHome

KEY, OTHER, LARGE = "ab" * 32, "cd" * 32, "ef" * 32
WORKERS = f"""
from django.utils import timezone
from seederfarm.registry.models import Drive, Replica, Worker
def worker(name, number, **values):
    return Worker.objects.create(name=name, node_id=number * 52, last_seen_at=timezone.now(),
        free_bytes=10**9, capacity_bytes=10**9, **values)
worker("pi", "y", state="active")
gone = worker("old\\x1b[31m", "b", state="retired")
Drive.objects.filter(key="{LARGE}").update(byte_length=10**12)
Drive.objects.filter(key="{KEY}").update(label="<tides>\\x1b[31m", byte_length=5000)
Replica.objects.create(drive=Drive.objects.get(key="{OTHER}"), worker=gone)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmHome]:
    made = OneProcessHome(tmp_path_factory.mktemp("farm") / "home")
    made.lines("init")
    made.lines("add", KEY, OTHER, LARGE)
    try:
        yield made
    finally:
        made.dispose()


def test_a_plan_is_shown_and_not_carried_out(home: FarmHome) -> None:
    *moves, totals = home.lines("plan", "--dry-run")
    assert {move["event"] for move in moves} == {"unplaced"}
    assert {move["drive"] for move in moves} == {KEY, OTHER, LARGE}
    assert "no worker yet" in moves[0]["reason"] and totals["unplaced"] == 3

    done = FarmHome.run(home, "shell", stdin=WORKERS)  # it reads the process's own standard input
    assert done.returncode == 0 and not done.stderr, done.stderr
    *moves, totals = home.lines("plan", "--dry-run")
    by_kind = {kind: [move for move in moves if move["event"] == kind] for kind in ("assign", "release")}
    assert {(move["drive"], move["worker"]) for move in by_kind["assign"]} == {(KEY, "pi"), (OTHER, "pi")}
    (released,) = by_kind["release"]
    assert (released["drive"], released["reason"]) == (OTHER, "the worker is retired")
    (short,) = (move for move in moves if move["event"] == "unplaced")
    assert short["drive"] == LARGE and short["missing"] > 0
    assert "1 worker short of room (the roomiest has" in short["reason"]
    assert totals == {
        "event": "plan", "drives": 3, "assign": 2, "release": 1, "unplaced": 1,
        "bytes": by_kind["assign"][0]["bytes"] + by_kind["assign"][1]["bytes"], "not_listed": 0,
    }  # fmt: skip
    assert home.lines("plan", "--dry-run")[-1] == totals, "nothing was changed"
    assert home.lines("show", KEY)[0]["copies"] == []


def test_people_get_a_table_without_control_characters(home: FarmHome) -> None:
    shown = home.run("plan", "--dry-run")
    assert shown.returncode == 0 and "\x1b" not in shown.stdout
    assert encode_key(bytes.fromhex(KEY)) in shown.stdout and "new copy" in shown.stdout
    assert "The next plan: 2 new copies (1.1 MB to download), 1 release" in shown.stdout


def test_plans_are_carried_out_by_the_farm_alone(home: FarmHome) -> None:
    done = home.run("plan")
    assert done.returncode == 2 and "--dry-run" in done.stderr
