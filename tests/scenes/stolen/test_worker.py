"""A farm on PostgreSQL and a real Redis, and the disk of one of its workers in the hands of a thief.

He has that worker's login and its key. Whatever he tries, control and the other worker go on; what he did is
counted and reported.
"""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from farmwire import tasks
from farmwire.envelope import node_id
from farmwire.join import Join, JoinToken, open_secret, queue_id, seal_secret, secret_digest
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.report import Report
from farmwire.sealed_box import encrypt
from hypercore.crypto import KeyPair
from seederfarm.control.accounts import budget
from seederfarm.registry.models import Alert, EnrolmentToken, Worker

from ...support.control_processes import copies
from ...support.waiting import eventually
from .thief import THIEF, Farm, attempt, celery_at, forged, post

MIB = 1 << 20
LOOP = "while true do end"
TWO_ARGUMENTS = b64encode(b"[[1,2],{},{}]").decode()
NEVER_BY_THE_CLOCK = ("control.retention", "control.send_assignment", "control.send_worker_config")
"""Tasks of control that its beat does not start within a test."""


def executed(farm: Farm) -> dict[str, int]:
    """How often control ran each task since it started."""
    answers = farm.celery.control.inspect(timeout=5).stats() or {}
    found: dict[str, int] = {}
    for name, stats in answers.items():
        if name.startswith("control@"):
            found = stats["total"]
    return found


def go_on(farm: Farm, *names: str) -> None:
    farm.wait_seen(*names)
    assert farm.plane.services[0].alive, farm.plane.tails()


@pytest.mark.interop
@pytest.mark.timeout(300)
def test_a_farm_survives_its_own_stolen_worker(farm_on_postgres: Farm) -> None:
    farm = farm_on_postgres
    farm.wait_seen("alice", "bob")
    farm.workers.kill("bob")
    login = farm.stolen_login("bob")
    alice, bob = farm.row("alice"), farm.row("bob")
    thief = Redis.from_url(login, decode_responses=True, retry=None)
    assert bob.node_id in login

    # Lua: loops for ever, or writes once and loops, which nothing but SHUTDOWN NOSAVE ends.
    written = f"redis.call('set', 'farm:unacked.{bob.node_id}.m', '1') {LOOP}"
    for script in (LOOP, written):
        attempt(thief, "EVAL", script, 0)
        attempt(thief, "SCRIPT", "LOAD", script)
        attempt(
            thief, "FUNCTION", "LOAD", f"#!lua name=x\nredis.register_function('x', function() {LOOP} end)"
        )
    attempt(thief, "EVALSHA", "0" * 40, 0)
    go_on(farm, "alice")

    # A deputy: control runs what he reports, and sends with its own login what a task names as its next.
    control = farm.plane.services[0]
    before = executed(farm)
    app = celery_at(login)
    alices, his_reports = tasks.queue_of(alice.node_id), tasks.report_queue_of(bob.node_id)
    for name in (*NEVER_BY_THE_CLOCK, "celery.backend_cleanup", "celery.chain", tasks.JOIN, "unheard.of"):
        post(app, name, bob.pk, his_reports)
    good = forged(Report(), tasks.REPORT, to=farm.plane_id)
    for after_it in (
        app.signature("control.retention", queue="control"),
        app.signature(tasks.REFRESH, args=["x"], queue=alices),
    ):
        for embed in ("chain", "link", "link_error", "chord"):
            options = {embed: after_it if embed == "chord" else [after_it]}
            post(app, tasks.REPORT, good, his_reports, **options)
    post(app, tasks.REPORT, good, his_reports, countdown=3600, headers={"redelivered": True})
    raw = _raw(good)
    # Restored, when it is not acknowledged, to the queue that it names.
    raw["properties"]["delivery_info"] = {"exchange": "", "routing_key": alices}
    raw["properties"]["delivery_tag"] = "chosen"
    for message in (
        json.dumps(raw), "x", "[]", "{}", "null", "[" * 100_000, "1" * 10_000, "\udcff" * 3, '"' + "a" * MIB,
        json.dumps(raw | {"body": "%%%"}), json.dumps(raw | {"headers": []}),
        json.dumps(raw | {"properties": {}}), json.dumps(raw | {"body": TWO_ARGUMENTS}),
        json.dumps(raw | {"properties": raw["properties"] | {"body_encoding": "rot13"}}),
        json.dumps(raw | {"content-type": "application/x-python-serialize"}), "x" * (50 * MIB),
    ):  # fmt: skip
        thief.lpush(f"farm:{his_reports}", message.encode(errors="surrogateescape"))
    reported = farm.wait_event("control.rejected", "reports: a task that does not belong here (")
    for reason in (
        "no JSON (",
        "no message of Celery (",
        "not one argument (",
        "no JSON in it (",
        "more than",
        "an encoding that does not exist (",
    ):
        farm.wait_event("control.rejected", reason)
    farm.wait_alert("control.rejected")
    go_on(farm, "alice")
    after = executed(farm)
    for name in (*NEVER_BY_THE_CLOCK, "celery.backend_cleanup", "celery.chain"):
        assert after.get(name, 0) == before.get(name, 0), f"{name} was run for a thief: {reported.text}"
    assert control.alive and farm.redis.client.llen(f"farm:{alices}") == 0
    assert "unsigned" not in farm.row("alice").refused_reason
    # What is well formed was taken, and is signed by nobody of the farm.
    farm.wait_alert("worker.unknown")

    # A request to join of somebody else, taken out of the queue: not with this login.
    for queue in (tasks.JOIN_QUEUE, tasks.join_queue_of("0" * 16)):
        attempt(thief, "RPOP", f"farm:{queue}")
        attempt(thief, "LPUSH", f"farm:{queue}", "x")

    # Memory.
    key = f"farm:{tasks.queue_of(bob.node_id)}"
    with suppress(ConnectionError, ResponseError):
        for _ in range(200):
            thief.lpush(key, "x" * MIB)
    eventually(lambda: not farm.redis.client.exists(key), timeout=40, what="an emptied queue")
    event = farm.wait_event("broker.budget", "bob", "suspended")
    assert event.worker == bob
    with pytest.raises((ConnectionError, ResponseError)):
        Redis.from_url(login, retry=None).ping()
    assert bob.node_id not in str(farm.redis.client.acl_users())
    go_on(farm, "alice")
    assert int(farm.redis.client.info("memory")["used_memory"]) < 64 * MIB
    farm.wait_alert("broker.refused", bob)
    assert farm.wait_event("broker.refused", "bob", "command evalsha")
    assert farm.redis.client.zscore(budget.SUSPENDED_KEY, user_of(farm, bob))

    # Retired, he is out for good.
    farm.plane.home.lines("worker", "retire", "bob", "--force")
    farm.wait_seen("alice")


@pytest.mark.interop
@pytest.mark.timeout(300)
def test_a_thief_that_floods_control_with_reports_silences_no_other_worker(farm: Farm) -> None:
    farm.wait_seen("alice", "bob")
    farm.workers.kill("bob")
    thief = Redis.from_url(farm.stolen_login("bob"), decode_responses=True, retry=None)
    key = f"farm:{tasks.report_queue_of(farm.row('bob').node_id)}"
    stop = threading.Event()
    largest = 0

    def flood() -> None:
        """As much as control allows, all the time."""
        nonlocal largest
        with suppress(ConnectionError, ResponseError):
            while not stop.is_set():
                missing = budget.MAX_WORKER_REPORTS - 20 - thief.llen(key)
                if missing > 0:
                    largest = max(largest, thief.lpush(key, *["x" * 10_000] * missing))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        eventually(lambda: largest >= 150, timeout=30, what="a flood")
        for number in range(5):  # what happens at alice is heard of, not that she lives alone
            drive = f"{number + 1:02x}" * 32
            farm.plane.home.lines("add", drive, "--replicas", "2")
            eventually(
                lambda drive=drive: copies(drive).filter(worker__name="alice", phase="looking").exists(),
                timeout=20,
                what=f"a report about copy {number}\n{farm.plane.tails()}",
            )
        assert thread.is_alive() and thief.ping(), "he has not been suspended for that"
    finally:
        stop.set()
        thread.join()

    with suppress(ConnectionError, ResponseError):
        for _ in range(1000):
            thief.lpush(key, *["x" * 10_000] * 1000)
    event = farm.wait_event("broker.budget", "bob", "reports", "suspended")
    assert event.worker == farm.row("bob")
    with pytest.raises((ConnectionError, ResponseError)):
        thief.ping()
    go_on(farm, "alice")
    assert not farm.redis.client.exists(key)


@pytest.mark.interop
@pytest.mark.timeout(300)
def test_a_request_to_join_that_was_taken_lets_in_no_other_client(farm: Farm) -> None:
    """With the login of REDIS_URL."""
    farm.wait_seen("alice", "bob")
    (line,) = farm.plane.home.lines("worker", "enroll", "--name", "carol")
    token = JoinToken.from_text(line["token"])
    farm.workers.kill("bob")
    farm.workers._tokens["carol"] = line["token"]
    joins = tasks.join_queue_of(queue_id(secret_digest(token.secret)))
    taken: list[str] = []

    def take() -> bool:
        if (found := farm.redis.client.rpop(f"farm:{joins}")) is not None:
            taken.append(str(found))
        return bool(taken)

    farm.plane.services[0].kill()  # so that control is not first
    farm.workers.start("carol")
    eventually(take, timeout=60, what="a request to join")
    sealed = json.loads(json.dumps(_sealed_in(taken[0])))
    stolen = Join(
        name="mallory",
        secret=sealed["body"]["secret"],
        password=secret_digest("known to the thief"),
        software="x",
    )
    post(farm.celery, tasks.JOIN, forged(stolen, tasks.JOIN, to=farm.plane_id), tasks.JOIN_QUEUE)
    same_password = Join(
        name="mallory", secret=sealed["body"]["secret"], password=sealed["body"]["password"], software="x"
    )
    post(farm.celery, tasks.JOIN, forged(same_password, tasks.JOIN, to=farm.plane_id), tasks.JOIN_QUEUE)
    farm.plane.control()
    farm.wait_seen("carol")
    assert not Worker.objects.filter(name="mallory").exists()
    warned = Alert.objects.filter(
        kind="worker.unknown", text__contains="another node has sealed", count__gte=2
    )
    eventually(warned.all().exists, timeout=30, what="the alert about the forged requests")
    assert EnrolmentToken.objects.get(digest=secret_digest(token.secret)).used_by == farm.row("carol")


def test_a_secret_is_sealed_for_one_sender_and_password() -> None:
    control = KeyPair.from_seed(b"c" * 32)
    me, other = node_id(THIEF.public_key), node_id(KeyPair.from_seed(b"o" * 32).public_key)
    reader, password = node_id(control.public_key), "0" * 64
    good = Join(
        name="x", secret=seal_secret("s3", sender=me, password=password, reader=reader), password=password
    )
    assert open_secret(good, sender=me, key_pair=control) == "s3"
    changed = Join(name="x", secret=good.secret, password="1" * 64)
    for request, sender in ((good, other), (changed, me)):
        with pytest.raises(MessageRejected) as refused:
            open_secret(request, sender=sender, key_pair=control)
        assert refused.value.reason is RejectReason.WRONG_SENDER
    for text in ("s3", "[]", '["s3"]', "{}", "[" * 5000, "[1, 2, 3, 4]", "null"):
        junk = Join(name="x", secret=encrypt(text, reader=reader), password=password)
        with pytest.raises(MessageRejected):
            open_secret(junk, sender=me, key_pair=control)


def user_of(farm: Farm, worker: Worker) -> str:
    """As the farm's control plane calls it."""
    return f"farm-{farm.plane_id[:8]}-worker-{worker.node_id}"


def _raw(sealed: object) -> dict[str, Any]:
    """A message as it is in Redis."""
    embed = {"chain": [{"task": "control.retention", "options": {"queue": "control"}}]}
    body = b64encode(json.dumps([[sealed], {}, embed]).encode())
    return {
        "body": body.decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": tasks.REPORT, "id": "\x1b[2J\nERROR forged", "shadow": "x"},
        "properties": {"delivery_info": {}, "delivery_tag": "a", "body_encoding": "base64", "priority": 0},
    }


def _sealed_in(message: str) -> Any:
    return json.loads(b64decode(json.loads(message)["body"]))[0][0]
