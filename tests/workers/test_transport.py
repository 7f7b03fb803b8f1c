"""Messages chosen by a client that may write into a queue, on their way through kombu."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from workers import transport
from workers.transport import TaskFilter

from ..support.redis import RedisServer

TASK = "control.report"


@pytest.fixture
def server(redis_program: str) -> Iterator[RedisServer]:
    server = RedisServer(server=redis_program)
    try:
        server.start()
        yield server
    finally:
        server.dispose()


@pytest.fixture
def rejected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reasons: list[str] = []
    found = TaskFilter()
    found.allow("reports", [TASK], max_argument_bytes=1 << 20, rejected=lambda _, why: reasons.append(why))
    monkeypatch.setattr(transport, "task_filter", found)
    return reasons


def message(**properties: Any) -> str:
    return json.dumps(
        {
            "body": json.dumps([[{"from": "x"}], {}, {}]),
            "content-type": "application/json",
            "headers": {"task": TASK},
            "properties": {"delivery_tag": "t", **properties},
        }
    )


HOSTILE = {
    "no JSON": "[",
    "deep": "[" * 100_000,
    "a list": "[1]",
    "no properties": "{}",
    "an unknown encoding": message(body_encoding="rot13"),
    "an encoding in capitals": message(body_encoding="BASE64"),
    "a number": message(body_encoding=5),
    "an object": message(body_encoding={"base64": 1}),
    "a list as encoding": message(body_encoding=["base64"]),
    "no base64": message(body_encoding="base64"),
}


def test_no_message_ends_its_consumer(server: RedisServer, rejected: list[str]) -> None:
    """An exception that is none of the connection's ends Celery's consumer, and the control plane with it."""
    taken: list[Any] = []

    def take(_: object, got: Any) -> None:
        taken.append(got.payload["args"])
        got.ack()

    with Connection(server.url, transport=transport.Transport) as connection:
        queue: Any = Queue("reports", Exchange("farm", type="direct"), routing_key="reports")
        with connection.Consumer([queue], callbacks=[take], accept=["json"]):
            for name, text in HOSTILE.items():
                before = len(rejected)
                server.client.lpush("reports", text)
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.3)
                assert len(rejected) == before + 1, name
            server.client.lpush("reports", message(body_encoding="utf-8"))
            connection.drain_events(timeout=5)
    assert taken == [[{"from": "x"}]]
