"""Tasks and a database that goes away under them."""

from __future__ import annotations

import threading

import pytest
from celery.exceptions import Reject
from django.db import InterfaceError, OperationalError

from seederfarm.control.celery import retry

from ..fakes import FakeBroker


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)


class Work:
    """Fails so many times before it is done."""

    __name__ = "work"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.attempts: list[object] = []

    def __call__(self, *args: object) -> None:
        self.attempts.append(args)
        if len(self.attempts) <= self.failures:
            raise (OperationalError, InterfaceError)[len(self.attempts) % 2]("the connection is lost\nLINE 1")


def test_a_task_whose_database_was_away_is_done_when_it_is_back(farm: FakeBroker) -> None:
    work = Work(failures=3)
    retry.retry_on_db_outage(work)("a message")
    assert work.attempts == [("a message",)] * 4


def test_a_task_that_fails_with_a_database_that_answers_is_given_up_at_last(farm: FakeBroker) -> None:
    work = Work(failures=retry.ATTEMPTS)
    with pytest.raises((OperationalError, InterfaceError)):
        retry.retry_on_db_outage(work)()
    assert len(work.attempts) == retry.ATTEMPTS


def test_a_task_that_waits_gives_its_message_back_when_control_ends() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Reject) as caught:
        retry.retry_on_db_outage(Work(failures=1), stopping)("a message")
    assert caught.value.requeue
