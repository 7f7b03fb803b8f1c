"""Reports into a real Redis while no client reads them: what waits there is bounded, and nothing is lost."""

from __future__ import annotations

import json
import random
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from farmwire import tasks
from farmwire.envelope import node_id
from farmwire.report import MAX_REPLICAS, Phase, ReplicaStatus
from hypercore.crypto import KeyPair
from workers.agent import agent as agent_module
from workers.agent import pending_reports as reports_module
from workers.agent import reporter as reporter_module
from workers.agent.agent import Agent
from workers.agent.app import create_app
from workers.agent.pending_reports import REPORT_ALL_INTERVAL
from workers.agent.reporter import FULL_BYTES, QUIET_BYTES, SILENT_ABOVE, Reporter
from workers.agent.settings import WorkerSettings
from workers.agent.spread import Spread
from workers.state import JoinedFarm, State

from ...support.redis import RedisServer

CONTROL = KeyPair.from_seed(b"\x07" * 32)
HEARTBEAT = 15.0
WORKERS = 4
COPIES = 2000


class Clock:
    """Seconds for what the reporters time. Envelopes keep the true time."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (agent_module, reporter_module, reports_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def reporters(
    redis_server: RedisServer, tmp_path: Path, clock: Clock, processes: ExitStack
) -> Iterator[list[Reporter]]:
    """Of workers with copies, whose engines do not run."""
    made = []
    for number in range(WORKERS):
        data = tmp_path / f"worker-{number}"
        state = processes.enter_context(_closing(State(data)))
        state.join(JoinedFarm("test", node_id(CONTROL.public_key), redis_server.url, "s" * 24))
        settings = WorkerSettings(data=data, name=f"w{number}", heartbeat=HEARTBEAT)
        agent = Agent(settings, state, KeyPair.from_seed(bytes([number + 1]) * 32))
        agent.reports.replicas.assign(f"{number:02x}{copy:062x}" for copy in range(COPIES))
        made.append(Reporter(create_app(agent, redis_server.url), agent))
    yield made


class _closing:
    def __init__(self, state: State) -> None:
        self._state = state

    def __enter__(self) -> State:
        return self._state

    def __exit__(self, *_: object) -> None:
        self._state.close()


def queue_of(reporter: Reporter) -> str:
    return f"farm:{tasks.report_queue_of(reporter._agent.id)}"


def bodies(redis: RedisServer) -> list[dict[str, Any]]:
    """Take all reports, those of each worker the oldest first."""
    found = []
    for key in redis.client.keys("farm:reports.*"):
        while (message := redis.client.rpop(key)) is not None:
            sealed = json.loads(b64decode(json.loads(message)["body"]))[0][0]
            found.append(sealed["body"] | {"from": sealed["from"]})
    return found


def beat(reporters: list[Reporter], clock: Clock, seconds: float) -> None:
    """As they would in that time, in no particular order."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += HEARTBEAT
        for reporter in random.sample(reporters, len(reporters)):
            reporter._send_all(True)


@pytest.mark.timeout(240)
def test_reports_that_wait_for_control_are_bounded_and_all_are_sent_later(
    reporters: list[Reporter], clock: Clock, redis_server: RedisServer
) -> None:
    client = redis_server.client
    first: list[dict[str, Any]] = []
    for _ in range(40):  # control takes them
        beat(reporters, clock, HEARTBEAT)
        first += bodies(redis_server)
    assert {report["key"] for body in first for report in body["replicas"]} == {
        key for reporter in reporters for key in reporter._agent.reports.replicas._known
    }
    clock.now += REPORT_ALL_INTERVAL
    before = int(client.info("memory")["used_memory"])
    beat(reporters, clock, 4 * 3600)
    for reporter in reporters:
        assert client.llen(queue_of(reporter)) == SILENT_ABOVE + 1
        assert int(client.memory_usage(queue_of(reporter)) or 0) < QUIET_BYTES + FULL_BYTES + 200 * 1024
    full = [body for body in bodies(redis_server) if body["replicas"]]
    assert WORKERS <= len(full) <= 4 * WORKERS

    # What happened meanwhile is told when control is back, to the last copy.
    for reporter in reporters:
        for key in list(reporter._agent.reports.replicas._known):
            reporter._agent.reports.replicas.record(ReplicaStatus(key=key, phase=Phase.LOOKING))
        reporter._agent.reports.record_event("something", "while control was away")
    for reporter in reporters:
        client.lpush(queue_of(reporter), *["x" * 1000] * (SILENT_ABOVE + 1))
    beat(reporters, clock, 10 * 60)
    for reporter in reporters:
        assert client.llen(queue_of(reporter)) == SILENT_ABOVE + 1, "not even heartbeats"
    assert int(client.info("memory")["used_memory"]) - before < WORKERS << 20
    client.delete(*map(queue_of, reporters))
    notified: list[dict[str, Any]] = []
    for reporter in reporters:
        while True:
            reporter._send_all(True)
            notified += bodies(redis_server)
            if not reporter._agent.reports.replicas.has_news:
                break
    phases = {report["key"]: report["phase"] for body in notified for report in body["replicas"]}
    assert len(phases) == WORKERS * COPIES and set(phases.values()) == {"looking"}
    assert {body["from"] for body in notified if body["events"]} == {r._agent.id for r in reporters}


def test_a_full_report_is_spread_over_its_interval(
    reporters: list[Reporter], clock: Clock, redis_server: RedisServer
) -> None:
    reporter = reporters[0]
    for _ in range(8):  # control takes them
        beat([reporter], clock, HEARTBEAT)
        bodies(redis_server)
    clock.now += REPORT_ALL_INTERVAL
    sizes = []
    for _ in range(int(REPORT_ALL_INTERVAL / HEARTBEAT) + 2):
        clock.now += HEARTBEAT
        reporter._send_all(True)
        sizes.append(sum(len(body["replicas"]) for body in bodies(redis_server)))
    assert sum(sizes) >= COPIES
    assert max(sizes) <= MAX_REPLICAS and sum(size > 0 for size in sizes) > 20


def test_an_allowance_grows_with_the_clock_up_to_what_there_is() -> None:
    spread = Spread()
    assert spread.budget(5.0) == 0
    spread.begin(1000, seconds=100.0, first=10, now=0.0)
    assert spread.budget(0.0) == 10
    spread.used(10)
    assert spread.budget(0.0) == 0
    assert spread.budget(50.0) == 500
    spread.used(500)
    assert spread.budget(1000.0) == 490
