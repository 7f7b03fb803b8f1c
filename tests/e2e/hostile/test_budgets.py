"""Hundreds of connections that do the worst at once, beside official peers who only want their drive.

The time of the innocent and the engine's memory are compared with those of a calm run of the same engine
just before.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ...support.attackers import KINDS
from ...support.content import File
from ...support.json_process import CommandedProcess, Event, ProcessFailed
from ...support.node import Publisher, Reader, Testnet
from ...support.paths import ROOT
from ...support.seed_process import SeedProcess, bootstrap_options, environment

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

CONNECTIONS = 512
"""All that an engine keeps of peers that dial it, unless it is configured otherwise."""
HOSTS = 4
"""One host may have a quarter of them."""
MIN_CONNECTIONS = 400
"""Hostile ones that are open when the first innocent comes: some are always being cut off, and dial again. On
a busy machine more and more of them time out, since their process is niced."""
MIN_MESSAGES_PER_SECOND = 250
"""Hostile ones that the engine takes in while it serves the innocent."""

WARM_UP_SECONDS = 4.0
"""Until what each of the attackers got for nothing at first is used up."""

CALM, ATTACKED = 3, 5
"""Drives that are brought to a reader in calm, and at most under attack. The best of each are compared:
other processes delay some, and the first publisher looks for the engine before that is announced."""
MEETING_SECONDS = 15
"""A publisher that has not given its drive to the engine by then counts as not served."""
MAX_SLOWDOWN = 2.0
GROWTH_MB = 96
RESERVE_MB = 128
"""Address space beyond that: of threads that have not run before, and what is mapped and never used."""
MAX_STALL_MS = 100
"""Of the loop's own work, in all periods of 5 seconds but one: a full collection of garbage takes 40 to 70 ms
with so many connections, and more beside other processes."""

FILES = [File(path=f"/{number}.bin", size=2_000_000) for number in range(6)]


class Attackers(CommandedProcess):
    """See `support/attackers.py`."""

    ends_with_stdin = True

    def __init__(self, bootstrap: list[str]) -> None:
        command = [sys.executable, "-m", "tests.support.attackers", *bootstrap_options(bootstrap)]
        super().__init__(
            "attackers", command, env=environment() | {"PYTHONPATH": str(ROOT)}, start_timeout=30
        )


class Innocent(NamedTuple):
    """A publisher whose drive no other peer has."""

    publisher: Publisher
    drive: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.drive["key"])


class Scene(NamedTuple):
    attackers: Attackers
    farm: SeedProcess
    innocents: list[Innocent]
    bootstrap: list[str]
    folder: Path

    def bring(self, innocent: Innocent) -> float:
        """Seconds until a reader has all of the drive from the engine, which had nothing of it. Neither the
        reader nor the publisher can be dialled: they meet the engine alone."""
        publisher, drive = innocent
        reader = Reader(self.folder / f"reader of {innocent.key}", self.bootstrap)
        try:
            began = time.monotonic()
            publisher.ask("join", name="drive", server=False)
            opening = reader.send("open", name="drive", key=innocent.key, kind="drive")
            try:
                self.farm.wait_synced(innocent.key, drive["core"]["length"], timeout=MEETING_SECONDS)
            except ProcessFailed:
                return inf  # another try may
            reader.answer(opening)
            reader.complete("drive", drive)
            return time.monotonic() - began
        finally:
            reader.dispose()

    def memory(self, name: str) -> float:
        """MB of the engine, by the names of proc(5)."""
        status = Path(f"/proc/{self.farm.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.farm.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def reset_peak(self) -> None:
        """Linux: proc(5), clear_refs."""
        Path(f"/proc/{self.farm.pid}/clear_refs").write_text("5")

    def bound_address_space(self, megabytes: float) -> None:
        size = int(megabytes * 2**20)
        resource.prlimit(self.farm.pid, resource.RLIMIT_AS, (size, size))

    def stats(self, since: int) -> list[Event]:
        """Those lines of the engine, the last one of which is of now."""
        now = self.farm.position()
        self.farm.wait_for(
            lambda event: event.get("event") == "stats", timeout=15, since=now, what="stats after the attack"
        )
        return [event for event in self.farm.events[since:] if event["event"] == "stats"]


@pytest.fixture
def scene(testnet: Testnet, tmp_path: Path) -> Iterator[Scene]:
    bootstrap, innocents = testnet.bootstrap, []
    with ExitStack() as stack:
        for number in range(CALM + ATTACKED):
            publisher = Publisher(tmp_path / f"publisher-{number}", bootstrap)
            stack.callback(publisher.dispose)
            publisher.make("drive", "drive")
            publisher.put_all("drive", FILES)
            innocents.append(Innocent(publisher, publisher.ask("describe", name="drive")))
        attackers = Attackers(bootstrap)
        stack.callback(attackers.dispose)
        keys = [innocent.key for innocent in innocents]
        farm = SeedProcess(tmp_path / "farm", bootstrap, *keys, attackers.ready["drive"])
        stack.callback(farm.dispose)
        farm.wait_ready()
        yield Scene(attackers, farm, innocents, bootstrap, tmp_path)


def test_five_hundred_attackers_cost_the_innocent_less_than_twice_the_time(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """The attackers know all keys. Their process is niced, since the computer of an attacker takes no time of
    ours. What they make the engine do takes its time, and is counted."""
    farm, attackers, innocents = scene.farm, scene.attackers, scene.innocents
    calm = [scene.bring(innocent) for innocent in innocents[:CALM]]
    before = scene.memory("VmRSS")
    scene.bound_address_space(scene.memory("VmSize") + GROWTH_MB + RESERVE_MB)
    scene.reset_peak()
    ready = farm.wait_ready()
    attackers.ask(
        "connect",
        public_key=ready["public_key"],
        port=ready["port"],
        keys=[innocent.key for innocent in innocents],
        count=CONNECTIONS,
        enough=CONNECTIONS - 2 * len(innocents),
        hosts=HOSTS,
    )
    since = farm.position()
    attackers.ask("attack")
    time.sleep(WARM_UP_SECONDS)
    deadline = time.monotonic() + WARM_UP_SECONDS + 20
    while (missing := KINDS.keys() - attackers.ask("count")["taken"].keys()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not missing, "kinds of attack that the engine took nothing of"
    counts, attack = [attackers.ask("count")], scene.stats(since)[-1]
    began, worked = time.monotonic(), scene.cpu_seconds()
    attacked: list[float] = []
    for innocent in innocents[CALM:]:
        if len(attacked) >= CALM and min(attacked) < MAX_SLOWDOWN * min(calm):
            break
        attacked.append(scene.bring(innocent))
        counts.append(attackers.ask("count"))
    seconds = time.monotonic() - began
    farm.wait_synced(attackers.ready["drive"])
    share = (scene.cpu_seconds() - worked) / seconds
    growth = scene.memory("VmHWM") - before
    stats = scene.stats(since)
    messages = (sum(counts[-1]["taken"].values()) - sum(counts[0]["taken"].values())) / seconds
    figures = {
        "calm_seconds": calm,
        "attacked_seconds": attacked,
        "growth_mb": growth,
        "processor_share": share,
        "messages_per_second": messages,
        "counts": counts,
    }
    with capsys.disabled():
        for line in (figures, *stats):
            print(json.dumps(line))  # noqa: T201
    assert counts[0]["open"] >= MIN_CONNECTIONS
    assert attack["connections"] >= MIN_CONNECTIONS
    assert messages >= MIN_MESSAGES_PER_SECOND
    assert counts[-1]["datagrams"]
    assert inf not in attacked
    assert min(attacked) < MAX_SLOWDOWN * min(calm)
    assert growth <= GROWTH_MB
    *others, longest = sorted(event["max_busy_ms"] for event in stats)
    assert max(others) < MAX_STALL_MS
    assert longest < 2 * MAX_STALL_MS
    assert farm.running
    assert {event["code"] for event in farm.of("error")} <= {"PEER_BACKOFF"}  # of attackers
    farm.check_contract()
