"""A farm whose broker's passwords were stolen: a worker's, and then the farm's own.

Real processes and a real Redis. Whatever the thief tries is refused, counted, and said to the operator.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Queue
from pytest_django import DjangoDbBlocker
from redis import Redis
from redis.exceptions import ResponseError

from farmwire import orders
from farmwire.envelope import node_id, seal
from farmwire.manifest import Manifest, ManifestEntry
from farmwire.report import Report
from farmwire.shapes import Shape
from hypercore.crypto import KeyPair
from seederfarm.registry.models import Alert, Event, Worker
from workers.state import State

from ...support.controlplane import ControlPlane, WorkersOf
from ...support.databases import FarmDatabase
from ...support.redis import RedisServer
from ...support.waiting import eventually

THIEF = KeyPair.from_seed(b"\x66" * 32)
PASSWORD = "of the farm"


class Farm:
    """Control, two workers, and a Redis that keeps nothing over a restart."""

    def __init__(self, redis: RedisServer, plane: ControlPlane, workers: WorkersOf, place: Path) -> None:
        self.redis, self.plane, self.workers = redis, plane, workers
        self._place = place
        self.celery = celery_at(redis.url)
        seed = (plane.farm.home / "control_key").read_bytes()
        self.plane_id = node_id(KeyPair.from_seed(seed).public_key)

    def row(self, name: str) -> Worker:
        return Worker.objects.get(name=name)

    def wait_seen(self, *names: str) -> None:
        """Until each has reported from now on."""
        now = time.time()

        def seen() -> bool:
            rows = Worker.objects.filter(name__in=names, last_seen_at__isnull=False)
            return sum(row.last_seen_at.timestamp() > now for row in rows if row.last_seen_at) == len(names)

        eventually(seen, timeout=60, what=f"reports of {names}\n{self.plane.tails()}\n{self.workers.tails()}")

    def stolen_login(self, name: str) -> str:
        """From the disk of a worker that does not run."""
        state = State(self._place / f"worker-{name}")
        try:
            farm = state.farm
            assert farm is not None
            return farm.broker
        finally:
            state.close()

    def wait_event(self, kind: str, *words: str) -> Event:
        def found() -> Event | None:
            events = Event.objects.filter(kind=kind)
            return next((event for event in events if all(word in event.text for word in words)), None)

        eventually(lambda: found() is not None, timeout=30, what=f"{kind} {words}\n{self.plane.tails()}")
        event = found()
        assert event is not None
        return event

    def refusals(self) -> list[dict[str, Any]]:
        return [entry for entry in self.redis.client.acl_log() if entry["reason"] != "auth"]


def celery_at(url: str) -> Any:
    app = Celery("somebody", broker=url, fixups=[], set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": orders.KEY_PREFIX}, result_backend=None)
    return app


@pytest.fixture
def farm(
    redis_program: str,
    bootstrap: list[str],
    processes: ExitStack,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Farm]:
    server = RedisServer(password=PASSWORD)
    processes.callback(server.dispose)
    server.start()
    plane = ControlPlane(tmp_path, bootstrap=bootstrap, REDIS_URL=server.url)
    processes.callback(plane.dispose)
    processes.enter_context(django_db_blocker.unblock())
    database = FarmDatabase(f"sqlite:///{plane.farm.database_path}")
    processes.callback(database.close)
    processes.enter_context(database.in_place())
    workers = WorkersOf(plane.home, tmp_path, bootstrap)
    processes.callback(workers.dispose)
    plane.control()
    plane.beat()
    workers.start("alice", "bob")
    yield Farm(server, plane, workers, tmp_path)


def forged(body: Shape, name: str, *, to: str) -> dict[str, object]:
    """Signed by the thief."""
    return seal(body, name=name, to=to, seq=2**40, expires=time.time() + 60, key_pair=THIEF)


def attempt(thief: Any, *words: Any) -> None:
    with pytest.raises(ResponseError, match=r"(?i)noperm|permissions"):
        thief.execute_command(*words)
        pytest.fail(f"{words} was allowed")


@pytest.mark.interop
def test_honest_workers_are_refused_nothing_and_come_back_after_redis_forgot_them(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    users = [user for user in farm.redis.client.acl_users() if "worker" in user]
    assert {user[-52:] for user in users} == {farm.row("alice").node_id, farm.row("bob").node_id}
    answers = farm.celery.control.inspect(timeout=5, limit=3).stats()
    assert sum("seeding" in stats for stats in answers.values()) == 2
    events: set[str] = set()
    with farm.celery.connection_for_read() as connection:
        receiver = farm.celery.events.Receiver(
            connection, handlers={"*": lambda event: events.add(event["type"])}
        )
        eventually(
            lambda: _listen(receiver) and {"worker-heartbeat", "worker-seeding", "task-succeeded"} <= events,
            timeout=30,
            what="events",
        )

    # What alice was given and had not acknowledged when she was killed is given to her again.
    alice = farm.row("alice")
    farm.workers.kill("alice")
    queue, unacked = f"farm:{orders.queue_of(alice.node_id)}", f"farm:{orders.unacked_key(alice.node_id)}"
    client = farm.redis.client
    farm.celery.send_task(orders.REFRESH, args=["x"], queue=Queue(orders.queue_of(alice.node_id)), declare=[])
    message = json.loads(client.rpop(queue))
    client.hset(f"{unacked}.h", "tag", json.dumps([message, "", orders.queue_of(alice.node_id)]))
    client.zadd(f"{unacked}.i", {"tag": 1.0})
    farm.workers.start("alice")
    eventually(lambda: not client.exists(f"{unacked}.h"), timeout=60, what="what was not acknowledged")
    farm.wait_seen("alice", "bob")
    assert farm.refusals() == []
    assert not Event.objects.filter(kind="broker.refused").exists()

    farm.redis.stop()
    farm.redis.start()
    farm.wait_seen("alice", "bob")
    assert set(users) <= set(farm.redis.client.acl_users())
    assert farm.refusals() == []

    # Whoever is retired is out at once, whatever he still has.
    farm.plane.home.lines("worker", "retire", "bob", "--force")
    bob = next(user for user in users if farm.row("bob").node_id in user)
    eventually(lambda: bob not in farm.redis.client.acl_users(), timeout=30, what="the end of an account")


@pytest.mark.interop
def test_a_thief_of_a_workers_password_commands_nobody_and_is_nobody_else(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    farm.workers.kill("bob")
    login = farm.stolen_login("bob")
    alice, bob = farm.row("alice"), farm.row("bob")
    thief = Redis.from_url(login, decode_responses=True, retry=None)
    order = json.dumps({"method": "shutdown", "arguments": {}, "destination": None})
    attempt(thief, "PUBLISH", "farm:/0.celery.pidbox", order)
    attempt(thief, "LPUSH", f"farm:{orders.queue_of(alice.node_id)}", "an order")
    attempt(thief, "BRPOP", f"farm:{orders.queue_of(alice.node_id)}", 1)
    attempt(thief, "SADD", f"farm:_kombu.binding.{orders.queue_of(alice.node_id)}", "a copy for me")
    attempt(thief, "LRANGE", "farm:reports", 0, -1)
    attempt(thief, "LPUSH", "farm:control", "work")
    said = farm.wait_event("broker.refused", "bob", "celery.pidbox")
    assert said.worker == bob
    assert Alert.objects.filter(kind="broker.refused", worker=bob).exists()

    # Reports he may write. They are not signed by whom they say.
    for sender in (alice, bob):
        report = forged(Report(), orders.REPORT, to=farm.plane_id) | {"from": sender.node_id}
        _send(celery_at(login), orders.REPORT, report, orders.REPORTS_QUEUE)
    for name in ("alice", "bob"):
        eventually(
            lambda name=name: "bad_signature" in farm.row(name).refused_reason,
            timeout=30,
            what=f"the refusal of what was said in the name of {name}",
        )
    farm.wait_seen("alice")
    assert farm.workers.running["alice"].process.poll() is None


@pytest.mark.interop
def test_a_thief_of_the_farms_own_password_still_cannot_sign(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    alice = farm.row("alice")
    control = farm.plane.services[0]

    farm.celery.control.shutdown()
    farm.celery.control.revoke("0" * 36, terminate=True)
    farm.celery.control.cancel_consumer(orders.REPORTS_QUEUE)
    farm.wait_event("control.refused", "shutdown", "revoke", "cancel_consumer")

    evil = Manifest(version=10**6, entries=[ManifestEntry(key="ee" * 32)]).to_pages()[0]
    order = forged(evil, orders.SYNC_MANIFEST, to=alice.node_id)
    queue = orders.queue_of(alice.node_id)
    _send(farm.celery, orders.SYNC_MANIFEST, order, queue)
    _send(farm.celery, orders.SYNC_MANIFEST, order | {"from": farm.plane_id}, queue)
    _send(farm.celery, orders.REPORT, forged(Report(), orders.REPORT, to=farm.plane_id), "reports")
    again = _taken(farm.redis)
    for _ in range(2):  # the true one, and its replay
        farm.redis.client.lpush("farm:reports", again)

    for word in ("wrong_sender", "bad_signature", "unsigned"):
        farm.wait_event("engine.refused", word)
    sender = _body(again)[0][0]["from"]
    eventually(
        lambda: "replayed" in Worker.objects.get(node_id=sender).refused_reason,
        timeout=30,
        what="the refusal of a replay",
    )
    assert Alert.objects.filter(kind="worker.stranger").exists()
    farm.wait_seen("alice", "bob")
    assert control.alive
    assert farm.row("alice").manifest_version < 10**6


def _listen(receiver: Any) -> bool:
    with suppress(TimeoutError):
        receiver.capture(limit=5, timeout=2, wakeup=False)
    return True


def _send(app: Any, name: str, sealed: object, queue: str) -> None:
    app.send_task(name, args=[sealed], queue=Queue(queue), declare=[], retry=False)


def _taken(redis: RedisServer) -> str:
    """A message of somebody's, out of the queue before control has it."""
    taken: list[str] = []

    def take() -> bool:
        if (found := redis.client.brpop(["farm:reports"], timeout=5)) is not None:
            taken.append(found[1])
        return bool(taken)

    eventually(take, timeout=60, what="a report")
    return taken[0]


def _body(message: str) -> Any:
    return json.loads(b64decode(json.loads(message)["body"]))
