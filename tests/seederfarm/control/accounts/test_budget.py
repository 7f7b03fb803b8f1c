"""The broker under an account that does its worst: what it fills is cut, and the account is suspended."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError

from farmwire.join import JoinToken, queue_id, secret_digest
from farmwire.tasks import join_queue_of, queue_of, report_queue_of
from seederfarm.control.accounts import accounts, acl, budget, enrolment
from seederfarm.control.accounts.denials import sync_accounts
from seederfarm.control.accounts.watch import BUDGET, BUSY, FULL, Watch
from seederfarm.control.messaging import assignments
from seederfarm.control.messaging.collector import MAX_READY, MAX_READY_BYTES, Collector
from seederfarm.control.messaging.outbox import LIFETIME, MAX_WAITING
from seederfarm.registry.models import Alert, AssignmentState, Event, Worker

from ....support.redis import RedisServer
from ....support.waiting import eventually
from ..conftest import StartBroker

NODE = "y" * 52
MIB = 1 << 20
LOOP = "while true do end"


@pytest.fixture
def worker(broker: RedisServer) -> Worker:
    row = Worker.objects.create(node_id=NODE, name="pi", state="active", broker_hash=secret_digest("mine"))
    accounts.sync()
    return row


def log_in(broker: RedisServer) -> Any:
    name = accounts.user_of_worker(NODE)
    return Redis(host="127.0.0.1", port=broker.port, username=name, password="mine", retry=None)


def refused(broker: RedisServer) -> bool:
    try:
        return not log_in(broker).ping()
    except (AuthenticationError, ConnectionError):
        return True


def busy(broker: RedisServer) -> threading.Thread:
    """A script that never ends, sent by the farm's own login."""

    def run() -> None:
        with pytest.raises(ResponseError):
            broker.client.eval(LOOP, 0)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def answers_busy() -> bool:
        try:
            broker.client.get("farm:x")
        except ResponseError as error:
            return str(error).startswith("BUSY")
        return False

    eventually(answers_busy, timeout=20, what="a broker that is busy")
    return thread


def test_a_script_that_never_ends_is_killed_and_reported(
    redis_program: str, start_broker: StartBroker
) -> None:
    broker = start_broker(RedisServer(options=["--lua-time-limit", "200"]))
    watch = Watch()
    watch.poll()
    for each in (watch, Watch()):  # one that is connected already, and one that has to
        thread = busy(broker)
        each.poll()
        thread.join(10)
        assert not thread.is_alive() and broker.client.ping()
        alert = Alert.objects.get(kind=BUSY, resolved_at=None)
        assert "it was killed" in alert.text
        each.poll()
        assert not Alert.objects.filter(kind=BUSY, resolved_at=None).exists()


def test_an_account_that_fills_its_keys_is_suspended_for_a_while(broker: RedisServer, worker: Worker) -> None:
    watch, thief = Watch(), log_in(broker)
    thief.lpush(f"farm:{queue_of(NODE)}", b"x" * MIB)
    watch.poll()
    assert thief.ping(), "a share is everybody's"
    for part in "hi":
        key = f"farm:unacked.{NODE}.{part}"
        for number in range(20):
            value = b"x" * MIB
            thief.hset(key, str(number), value) if part == "h" else thief.zadd(
                key, {value + b"%d" % number: 1}
            )
    watch = Watch()
    watch.poll()
    assert broker.client.exists(*budget.keys_of(NODE)) == 0
    with pytest.raises((ConnectionError, AuthenticationError)):
        thief.ping()
    assert refused(broker)
    accounts.sync()
    accounts.sync(afresh=True)
    assert refused(broker), "it stays suspended"
    event = Event.objects.get(kind=BUDGET)
    assert event.worker == worker and "suspended for 60 minutes" in event.text
    assert re.search(r"filled its queue at the broker with [45]\d MiB", event.text)
    assert Alert.objects.get(kind=BUDGET).worker == worker
    broker.client.zadd(budget.SUSPENDED_KEY, {accounts.user_of_worker(NODE): time.time() - 1})
    accounts.sync()
    assert log_in(broker).ping()


def test_what_is_large_behind_small_elements_is_measured(broker: RedisServer, worker: Worker) -> None:
    """Redis measures the first few elements of a key and takes the others to be like them."""
    thief, queue = log_in(broker), f"farm:{queue_of(NODE)}"
    for _ in range(40):
        thief.rpush(queue, b"x" * MIB)
    for _ in range(100):
        thief.lpush(queue, b"x" * 9000)
    Watch().poll()
    assert broker.client.exists(queue) == 0
    assert refused(broker)


def test_reports_that_are_large_behind_small_ones_are_measured(broker: RedisServer, worker: Worker) -> None:
    thief, key = log_in(broker), f"farm:{report_queue_of(NODE)}"
    for _ in range(budget.MAX_WORKER_REPORTS_BYTES // MIB // 4 + 1):
        thief.lpush(key, b"x" * 4 * MIB)
    for _ in range(100):
        thief.lpush(key, b"x" * 9000)
    Watch().poll()
    assert broker.client.exists(key) == 0 and refused(broker)


def test_a_worker_that_leaves_too_many_reports_is_suspended_and_it_alone(
    broker: RedisServer, worker: Worker
) -> None:
    other = Worker.objects.create(
        node_id="b" * 52, name="other", state="active", broker_hash=secret_digest("theirs")
    )
    accounts.sync()
    honest = Redis(
        port=broker.port, username=accounts.user_of_worker(other.node_id), password="theirs", retry=None
    )
    for client, node_id, count in (
        (honest, other.node_id, budget.MAX_WORKER_REPORTS),
        (log_in(broker), NODE, budget.MAX_WORKER_REPORTS + 1),
    ):
        client.lpush(f"farm:{report_queue_of(node_id)}", *["x"] * count)
    Watch().poll()
    assert broker.client.exists(f"farm:{report_queue_of(NODE)}") == 0 and refused(broker)
    assert honest.llen(f"farm:{report_queue_of(other.node_id)}") == budget.MAX_WORKER_REPORTS
    assert "left 201 reports" in Event.objects.get(kind=BUDGET, worker=worker).text


def test_reports_of_workers_that_never_joined_go_and_are_reported(
    broker: RedisServer, worker: Worker
) -> None:
    """Workers that share the login of REDIS_URL may call themselves anything."""
    strange = ["reports." + "c" * 52 + ".q", "reports.x.q", "reports.\x00\x1b.q", f"reports.{NODE}x.q"]
    for name in (*strange, report_queue_of(NODE)):
        broker.client.lpush(f"farm:{name}", "x")
    Redis(port=broker.port, password="of the farm").lpush(b"farm:reports.\xff.q", b"x")
    Watch().poll()
    assert broker.client.keys("farm:reports*") == [f"farm:{report_queue_of(NODE)}"]
    assert Alert.objects.get(kind="worker.unknown").resolved_at is None


def test_reports_are_collected_from_each_worker_in_turn(broker: RedisServer, worker: Worker) -> None:
    """One that floods its queue has no more of them moved than any other worker."""
    names = {letter: letter * 52 for letter in "bcdefghjk"}
    Worker.objects.bulk_create(
        [Worker(node_id=node_id, name=letter, state="active") for letter, node_id in names.items()]
    )
    broker.client.lpush(f"farm:{report_queue_of(NODE)}", *[f"flood {n}" for n in range(5000)])
    for letter, node_id in names.items():
        for number in range(3):
            broker.client.lpush(f"farm:{report_queue_of(node_id)}", f"{letter}{number}")
    collector = Collector()
    for _ in range(3):
        collector.collect()
    taken = [broker.client.rpop("farm:reports") for _ in range(broker.client.llen("farm:reports"))]
    assert [text for text in taken if text.startswith("flood")] == [f"flood {n}" for n in range(3)]
    for letter in names:  # all of them, the oldest of each first
        assert [text for text in taken if text[0] == letter and text[1:].isdigit()] == [
            f"{letter}{number}" for number in range(3)
        ]

    # Control takes none: what waits, waits with its worker, and then all go on in turn.
    while collector.collect():
        pass
    assert broker.client.llen("farm:reports") == MAX_READY
    broker.client.lpush(f"farm:{report_queue_of(names['k'])}", "k3")
    broker.client.rpop("farm:reports", 1)
    collector.collect()
    broker.client.rpop("farm:reports", 1)
    collector.collect()
    assert "k3" in broker.client.lrange("farm:reports", 0, 1)

    # Few that are large are as good as many.
    broker.client.delete("farm:reports")
    broker.client.lpush("farm:reports", "x" * MAX_READY_BYTES)
    assert collector.collect() == 0
    broker.client.delete("farm:reports")
    if accounts.version_of(broker.client) < acl.SELECTORS:
        thief = log_in(broker)
        thief.delete(f"farm:{report_queue_of(NODE)}")
        thief.set(f"farm:{report_queue_of(NODE)}", "no queue")  # before 7.0 its rights are of all keys alike
        broker.client.lpush(f"farm:{report_queue_of(names['k'])}", "k4")
        collector.collect()
        assert broker.client.rpop("farm:reports") == "k4"
        assert broker.client.exists(f"farm:{report_queue_of(NODE)}") == 0


def test_all_keys_of_an_account_are_measured(broker: RedisServer, worker: Worker) -> None:
    """Also those in which it notes what it listens to."""
    thief = log_in(broker)
    for number in range(40):
        thief.sadd(f"farm:_kombu.binding.{queue_of(NODE)}", b"%d" % number + b"x" * MIB)
    Watch().poll()
    assert broker.client.exists(f"farm:_kombu.binding.{queue_of(NODE)}") == 0
    assert refused(broker)


def test_names_of_any_bytes_blind_neither_the_watch_nor_the_log(broker: RedisServer, worker: Worker) -> None:
    thief = log_in(broker)
    if accounts.version_of(broker.client) >= acl.SELECTORS:
        thief.lpush(b"farm:\xff.reply.celery.pidbox", "x")
    for name in (b"\xff\xfe", b"a\0b", b"\x1b[2J"):
        with pytest.raises(ResponseError):
            thief.hget(name, "x")
    with pytest.raises(ResponseError):
        thief.hget("secret", "x")
    sync_accounts()
    assert "key secret" in Event.objects.get(kind="broker.refused").text
    for number in range(40):
        thief.hset(f"farm:unacked.{NODE}.h", str(number), b"x" * MIB)
    Watch().poll()
    assert Event.objects.filter(kind=BUDGET, worker=worker).exists()
    assert refused(broker)
    left = [broker.client.ttl(key) for key in Redis(port=broker.port, password="of the farm").keys("*reply*")]
    assert all(0 < ttl <= budget.ANSWERS_LIVE for ttl in left)


def test_large_names_in_the_log_of_refusals_go_and_so_does_their_sender(
    broker: RedisServer, worker: Worker
) -> None:
    """Redis keeps whole names of what it refused, in memory of no key."""
    thief = log_in(broker)
    for number in range(5):
        with pytest.raises(ResponseError):
            thief.hget(b"%d" % number + b"k" * 8 * MIB, "x")
    assert int(broker.client.info("memory")["used_memory"]) > 30 * MIB
    sync_accounts()
    assert len(Event.objects.get(kind="broker.refused").text) <= 500
    assert sum(map(len, broker.client.hkeys(budget.LOG_SEEN_KEY))) < 5000
    Watch().poll()
    assert int(broker.client.info("memory")["used_memory"]) < 10 * MIB
    assert "log of" in Alert.objects.get(kind=BUDGET).subject
    assert refused(broker)


def test_failed_logins_suspend_no_worker(broker: RedisServer, worker: Worker) -> None:
    """Any client may say that he is that worker."""
    for _ in range(100):
        with pytest.raises(AuthenticationError):
            name = accounts.user_of_worker(NODE)
            Redis(port=broker.port, username=name, password="x" * 9000, retry=None).ping()
    for user in ("u" * 8000 + str(number) for number in range(40)):
        with pytest.raises(AuthenticationError):
            Redis(port=broker.port, username=user, password="x", retry=None).ping()
    Watch().poll()
    assert len(broker.client.acl_log()) == 0
    assert log_in(broker).ping()


def test_a_token_with_hundreds_of_connections_is_suspended(broker: RedisServer, worker: Worker) -> None:
    from seederfarm.registry.models import EnrolmentToken

    token = EnrolmentToken.objects.create(
        digest="d" * 64, broker_hash=secret_digest("its"), expires_at=timezone.now() + timedelta(days=1)
    )
    accounts.sync()
    user = accounts.user_of_token(token.digest)
    crowd = [Redis(port=broker.port, username=user, password="its", retry=None) for _ in range(65)]
    for client in crowd:
        client.ping()
    Watch().poll()
    assert Alert.objects.get(kind=BUDGET).hint == "Its token may have been stolen: revoke it."
    accounts.sync()
    with pytest.raises((AuthenticationError, ConnectionError)):
        crowd[0].ping()
    assert log_in(broker).ping()


def test_a_request_to_join_ends_no_suspension(broker: RedisServer, worker: Worker) -> None:
    budget.suspend(broker.client, accounts.user_of_worker(NODE))
    with pytest.raises(accounts.NoAccounts, match="suspended"):
        accounts.make_for(worker)
    assert refused(broker)


def test_a_worker_whose_queue_is_no_list_holds_up_no_other(broker: RedisServer, worker: Worker) -> None:
    """What is sent to others must not wait as it does for a broker that is away."""
    other = Worker.objects.create(node_id="b" * 52, name="other", state="active")
    log_in(broker).set(f"farm:{queue_of(NODE)}", "no list")
    for _ in range(3):
        assignments.send_assignment(worker.pk)
        assignments.send_assignment(other.pk)
    assert broker.client.llen(f"farm:{queue_of(other.node_id)}") == 3


def test_a_worker_of_many_keys_may_have_more_waiting(broker: RedisServer, worker: Worker) -> None:
    AssignmentState.objects.create(worker=worker, entries=100_000)
    for _ in range(60):
        broker.client.lpush(f"farm:{queue_of(NODE)}", b"x" * MIB)
    Watch().poll()
    assert broker.client.llen(f"farm:{queue_of(NODE)}") == 60


def test_an_account_with_hundreds_of_connections_is_suspended(broker: RedisServer, worker: Worker) -> None:
    crowd = [log_in(broker) for _ in range(budget.MAX_CONNECTIONS + 1)]
    for client in crowd[1:]:
        assert client.ping()
    Watch().poll()
    assert crowd[1].ping(), "as many as are allowed"
    crowd[0].ping()
    Watch().poll()
    assert refused(broker)
    assert len(broker.client.client_list()) < 10
    for client in crowd:
        client.close()


def test_an_account_that_asks_and_does_not_read_is_suspended(broker: RedisServer, worker: Worker) -> None:
    """What Redis holds for the answers counts for no key."""
    thief = log_in(broker)
    thief.hset(f"farm:unacked.{NODE}.h", "x", b"x" * 8 * MIB)
    connection = thief.connection_pool.get_connection()
    for _ in range(20):
        connection.send_command("HGET", f"farm:unacked.{NODE}.h", "x")

    def piled_up() -> bool:
        return any(int(each["tot-mem"]) > budget.MAX_CLIENT_BYTES for each in broker.client.client_list())

    eventually(piled_up, timeout=20, what="answers that nobody reads")
    Watch().poll()
    assert refused(broker)
    assert int(broker.client.info("memory")["used_memory"]) < 64 * MIB


def test_a_token_that_floods_its_queue_holds_up_no_other_and_is_suspended(
    broker: RedisServer, worker: Worker
) -> None:
    """Requests of all tokens came into one queue, of which the newest thousand were kept."""
    flooding, honest = enrolment.enrol(actor="cli"), enrolment.enrol(actor="cli")
    places = [queue_id(each.token.digest) for each in (flooding, honest)]
    thief, other = (Redis.from_url(JoinToken.from_text(each.text).broker) for each in (flooding, honest))
    thief.lpush(f"farm:{join_queue_of(places[0])}", *[f"flood {n}" for n in range(2000)])
    other.lpush(f"farm:{join_queue_of(places[1])}", "please", "again")
    collector = Collector()
    collector.collect()
    collector.collect()
    taken = broker.client.lrange("farm:join", 0, -1)
    assert sorted(taken) == ["again", "flood 0", "flood 1", "please"]

    Watch().poll()
    assert not broker.client.exists(f"farm:{join_queue_of(places[0])}")
    with pytest.raises((AuthenticationError, ConnectionError)):
        Redis.from_url(JoinToken.from_text(flooding.text).broker, retry=None).ping()
    assert other.ping()
    assert "a token left 1998 requests" in Event.objects.get(kind=BUDGET).text
    assert "revoke" in Alert.objects.get(kind=BUDGET).hint


def test_requests_of_tokens_that_do_not_exist_go_and_are_reported(
    broker: RedisServer, worker: Worker
) -> None:
    """Workers that share the login of REDIS_URL may write anywhere."""
    known = join_queue_of(queue_id(enrolment.enrol(actor="cli").token.digest))
    for name in ("joins.0123456789abcdef.q", "joins.x.q", f"{known}x", known):
        broker.client.lpush(f"farm:{name}", "x")
    Watch().poll()
    assert [key for key in broker.client.keys("farm:joins*") if not key.endswith("x")] == [f"farm:{known}"]
    assert Alert.objects.get(kind="worker.unknown").resolved_at is None


def test_queues_without_one_writer_are_cut_to_their_newest(broker: RedisServer, worker: Worker) -> None:
    watch = Watch()
    for _ in range(budget.MAX_REPORTS + 500):
        broker.client.lpush("farm:reports", "x")
    broker.client.lpush("farm:reports", "newest")
    watch.poll()
    assert broker.client.llen("farm:reports") == budget.MAX_REPORTS
    assert broker.client.lrange("farm:reports", 0, 0) == ["newest"]
    assert "1501 messages; the newest 1000" in Alert.objects.get(kind=BUDGET).text
    watch.poll()
    assert not Alert.objects.filter(kind=BUDGET, resolved_at=None).exists(), "it is short again"

    for _ in range(budget.MAX_REPORTS_BYTES // MIB + 20):
        broker.client.lpush("farm:reports", b"x" * MIB)
    for _ in range(100):  # Redis measures the first few elements, and takes the others to be like them
        broker.client.lpush("farm:reports", b"x" * 9000)
    watch.poll()
    assert budget._bytes(broker.client, "farm:reports") <= budget.MAX_REPORTS_BYTES
    assert 32 <= broker.client.llen("farm:reports") < budget.MAX_REPORTS
    broker.client.delete("farm:reports")
    broker.client.set("farm:reports", "no queue")
    watch.poll()
    assert broker.client.type("farm:reports") == "none"


def test_unread_answers_to_remote_control_are_deleted(broker: RedisServer, worker: Worker) -> None:
    thief = log_in(broker)
    for number in range(3000):
        thief.lpush(f"farm:{number}.reply.celery.pidbox", "x")
    watch = Watch()
    watch.poll()
    left = [broker.client.ttl(key) for key in broker.client.scan_iter("farm:*.reply.*")]
    assert len(left) == 3000 and all(0 < ttl <= budget.ANSWERS_LIVE for ttl in left)


def test_a_full_broker_is_reported_and_relieved(redis_program: str, start_broker: StartBroker) -> None:
    broker = start_broker(RedisServer(password="x", options=["--maxmemory", "48mb"]))
    worker = Worker.objects.create(node_id=NODE, name="pi", state="active", broker_hash=secret_digest("mine"))
    accounts.sync()
    watch, thief = Watch(), log_in(broker)
    watch.poll()
    with pytest.raises(ResponseError, match="maxmemory"):
        while True:
            thief.lpush(f"farm:{queue_of(NODE)}", b"x" * MIB)
    with pytest.raises(ResponseError, match="maxmemory"):
        broker.client.lpush("farm:control", "x" * 2 * MIB)
    watch.poll()
    assert "of the 48 MiB" in Alert.objects.get(kind=FULL).text
    assert Event.objects.get(kind=BUDGET).worker == worker
    assert broker.client.lpush("farm:control", "work") == 1
    watch.poll()
    assert Alert.objects.get(kind=FULL).resolved_at is not None


def test_what_a_worker_does_not_take_ends_with_its_queue(broker: RedisServer, worker: Worker) -> None:
    """Not with Celery's `expires`, which is looked at when a message is taken."""
    key = f"farm:{queue_of(NODE)}"
    for _ in range(MAX_WAITING + 100):
        assignments.send_assignment(worker.pk)
    assert broker.client.llen(key) == MAX_WAITING + 1, "it is sent no more than that"
    assert 0 < broker.client.ttl(key) <= LIFETIME
    broker.client.delete(key)
    assignments.send_worker_config(worker.pk)
    assert broker.client.llen(key) == 2
    assert 0 < broker.client.ttl(key) <= LIFETIME
    broker.client.delete(key)
    Worker.objects.update(lost_since=timezone.now())
    assignments.send_assignment(worker.pk)
    assignments.send_worker_config(worker.pk)
    assert broker.client.llen(key) == 0, "one that is lost reads nothing"
