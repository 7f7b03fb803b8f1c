"""A consumer that takes no messages although some wait and threads are idle."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import bootsteps

from farmwire.tasks import CONTROL_QUEUE, KEY_PREFIX
from seederfarm.control.celery.stall import ALERT, MAX_CHECKS, MAX_RESTARTS, StallDetector, StallGuard
from seederfarm.control.celery.work import WorkCounter
from seederfarm.registry.models import Alert
from workers.transport import Transport

from ..fakes import FakeBroker

THREADS = 4


class FakeRedis:
    """Queues with so many messages."""

    def __init__(self) -> None:
        self.waiting = {KEY_PREFIX + CONTROL_QUEUE: 176}
        self.away = False

    def pipeline(self, transaction: bool) -> FakeRedis:
        assert not transaction
        self.asked: list[str] = []
        return self

    def llen(self, key: str) -> None:
        self.asked.append(key)

    def execute(self) -> list[int]:
        if self.away:
            raise redis.ConnectionError("away")
        return [self.waiting.get(key, 0) for key in self.asked]


class Farm:
    """A guard over a consumer whose callbacks are kept, and over a broker in memory."""

    def __init__(self) -> None:
        self.broker = FakeRedis()
        self.work = WorkCounter()
        self.soon: list[Any] = []
        self.ended: list[bool] = []
        self.consumer = SimpleNamespace(
            connection=object(),
            blueprint=SimpleNamespace(state=bootsteps.RUN),
            pool=SimpleNamespace(num_processes=THREADS),
            call_soon=self.soon.append,
        )
        self.guard = StallGuard(self.work, lambda: self.ended.append(True))
        self.guard._consumer = self.consumer

    def check(self, times: int = MAX_CHECKS + 1) -> None:
        for _ in range(times):
            self.guard._client = self.broker
            self.guard.check()


@pytest.fixture
def stalled(farm: FakeBroker) -> Farm:
    return Farm()


def test_a_consumer_is_restarted_after_so_many_checks_without_progress() -> None:
    detector = StallDetector()
    checks = [detector.check(waiting=1, idle=1, started=5) for _ in range(2 * MAX_CHECKS + 1)]
    assert [number for number, restarts in enumerate(checks) if restarts] == [MAX_CHECKS, 2 * MAX_CHECKS]
    assert detector.restarts == 2


@pytest.mark.parametrize(
    "progress",
    [
        {"waiting": 0, "idle": 1, "started": 5},
        {"waiting": 1, "idle": 0, "started": 5},
        {"waiting": 1, "idle": 1, "started": 6},
    ],
)
def test_checks_are_counted_anew_when_there_is_progress_or_nothing_to_do(progress: dict[str, int]) -> None:
    detector = StallDetector()
    for _ in range(MAX_CHECKS):
        assert not detector.check(waiting=1, idle=1, started=5)
    assert not detector.check(**progress)
    started = progress["started"]
    for _ in range(MAX_CHECKS - 1):
        assert not detector.check(waiting=1, idle=1, started=started)
    assert detector.check(waiting=1, idle=1, started=started)


def test_a_stalled_consumer_loses_its_connection_and_there_is_an_alert(
    stalled: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        stalled.check()
    (lose,) = stalled.soon
    with pytest.raises(Transport.connection_errors):  # after these Celery connects again
        lose()
    assert "176 waited" in Alert.objects.get(kind=ALERT, resolved_at=None).text
    assert "176 waited" in caplog.text
    assert not stalled.ended


def test_a_process_that_stays_stalled_ends(stalled: Farm) -> None:
    stalled.check(MAX_CHECKS * (MAX_RESTARTS + 1))
    assert (len(stalled.soon), stalled.ended) == (MAX_RESTARTS, [])
    stalled.check(1)
    assert (len(stalled.soon), stalled.ended) == (MAX_RESTARTS, [True])


def test_a_task_that_starts_ends_the_run_of_restarts(stalled: Farm) -> None:
    stalled.check(MAX_CHECKS * (MAX_RESTARTS + 1))
    stalled.work.counted(lambda: None)()
    stalled.check(1 + MAX_CHECKS * MAX_RESTARTS)
    assert not stalled.ended


@pytest.mark.parametrize("state", ["no connection", "stopping", "broker away", "threads at work"])
def test_a_consumer_that_cannot_work_is_not_stalled(stalled: Farm, state: str) -> None:
    """One without connection is on its way to one; tasks wait in their threads while the database is away."""

    def check() -> None:
        stalled.check(2 * MAX_CHECKS)

    for _ in range(THREADS if state == "threads at work" else 0):
        check = stalled.work.counted(check)
    if state == "no connection":
        stalled.consumer.connection = None
    elif state == "stopping":
        stalled.consumer.blueprint.state = bootsteps.CLOSE
    stalled.broker.away = state == "broker away"
    check()
    assert not stalled.soon
