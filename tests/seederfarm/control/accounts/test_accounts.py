"""Accounts of the broker, in a real Redis: who may do what, and that the registry is always right."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.utils import timezone
from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, ResponseError

from farmwire.join import JoinToken, secret_digest
from farmwire.tasks import RETIRE, queue_of, report_queue_of
from hypercore.crypto import KeyPair
from seederfarm.control.accounts import accounts, acl, denials, enrolment
from seederfarm.control.messaging.identity import identity
from seederfarm.registry import services
from seederfarm.registry.models import Alert, EnrolmentToken, Event, Worker

from ....support.redis import RedisServer
from ....support.waiting import eventually
from ..conftest import StartBroker

NODE = "y" * 52
OTHER = "b" * 52
CONTROL_CHANNEL = "farm:/0.celery.pidbox"


def worker_row(node_id: str = NODE, password: str = "mine", **values: Any) -> Worker:
    given = {"name": f"pi-{node_id[0]}", "state": "active", "broker_hash": secret_digest(password)}
    return Worker.objects.create(node_id=node_id, **(given | values))


def log_in(broker: RedisServer, user: str, password: str) -> Any:
    return Redis(
        host="127.0.0.1",
        port=broker.port,
        username=user,
        password=password,
        decode_responses=True,
        retry=None,
    )


def users(broker: RedisServer) -> set[str]:
    return set(broker.client.acl_users()) - {"default"}


def test_accounts_are_those_of_the_registry_whatever_happens(broker: RedisServer) -> None:
    mine, other = worker_row(), worker_row(OTHER, "theirs")
    worker_row("c" * 52, state="pending")
    worker_row("d" * 52, broker_hash="")
    broker.client.acl_setuser("somebody", enabled=True)
    expected = {accounts.user_of_worker(NODE), accounts.user_of_worker(OTHER)}
    assert set(accounts.sync().made) == expected
    assert users(broker) == expected | {"somebody"}, "one that is not ours stays"
    assert accounts.sync() == accounts.SyncResult([], []), "nothing to do"
    assert len(accounts.sync(afresh=True).made) == 2

    broker.stop()
    broker.start()
    assert users(broker) == set()
    assert set(accounts.sync().made) == expected, "Redis had forgotten them"

    old = log_in(broker, accounts.user_of_worker(NODE), "mine")
    assert old.ping()
    mine.broker_hash = secret_digest("another")
    mine.save()
    assert accounts.sync().made == [accounts.user_of_worker(NODE)]
    with pytest.raises(ConnectionError):
        old.ping()  # whoever was logged in with the old password is out
    assert log_in(broker, accounts.user_of_worker(NODE), "another").ping()

    left = [
        f"farm:{queue_of(OTHER)}",
        f"farm:{report_queue_of(OTHER)}",
        f"farm:unacked.{OTHER}.h",
        f"farm:_kombu.binding.{queue_of(OTHER)}",
    ]
    for key in left:
        broker.client.set(key, "1")
    services.retire([other], "cli")
    assert accounts.sync().removed == [accounts.user_of_worker(OTHER)]
    assert broker.client.exists(*left) == 0, "nobody will read it"
    services.activate([other], "cli")
    assert accounts.sync().made == [accounts.user_of_worker(OTHER)]


def test_a_worker_that_joins_while_accounts_are_compared_keeps_its_account_and_reports(
    broker: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_row(OTHER, "theirs")
    queue = f"farm:{report_queue_of(NODE)}"
    read_registry = accounts._wanted

    def read_registry_then_admit(*arguments: Any) -> Iterator[tuple[str, accounts.Account]]:
        yield from read_registry(*arguments)
        accounts.make_for(worker_row())
        broker.client.lpush(queue, "its first report")

    monkeypatch.setattr(accounts, "_wanted", read_registry_then_admit)
    assert accounts.sync().removed == []
    assert log_in(broker, accounts.user_of_worker(NODE), "mine").ping()
    assert broker.client.llen(queue) == 1


def test_a_retired_worker_that_is_connected_hears_of_it_before_its_account_ends(broker: RedisServer) -> None:
    mine = worker_row()
    worker_row(OTHER, "theirs")  # away
    accounts.sync()
    me = log_in(broker, accounts.user_of_worker(NODE), "mine")
    ours, heard = f"farm:{queue_of(NODE)}", list[str]()
    taking = threading.Thread(target=lambda: heard.append(me.brpop([ours], timeout=20)[1]))
    taking.start()
    eventually(lambda: broker.client.info("clients")["blocked_clients"] == 1, timeout=10, what="the worker")
    services.retire(Worker.objects.all(), "cli")
    assert len(accounts.sync().removed) == 2
    taking.join(10)
    (message,) = heard
    assert json.loads(message)["headers"]["task"] == RETIRE
    services.activate([mine], "cli")
    assert accounts.sync().removed == []


def test_an_account_that_the_broker_refuses_keeps_no_other_from_being_made_or_removed(
    broker: RedisServer,
) -> None:
    first, third = "n" * 52, "r" * 52
    gone, bad = worker_row(first, "gone"), worker_row(OTHER, "bad")
    accounts.sync()
    services.retire([gone], "cli")
    bad.broker_hash = "no hash"
    bad.save()
    worker_row(third, "new")
    with pytest.raises(accounts.NoAccounts):
        accounts.sync()
    assert accounts.user_of_worker(first) not in users(broker)
    assert accounts.user_of_worker(third) in users(broker)


def test_a_retired_worker_loses_its_account_even_if_it_cannot_be_notified(
    broker: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_row()
    accounts.sync()
    connected = log_in(broker, accounts.user_of_worker(NODE), "mine")
    assert connected.ping()
    monkeypatch.setattr(accounts, "notify_retired", Mock(side_effect=RuntimeError("no sequence number")))
    services.retire([worker], "cli")
    assert accounts.sync().removed == [accounts.user_of_worker(NODE)]
    with pytest.raises(ConnectionError):
        connected.ping()


def test_an_account_may_do_what_a_worker_needs_and_nothing_to_others(broker: RedisServer) -> None:
    worker_row()
    worker_row(OTHER, "theirs")
    accounts.sync()
    me = log_in(broker, accounts.user_of_worker(NODE), "mine")
    newest = accounts.version_of(broker.client) >= acl.SELECTORS
    assert me.lpush(f"farm:{report_queue_of(NODE)}", "x") == me.llen(f"farm:{report_queue_of(NODE)}") == 1
    assert me.lpush(f"farm:{queue_of(NODE)}", "x") == 1
    assert me.brpop([f"farm:{queue_of(NODE)}"], timeout=1)
    events = "farm:/0.celeryev/worker.heartbeat"
    if newest:
        me.publish(events, "x")

    others, ours = f"farm:{queue_of(OTHER)}", f"farm:{queue_of(NODE)}"
    refused: list[tuple[Any, ...]] = [
        ("PUBLISH", CONTROL_CHANNEL, "shutdown"),
        ("PUBLISH", "farm:/0.anything", "x"),
        ("LPUSH", others, "order"),
        ("BRPOP", others, 1),
        ("RPOPLPUSH", others, ours),
        ("LRANGE", f"farm:{report_queue_of(NODE)}", 0, -1),
        ("LPUSH", "farm:reports", "x"),
        ("RPOP", "farm:reports"),
        ("DEL", "farm:reports"),
        ("LPUSH", f"farm:{report_queue_of(OTHER)}", "x"),
        ("RPOP", f"farm:{report_queue_of(OTHER)}"),
        ("LLEN", f"farm:{report_queue_of(OTHER)}"),
        ("LPUSH", "farm:control", "work"),
        ("LPUSH", "farm:join", "request"),
        ("RPOP", "farm:join"),
        ("SADD", f"farm:_kombu.binding.{queue_of(OTHER)}", ours),
        ("SADD", "farm:_kombu.binding.farm", f"control\x06\x16\x06\x16{queue_of(NODE)}"),
        ("HGETALL", f"farm:unacked.{OTHER}.h"),
        ("DEL", "farm:control"),
        ("PSUBSCRIBE", "*"),
        ("PSUBSCRIBE", "farm:/0.celeryev/*"),
        ("KEYS", "*"),
        ("SCAN", 0),
        ("FLUSHALL",),
        ("CONFIG", "GET", "requirepass"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", accounts.user_of_worker(NODE), "+@all"),
        ("CLIENT", "LIST"),
        ("MONITOR",),
        ("EVAL", "return redis.call('lpush', 'farm:control', 'x')", 0),
        ("SCRIPT", "LOAD", "while true do end"),
        ("EVALSHA", "0" * 40, 0),
        ("SCRIPT", "EXISTS", "0" * 40),
        ("SCRIPT", "FLUSH"),
        ("CLIENT", "PAUSE", 60_000),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("CLIENT", "TRACKING", "on", "BCAST"),
        ("SUBSCRIBE", CONTROL_CHANNEL),
        ("PSUBSCRIBE", "farm:*"),
        ("SORT", ours),
        ("LRANGE", ours, 0, -1),
        ("APPEND", ours, "x"),
        ("SETRANGE", ours, 500_000_000, "x"),
        ("SETBIT", ours, 2**32 - 1, 1),
        ("MSET", ours, "x"),
        ("XADD", ours, "*", "a", "b"),
        ("SET", f"{ours}.another", "x"),
        ("LPUSH", f"{ours}\x06\x163", "x"),
        ("HSET", f"farm:unacked.{NODE}.another", "a", "b"),
        ("WAIT", 1, 0),
        ("SWAPDB", 0, 1),
    ]
    if newest:  # before, rights are of all keys alike
        refused += [(word, f"farm:{report_queue_of(NODE)}") for word in ("RPOP", "DEL")]
    else:
        refused.append(("PUBLISH", events, "x"))
    for words in refused:
        with pytest.raises(NoPermissionError):
            me.execute_command(*words)
            pytest.fail(f"{words} was allowed")

    denials.sync_accounts()
    event = Event.objects.get(kind="broker.refused")
    row = Worker.objects.get(node_id=NODE)
    reported = "channel farm:/0.celery.pidbox" if newest else "command publish"
    assert event.worker == row and reported in event.text and f"key {others}" in event.text
    assert row.refused == event.data["count"] == len(refused)
    assert Alert.objects.get(kind="broker.refused").worker == row
    denials.sync_accounts()
    assert Event.objects.filter(kind="broker.refused").count() == 1, "told once"
    with pytest.raises(NoPermissionError):
        me.execute_command("FLUSHALL")
    denials.sync_accounts()
    row.refresh_from_db()
    assert row.refused == len(refused) + 1
    assert Worker.objects.get(node_id=OTHER).refused == 0


def test_a_token_carries_a_login_that_may_ask_to_join_until_it_is_over(broker: RedisServer) -> None:
    made = enrolment.enrol(actor="cli")
    assert not made.shared_login
    token = JoinToken.from_text(made.text)
    assert "of%20the%20farm" not in token.broker
    asks = Redis.from_url(token.broker, decode_responses=True)
    place = made.token.digest[:16]
    joins, others = f"farm:joins.{place}.q", "farm:joins.0123456789abcdef.q"
    assert asks.lpush(joins, "x") == asks.llen(joins) == 1
    assert asks.getdel(f"farm:join.{place}.q") is None
    refused: list[tuple[Any, ...]] = [
        ("LPUSH", "farm:reports", "x"),
        ("LPUSH", "farm:control", "x"),
        ("GETDEL", "farm:join.0123456789abcdef.q"),
        ("LPUSH", "farm:join", "x"),
        ("LPUSH", others, "x"),
        ("LLEN", others),
        *((word, key) for word in ("RPOP", "DEL") for key in ("farm:join", joins, others)),
        ("BRPOP", joins, 1),
        ("LRANGE", joins, 0, -1),
        ("RPOP", "farm:reports"),
        ("PUBLISH", CONTROL_CHANNEL, "x"),
        ("SUBSCRIBE", CONTROL_CHANNEL),
        ("KEYS", "*"),
    ]
    if accounts.version_of(broker.client) >= acl.SELECTORS:
        refused += [("GETDEL", joins), ("LPUSH", f"farm:join.{place}.q", "x")]
    for words in refused:
        with pytest.raises(NoPermissionError):
            asks.execute_command(*words)
            pytest.fail(f"{words} was allowed")
    # Before Redis 7 this is of the account's two keys alike; requests are no string.
    with pytest.raises(ResponseError):
        asks.getdel(joins)
    assert broker.client.llen(joins) == 1

    now = timezone.now()
    enrolled = services.use_enrolment(
        token.secret, node_id=NODE, name="pi", password_hash=secret_digest("made up")
    )
    assert enrolled is not None
    user = accounts.user_of_token(made.token.digest)
    accounts.sync()
    assert users(broker) == {user, accounts.user_of_worker(NODE)}, "the answer may have been lost"
    Worker.objects.update(last_seen_at=now + timedelta(seconds=5))
    assert accounts.sync().removed == [user]
    with pytest.raises((ConnectionError, AuthenticationError)):
        asks.ping()

    for end in ({"expires_at": now}, {"revoked_at": now}):
        over = enrolment.enrol(actor="cli").token
        EnrolmentToken.objects.filter(pk=over.pk).update(**end)
        assert accounts.sync().removed == [accounts.user_of_token(over.digest)]


def test_without_the_right_to_make_accounts_a_token_has_the_farms_own_login_or_is_not_made(
    redis_program: str, start_broker: StartBroker, settings: Any
) -> None:
    server = start_broker(RedisServer())
    everything = {"keys": ["*"], "channels": ["*"], "categories": ["+@all"], "commands": ["-acl"]}
    server.client.acl_setuser("plain", enabled=True, passwords=["+plain"], **everything)
    settings.FARM = _with(settings.FARM, redis_url=f"redis://plain:plain@127.0.0.1:{server.port}/0")
    made = enrolment.enrol(actor="cli")
    assert made.shared_login
    assert JoinToken.from_text(made.text).broker == settings.FARM.redis_url
    denials.sync_accounts()
    assert not Alert.objects.exists(), "as it is meant to be"
    settings.FARM = _with(settings.FARM, broker_accounts="on")
    with pytest.raises(accounts.NoAccounts, match="acl"):
        enrolment.enrol(actor="cli")
    denials.sync_accounts()
    assert "does not let the farm keep its accounts" in Alert.objects.get(kind="broker.accounts").text


def test_accounts_are_off_where_the_operator_says_so(
    redis_program: str, start_broker: StartBroker, settings: Any
) -> None:
    server = start_broker(RedisServer())
    settings.FARM = _with(settings.FARM, broker_accounts="off")
    worker_row()
    assert enrolment.enrol(actor="cli").shared_login
    denials.sync_accounts()
    assert users(server) == set()


def test_guessed_logins_are_an_alert_that_ends_with_them(
    redis_program: str, start_broker: StartBroker
) -> None:
    server = start_broker(RedisServer())
    worker_row()
    accounts.sync()
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            log_in(server, accounts.user_of_worker(NODE), "guess").ping()
    denials.sync_accounts()
    alert = Alert.objects.get(kind="broker.logins")
    assert "3 logins" in alert.text and alert.resolved_at is None
    denials.sync_accounts()
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_users_are_called_after_the_farm_since_a_server_may_have_several() -> None:
    assert accounts.user_of_worker(NODE).startswith(f"farm-{identity().node_id[:8]}-worker-")
    assert not accounts.is_ours(f"farm-{KeyPair.from_seed(b'x' * 32).public_key.hex()[:8]}-worker-{NODE}")
    assert accounts.worker_of_user(accounts.user_of_worker(NODE)) == NODE
    assert accounts.worker_of_user(accounts.user_of_token("0" * 64)) is None


def _with(farm: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(farm, **changes)
