"""Acts on drives, sources and workers, and events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ....support.farm_home import FarmHome, OneProcessHome

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmHome]:
    made = OneProcessHome(tmp_path_factory.mktemp("farm") / "home")
    made.lines("init")
    made.lines("add", KEY, OTHER)
    try:
        yield made
    finally:
        made.dispose()


def test_drives_are_paused_and_resumed(home: FarmHome) -> None:
    assert home.lines("pause", KEY, OTHER) == [{"event": "paused", "count": 2}]
    assert home.lines("pause", KEY) == [{"event": "paused", "count": 0}]
    assert {drive["state"] for drive in home.lines("list")} == {"paused"}
    assert home.run("resume", KEY, OTHER).stdout == "Resumed 2 drives.\n"
    done = home.run("pause", "ef" * 32)
    assert done.returncode == 1 and "`seederfarm add KEY` adds it" in done.stderr


def test_priority_proofs_and_pins(home: FarmHome) -> None:
    assert home.lines("priority", "0", KEY) == [{"event": "changed", "count": 1}]
    assert home.lines("prove", KEY) == [{"event": "asked", "copies": 0, "skipped": 0, "wait": 0.0}]
    assert home.lines("pin", KEY, "--none") == [{"event": "unpinned", "count": 0}]
    for wrong in (
        ["expire", KEY], ["pin", KEY], ["pin", KEY, "nobody"], ["priority", "10", KEY],
    ):  # fmt: skip
        assert home.run(*wrong).returncode == 2, wrong


def test_an_expiry_is_shown_as_a_date(home: FarmHome) -> None:
    wanted = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
    assert f" is removed on {wanted} " in home.run("expire", KEY, "--in", "30d").stdout
    assert home.run("expire", KEY, OTHER, "--in", "4w").stdout.startswith("2 drives are removed on ")
    (line,) = home.lines("expire", KEY, "--in", "12h")
    assert datetime.fromisoformat(str(line["expires_at"])) > datetime.now(UTC) + timedelta(hours=11)
    assert home.lines("expire", OTHER, "--never") == [{"event": "changed", "count": 1, "expires_at": None}]
    assert home.run("expire", KEY, "--never").stdout.endswith(" is kept.\n")


@pytest.mark.parametrize("text", ["1", "30", "1.5", "0d", "soon", "9999999999999999999d", "40000d"])
def test_a_time_without_unit_or_sense_removes_nothing(home: FarmHome, text: str) -> None:
    done = home.run("expire", KEY, "--in", text)
    assert done.returncode == 2 and "expected a time with its unit" in done.stderr, done.stderr


def test_a_pin_is_added_to_those_that_there_are(home: FarmHome) -> None:
    made = (
        "from seederfarm.registry.models import *;"
        "[Worker.objects.create(node_id=n*52, name=n, state='active') for n in ('n', 'y')]"
    )
    assert (
        FarmHome.run(home, "shell", stdin=made).returncode == 0
    )  # it reads the process's own standard input
    assert home.lines("pin", OTHER, "n") == [{"event": "pinned", "count": 1}]
    assert home.lines("pin", OTHER, "y") == [{"event": "pinned", "count": 1}]
    assert home.lines("pin", OTHER, "n", "y") == [{"event": "pinned", "count": 0}], "it has both"
    moves = home.lines("plan", "--dry-run")
    short = [move["reason"] for move in moves if move.get("drive") == OTHER and move["event"] == "unplaced"]
    assert sum(reason.startswith("pinned to ") for reason in short) == 2
    assert home.run("pin", OTHER, "--none").stdout == "Unpinned 1 drive.\n"
    assert home.lines("pin", OTHER, "--none") == [{"event": "unpinned", "count": 0}]


def test_sources_are_added_changed_read_and_removed(home: FarmHome) -> None:
    url = "https://lists.example/keys.json"
    assert home.lines("sources", "add", "lists", "http", url, "--every", "10m", "--tag", "sound") == [
        {"event": "added", "source": "lists"}
    ]
    (source,) = home.lines("sources", "list")
    assert (source["location"], source["enabled"]) == (url, True)
    assert home.lines("sources", "read", "lists") == [{"event": "due", "source": "lists"}]
    (changed,) = home.lines("sources", "edit", "lists", "--off", "--priority", "3")
    assert sorted(changed["changed"]) == ["enabled", "priority"]
    assert home.run("sources", "read", "lists").returncode == 1, "it is switched off"
    assert home.run("sources", "add", "lists", "http", url).returncode == 2, "the name is taken"
    assert home.run("sources", "edit", "none", "--off").returncode == 2
    assert home.run("sources", "remove", "lists").returncode == 0
    assert home.lines("sources") == []


def test_workers_are_approved_by_name(home: FarmHome) -> None:
    done = home.run("worker", "approve", "nobody")
    assert done.returncode == 2 and "no worker is called" in done.stderr


def test_events_are_listed(home: FarmHome) -> None:
    assert home.lines("events", "--kind", "worker.lost") == []
    unknown = home.run("events", "--kind", "nosuch")
    assert unknown.returncode == 2 and unknown.stdout == ""
    assert "no event is of kind 'nosuch'" in unknown.stderr and "worker.lost" in unknown.stderr
    assert home.run("events", "--limit", "5").returncode == 0
    assert home.run("events", "--worker", "nobody").returncode == 2


MADE = (
    "from seederfarm.registry.models import Worker;"
    "Worker.objects.create(node_id='b' * 52, name='attic', engine={'blind_peer': {}})"
)


def test_what_apps_may_at_a_blind_peer_is_shown_and_set(home: FarmHome) -> None:
    assert FarmHome.run(home, "shell", stdin=MADE).returncode == 0
    (shown,) = home.lines("worker", "apps", "attic")
    assert shown == {"worker": "attic", "ask": None, "trust": [], "max_cores": None, "max_bytes": None}
    values = ("--ask", "none", "--trust", KEY, "--max-cores", "9", "--max-bytes", "2G")
    (shown,) = home.lines("worker", "apps", "attic", *values)
    assert shown == {"worker": "attic", "ask": [], "trust": [KEY], "max_cores": 9, "max_bytes": 2 * 10**9}
    done = home.run("worker", "apps", "attic", "--trust", "none", "--max-cores", "none")
    assert "is a blind peer\nmay ask    none but trusted apps\ntrusted    none\n" in done.stdout
    assert "no bound of the farm" in done.stdout and "at most 2.0 GB of one app" in done.stdout
    for option, wrong in (
        ("--ask", "friends"),
        ("--max-cores", "many"),
        ("--max-bytes", "x"),
        ("--trust", "5"),
    ):
        done = home.run("worker", "apps", "attic", option, wrong)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


NEEDED = (
    "from django.utils import timezone;from seederfarm.registry import stored_health;"
    "from seederfarm.registry.models import *;now = timezone.now();"
    f"d = Drive.objects.get(key='{KEY}');"
    "Drive.objects.filter(pk=d.pk).update(replicas_min=2, replicas_max=2, state='active');"
    "new = {'state': 'active', 'last_seen_at': now};"
    "ws = [Worker.objects.create(node_id=c * 52, name=c * 2, **new) for c in '89'];"
    "[Replica.objects.create(drive=d, worker=w, phase='complete', last_proven_at=now, completed_at=now,"
    " total_blocks=9, have_blocks=9, length=9, proven_length=9) for w in ws];"
    "stored_health.refresh([d.pk])"
)


def test_a_worker_that_drives_need_is_retired_after_a_yes(home: FarmHome) -> None:
    assert FarmHome.run(home, "shell", stdin=NEEDED).returncode == 0
    refused = home.run("worker", "retire", "88")
    assert refused.returncode == 1
    assert "1 drive has fewer copies than the minimum without it: drain it first" in refused.stderr
    assert (
        "`seederfarm worker drain 88`" in refused.stderr and "--yes retires it all the same" in refused.stderr
    )
    assert home.lines("worker", "retire", "88", "--yes") == [
        {"worker": "88", "state": "retired", "changed": True}
    ]
    assert home.run("worker", "drain", "88").stdout == "88 is retired, so nothing changed.\n"
    last = home.run("worker", "retire", "99", "--yes")
    assert last.returncode == 1 and "The last copies: " in last.stderr and "--force" in last.stderr
