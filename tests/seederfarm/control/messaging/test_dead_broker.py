"""A broker that ended, and one that hangs: changes wait for neither; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from seederfarm.control.messaging import outbox as outbox_module
from seederfarm.control.messaging.broker import BrokerDown
from seederfarm.control.messaging.celery_broker import AWAY_FOR, CeleryBroker
from seederfarm.control.messaging.outbox import outbox
from seederfarm.registry.models import Drive

from ....support.farm_home import OneProcessHome
from ....support.redis import RedisServer
from ..conftest import StartBroker

KEY = "ab" * 32
MANY = 200
"""Messages in a row. Had each to wait, a test would end by its timeout."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(redis_program: str, start_broker: StartBroker) -> RedisServer:
    return start_broker(RedisServer())


def waiting(server: RedisServer) -> int:
    return int(server.client.llen("farm:control"))


def end(server: RedisServer, how: str) -> None:
    if how == "stops":
        server.stop()
    else:
        server.freeze()


def come_back(server: RedisServer, how: str) -> None:
    if how == "stops":
        server.start()
    else:
        server.thaw()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["stops", "hangs"])
def test_a_sender_waits_once_and_sends_again_when_the_broker_is_back(server: RedisServer, how: str) -> None:
    clock = Clock()
    broker = CeleryBroker(clock)
    broker.defer("control.reconcile", [])
    assert waiting(server) == 1
    end(server, how)
    for _ in range(MANY):
        with pytest.raises(BrokerDown):
            broker.defer("control.reconcile", [])
    come_back(server, how)
    with pytest.raises(BrokerDown):
        broker.defer("control.reconcile", [])  # not tried so soon
    clock.now += AWAY_FOR
    before = waiting(server)
    broker.defer("control.reconcile", [])
    assert waiting(server) == before + 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["stops", "hangs"])
def test_pages_say_that_a_change_is_saved_and_when_workers_hear_of_it(
    server: RedisServer, client: Client, how: str
) -> None:
    client.force_login(User.objects.create_superuser("admin"))

    def output_after_adding(key: str) -> list[str]:
        form: dict[str, Any] = {"keys": key, "replicas_min": 1, "replicas_max": 1, "priority": 5}
        answer = client.post(reverse("admin:registry_drive_add"), form, follow=True)
        assert Drive.objects.filter(key=key).exists(), answer.content.decode()
        return [str(message) for message in answer.context["messages"]]

    assert outbox_module.BROKER_DOWN not in output_after_adding(KEY)
    end(server, how)
    assert outbox_module.BROKER_DOWN in output_after_adding("cd" * 32)
    come_back(server, how)
    with outbox.through(CeleryBroker()):  # some seconds later
        assert outbox_module.BROKER_DOWN not in output_after_adding("ef" * 32)


@pytest.fixture
def commands(redis_program: str, tmp_path: Path) -> Iterator[tuple[OneProcessHome, RedisServer]]:
    server = RedisServer()
    server.start()
    home = OneProcessHome(tmp_path / "home", REDIS_URL=server.url)
    try:
        yield home, server
    finally:
        home.dispose()
        server.dispose()


@pytest.mark.timeout(90)
def test_commands_say_it_too(commands: tuple[OneProcessHome, RedisServer]) -> None:
    home, server = commands
    assert home.run("init").returncode == 0
    assert "broker" not in home.run("add", KEY).stderr
    server.freeze()
    done = home.run("add", "cd" * 32)
    assert done.returncode == 0
    assert done.stderr == outbox_module.BROKER_DOWN + "\n"
    refused = home.run("worker", "enroll")
    assert refused.returncode == 1 and "the broker cannot be reached" in refused.stderr
    server.thaw()
