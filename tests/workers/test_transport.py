"""Messages chosen by a client that may write into a queue, on their way through kombu."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis.exceptions
from kombu import Connection, Consumer, Exchange, Queue
from kombu.common import ignore_errors

from workers import transport
from workers.transport import TaskFilter

from ..support.redis import RedisServer

TASK = "control.report"
WITHIN = 60.0
"""Seconds for a message that is in Redis to come out, on a busy machine."""


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
                while len(rejected) == before:
                    connection.drain_events(timeout=WITHIN)
                assert len(rejected) == before + 1, name
            server.client.lpush("reports", message(body_encoding="utf-8"))
            connection.drain_events(timeout=WITHIN)
    assert taken == [[{"from": "x"}]]


def test_a_broker_that_goes_while_messages_are_at_work_ends_no_process(
    server: RedisServer, rejected: list[str]
) -> None:
    """The first channel to close fails to give its messages back. Celery closes the rest in a second step,
    and ends for any error that is none of the connection's."""
    connection = Connection(server.url, transport=transport.Transport)
    channels = [connection.default_channel, connection.channel()]
    at_work: list[Any] = []
    for number, channel in enumerate(channels):
        queue: Any = Queue(f"q{number}", Exchange("farm", type="direct"), routing_key=f"q{number}")
        consumer: Any = Consumer(channel, [queue], callbacks=[lambda _, got: at_work.append(got)])
        consumer.consume()
        info = {"exchange": "farm", "routing_key": f"q{number}"}
        text = message(body_encoding="utf-8", delivery_tag=f"tag {number}", delivery_info=info)
        server.client.lpush(f"q{number}", text)
        connection.drain_events(timeout=WITHIN)
    assert len(at_work) == 2
    server.stop()
    connection.collect(socket_timeout=1.0)
    ignore_errors(connection, connection.close)
    for got in at_work:
        got.ack_log_error(logging.getLogger(__name__), connection.connection_errors)


@pytest.mark.parametrize("finish", ["ack", "reject", "requeue"])
def test_a_message_that_could_not_be_acknowledged_leaves_its_place_to_the_next(
    server: RedisServer, rejected: list[str], monkeypatch: pytest.MonkeyPatch, finish: str
) -> None:
    """Its place would be taken for as long as the connection lasts. Control had threads without work and a
    queue that grew, once as many acknowledgements had failed as it may prefetch messages."""
    taken: list[Any] = []

    @contextmanager
    def away(*_: object) -> Iterator[Any]:
        raise redis.exceptions.TimeoutError("Timeout reading from socket")
        yield

    with Connection(server.url, transport=transport.Transport) as connection:
        channel = connection.default_channel
        channel.basic_qos(prefetch_count=1)
        queue: Any = Queue("reports", Exchange("farm", type="direct"), routing_key="reports")
        consumer: Any = Consumer(channel, [queue], callbacks=[lambda _, got: taken.append(got)])
        consumer.consume()
        server.client.lpush("reports", *[message(body_encoding="utf-8")] * 2)
        connection.drain_events(timeout=WITHIN)
        assert not channel.qos.can_consume()
        with monkeypatch.context() as patch, suppress(redis.exceptions.TimeoutError):
            patch.setattr(channel, "conn_or_acquire", away)
            getattr(taken[0], finish)()
        connection.drain_events(timeout=WITHIN)
        assert len(taken) == 2
        assert server.client.hlen("unacked") == 2, "Redis delivers the first one again after a while"
