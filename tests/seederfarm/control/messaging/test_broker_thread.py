"""Threads of control over the broker: one each, turn after turn, whatever goes wrong."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import redis

from seederfarm.control.accounts.watch import POLL_EVERY, Watch
from seederfarm.control.messaging.broker_thread import BrokerThread
from seederfarm.control.messaging.collector import POLL_INTERVAL, RETRY_INTERVAL, Collector


class Counting(BrokerThread):
    NAME = "counting"
    TIMEOUT = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []
        self.enough = threading.Event()

    def _turn(self) -> float:
        self.threads.append(threading.current_thread())
        if len(self.threads) < 3:
            return 0.0
        self.enough.set()
        return 3600.0  # it is a daemon


def test_one_thread_takes_turns_however_often_it_is_started() -> None:
    counting = Counting()
    counting.start()
    counting.start()
    assert counting.enough.wait(10)
    (thread,) = set(counting.threads)
    assert (thread.name, thread.daemon, len(counting.threads)) == ("counting", True, 3)


def test_the_connection_is_kept_until_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def connect(url: str, **options: Any) -> object:
        made.append(options)
        return object()

    monkeypatch.setattr(redis.Redis, "from_url", connect)
    watch = Watch()
    first = watch._connected()
    assert watch._connected() is first
    watch._client = None
    assert watch._connected() is not first
    assert [options["socket_timeout"] for options in made] == [Watch.TIMEOUT] * 2
    assert made[0]["single_connection_client"] and made[0]["decode_responses"]


def test_a_collector_logs_once_that_the_broker_is_away_and_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Any] = [redis.ConnectionError("away"), OSError("away"), 0, 2, ValueError("odd")]

    def collect() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)

    collector = Collector()
    monkeypatch.setattr(collector, "collect", collect)
    pauses = []
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            collector._client = object()
            pauses.append(collector._turn())
    assert pauses == [RETRY_INTERVAL, RETRY_INTERVAL, POLL_INTERVAL, 0.0, RETRY_INTERVAL]
    assert collector._client is None, "it connects anew after whatever went wrong"
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_a_watch_goes_on_after_a_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    monkeypatch.setattr("seederfarm.control.accounts.watch.connections.close_all", lambda: None)

    def poll() -> None:
        raise ValueError("odd")

    monkeypatch.setattr(watch, "poll", poll)
    assert watch._turn() == POLL_EVERY
    assert "the next one follows" in caplog.text
