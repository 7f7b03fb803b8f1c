"""Health checks: what they answer when parts of the farm are away."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from seederfarm import health_checks
from seederfarm.control.messaging.broker import BrokerDown
from seederfarm.control.messaging.outbox import outbox
from seederfarm.health_checks import FRESH, MAX_SILENCE, Readiness
from seederfarm.registry.models import ControlPulse

from .control.fakes import FakeBroker

pytestmark = pytest.mark.usefixtures("database")


class DeadBroker(FakeBroker):
    def waiting(self, queue: str) -> int:
        raise BrokerDown("redis://:pa55word@10.0.0.1 does not answer")


def test_a_farm_is_ready_while_control_the_database_and_the_broker_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(health_checks, "readiness", Readiness(lambda: clock[0]))

    def answer(broker: FakeBroker) -> tuple[int, str]:
        clock[0] += FRESH
        with outbox.through(broker):
            response = Client().get("/readyz")
        return response.status_code, response.text

    assert answer(FakeBroker()) == (503, "control has not run yet\n")
    ControlPulse.objects.create(at=timezone.now())
    assert answer(FakeBroker()) == (200, "ok\n")
    assert answer(DeadBroker()) == (503, "the broker cannot be reached\n"), "and no password"
    ControlPulse.objects.update(at=timezone.now() - MAX_SILENCE - timedelta(seconds=5))
    status, text = answer(FakeBroker())
    assert status == 503 and re.fullmatch(r"control, or beat, has done nothing for 6\d s\n", text)
    monkeypatch.setattr(ControlPulse.objects, "filter", _fail)
    status, text = answer(DeadBroker())
    assert (status, text) == (503, "the database cannot be reached\nthe broker cannot be reached\n")


def _fail(**_: object) -> None:
    raise OperationalError("connection to server at 10.0.0.1 failed")


def test_many_questions_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    monkeypatch.setattr(health_checks, "_broker", lambda: reads.append("") or [])
    clock = [0.0]
    readiness = Readiness(lambda: clock[0])
    for _ in range(50):
        readiness.reasons()
    assert len(reads) == 1
    clock[0] += FRESH
    readiness.reasons()
    assert len(reads) == 2


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
def test_a_process_lives_whatever_else_does(path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.text) == (200, "ok\n")
    assert Client().post(path).status_code == 405
