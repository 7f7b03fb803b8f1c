"""A farm whose broker's passwords were stolen: a worker's, and then the farm's own.

Real processes and a real Redis. Whatever the thief tries is refused, counted, and reported to the operator.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from kombu.entity import Queue
from redis import Redis

from farmwire import tasks
from farmwire.assignment import Assignment, AssignmentEntry
from farmwire.report import Report
from seederfarm.registry.models import Event, Worker

from ...support.redis import RedisServer
from ...support.waiting import eventually
from .thief import Farm, attempt, body_of, celery_at, forged, post


def on_old_redis(farm: Farm) -> bool:
    """Whether rights are per command only, so that workers publish nothing at all (docs/security.md)."""
    return farm.redis.version < (7, 0)


@pytest.mark.interop
def test_honest_workers_are_refused_nothing_and_come_back_after_redis_forgot_them(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    users = [user for user in farm.redis.client.acl_users() if "worker" in user]
    assert {user[-52:] for user in users} == {farm.row("alice").node_id, farm.row("bob").node_id}
    answers = farm.celery.control.inspect(timeout=5, limit=3).stats()
    assert sum("seeding" in stats for stats in answers.values()) == 2
    events: set[str] = set()
    expected = (
        {"worker-heartbeat", "task-succeeded"}
        if on_old_redis(farm)
        else {"worker-heartbeat", "worker-seeding", "task-succeeded"}
    )
    with farm.celery.connection_for_read() as connection:
        receiver = farm.celery.events.Receiver(
            connection, handlers={"*": lambda event: events.add(event["type"])}
        )
        eventually(
            lambda: _listen(receiver) and expected <= events,
            timeout=30,
            what="events",
        )

    # What alice was given and had not acknowledged when she was killed is given to her again.
    alice = farm.row("alice")
    farm.workers.kill("alice")
    queue, unacked = f"farm:{tasks.queue_of(alice.node_id)}", f"farm:{tasks.unacked_key(alice.node_id)}"
    client = farm.redis.client
    farm.celery.send_task(tasks.REFRESH, args=["x"], queue=Queue(tasks.queue_of(alice.node_id)), declare=[])
    message = json.loads(client.rpop(queue))
    client.hset(f"{unacked}.h", "tag", json.dumps([message, "", tasks.queue_of(alice.node_id)]))
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
def test_a_thief_of_a_workers_password_commands_no_worker_and_is_no_other_worker(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    farm.workers.kill("bob")
    login = farm.stolen_login("bob")
    alice, bob = farm.row("alice"), farm.row("bob")
    thief = Redis.from_url(login, decode_responses=True, retry=None)
    order = json.dumps({"method": "shutdown", "arguments": {}, "destination": None})
    attempt(thief, "PUBLISH", "farm:/0.celery.pidbox", order)
    attempt(thief, "LPUSH", f"farm:{tasks.queue_of(alice.node_id)}", "an order")
    attempt(thief, "BRPOP", f"farm:{tasks.queue_of(alice.node_id)}", 1)
    attempt(thief, "SADD", f"farm:_kombu.binding.{tasks.queue_of(alice.node_id)}", "a copy for me")
    attempt(thief, "LRANGE", f"farm:{tasks.report_queue_of(bob.node_id)}", 0, -1)
    attempt(thief, "LPUSH", "farm:reports", "for all")
    attempt(thief, "LPUSH", f"farm:{tasks.report_queue_of(alice.node_id)}", "hers")
    attempt(thief, "LPUSH", "farm:control", "work")
    reported = farm.wait_event("broker.refused", "bob", "publish" if on_old_redis(farm) else "celery.pidbox")
    assert reported.worker == bob
    farm.wait_alert("broker.refused", bob)

    # Reports he may write. They are not signed by whom they say.
    for sender in (alice, bob):
        report = forged(Report(), tasks.REPORT, to=farm.plane_id) | {"from": sender.node_id}
        post(celery_at(login), tasks.REPORT, report, tasks.report_queue_of(bob.node_id))
    for name in ("alice", "bob"):
        farm.wait_event("worker.refused", name, "bad_signature")
    farm.wait_seen("alice")
    assert farm.workers.running["alice"].process.poll() is None


@pytest.mark.interop
def test_a_thief_of_the_farms_own_password_still_cannot_sign(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    alice = farm.row("alice")
    control = farm.plane.services[0]

    farm.celery.control.shutdown()
    farm.celery.control.revoke("0" * 36, terminate=True)
    farm.celery.control.cancel_consumer(tasks.REPORTS_QUEUE)
    farm.wait_event("control.refused", "shutdown", "revoke", "cancel_consumer")

    evil = Assignment(version=10**6, entries=[AssignmentEntry(key="ee" * 32)]).to_pages()[0]
    order = forged(evil, tasks.SYNC_ASSIGNMENT, to=alice.node_id)
    queue = tasks.queue_of(alice.node_id)
    post(farm.celery, tasks.SYNC_ASSIGNMENT, order, queue)
    post(farm.celery, tasks.SYNC_ASSIGNMENT, order | {"from": farm.plane_id}, queue)
    again = _taken(farm.redis)  # a true one: no forged one waits yet
    post(farm.celery, tasks.REPORT, forged(Report(), tasks.REPORT, to=farm.plane_id), "reports")
    for _ in range(2):  # the true one, and its replay
        farm.redis.client.lpush("farm:reports", again)

    for word in ("wrong_sender", "bad_signature", "unsigned"):
        farm.wait_event("engine.refused", word)
    sender = body_of(again)[0][0]["from"]
    farm.wait_event("worker.refused", Worker.objects.get(node_id=sender).name, "replayed")
    farm.wait_alert("worker.unknown")
    farm.wait_seen("alice", "bob")
    assert control.alive
    assert farm.row("alice").assignment_version < 10**6


def _listen(receiver: Any) -> bool:
    with suppress(TimeoutError):
        receiver.capture(limit=5, timeout=2, wakeup=False)
    return True


def _taken(redis: RedisServer) -> str:
    """A message, out of the queue before control has it."""
    taken: list[str] = []

    def take() -> bool:
        if (found := redis.client.brpop(["farm:reports"], timeout=5)) is not None:
            taken.append(found[1])
        return bool(taken)

    eventually(take, timeout=60, what="a report")
    return taken[0]
