"""A worker with a real Redis, a real engine and official peers; control is played by the test."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpcore
import pytest
from prometheus_client.parser import text_string_to_metric_families

from farmwire import tasks
from farmwire.audit import Challenge
from farmwire.join import Welcome, open_secret
from farmwire.proofs import verify_block
from farmwire.tasks import Configure, Refresh, Retire
from hypercore.crypto import KeyPair
from workers.agent.metrics.collector import NETWORK
from workers.agent.run import EXIT_RETIRED
from workers.doctor.worker import read_facts

from ...support.content import File
from ...support.fake_control import Plane
from ...support.node import Publisher
from ...support.ports import free_port
from ...support.published import publish_core, publish_drive
from ...support.redis import RedisServer
from ...support.waiting import eventually
from ...support.worker import alive, gone
from .conftest import NewWorker

pytestmark = pytest.mark.interop


def test_a_worker_joins_seeds_its_assignment_proves_it_and_releases_it(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    made = publish_drive(publisher, "plain", [File(path="/a.bin", size=300_000), File(path="/b", size=7)])
    key, blobs = made["key"], made["blobs"]["key"]
    worker = new_worker("--join", plane.token, "--zone", "here", "--tag", "big", "--quota", "1G")
    plane.wait(lambda: len(plane.joins) >= 2, what="two requests to join")
    assert plane.joins[0].name == "testing"
    assert open_secret(plane.joins[0], sender=plane.worker, key_pair=plane.key_pair) == "s" * 24
    assert {join.password for join in plane.joins} == {plane.joins[0].password}, "asks for the same"
    plane.let_in(Welcome(waiting=True))
    plane.let_in(Welcome())
    assert (plane.joins[0].zone, plane.joins[0].tags) == ("here", ["big"])

    assignment = plane.assign(key)
    done = plane.wait_phase(key, "complete")
    assert done.have_bytes == done.bytes > 300_000
    assert done.kind == "drive"
    plane.wait(lambda: plane.beats and plane.beats[-1].engine.stored_bytes == done.bytes, what="a heartbeat")
    beat = plane.beats[-1]
    assert (beat.assignment_version, beat.assignment_digest) == (assignment.version, assignment.digest)
    assert beat.quota_bytes == 10**9
    assert beat.free_bytes <= (1 << 30) - done.bytes
    assert beat.engine.running and beat.engine.shards == 1 and beat.engine.rss_bytes > 0
    assert beat.host.disk_bytes > beat.host.disk_free_bytes > 0

    challenge = Challenge(id="c1", key=key, core=blobs, blocks=[0, 2], deadline=time.time() + 30)
    plane.send(tasks.AUDIT, challenge)
    plane.wait(lambda: plane.answers, what="an answer")
    assert plane.answers[0].id == "c1"
    for proof, block in zip(plane.answers[0].proofs, (0, 2), strict=True):
        assert verify_block(bytes.fromhex(blobs), proof).block == block

    plane.replicas.clear()
    plane.send(tasks.REFRESH, Refresh())
    assert plane.wait_phase(key, "complete", timeout=5).have_bytes == done.bytes
    codes = {event.code for report in plane.reports for event in report.events}
    assert {"engine_ready", "synced"} <= codes

    stats = plane.app.control.inspect(timeout=3, limit=1).stats()
    (numbers,) = stats.values()
    assert numbers["seeding"]["complete"] == 1
    assert numbers["seeding"]["engine_pids"] == worker.engines
    assert plane.heard("worker-seeding")["complete"] == 1
    plane.app.control.shutdown()  # not signed: it is not obeyed
    plane.app.control.revoke("a" * 36)
    plane.wait(
        lambda: {e.text.split()[0] for r in plane.reports for e in r.events if e.code == "refused"},
        what="word of it",
    )

    plane.assign()
    plane.wait_phase(key, "removed")
    plane.wait(lambda: plane.beats[-1].engine.stored_bytes == 0, what="nothing stored")
    assert worker.process.poll() is None
    (engine,) = worker.engines
    assert worker.stop() == 0
    assert gone(engine)


def test_a_retired_worker_stops_with_one_line_and_a_status_of_its_own(
    plane: Plane, new_worker: NewWorker
) -> None:
    worker = new_worker("--join", plane.token)
    plane.welcome()
    plane.wait(lambda: plane.beats, what="a heartbeat")
    plane.send(tasks.RETIRE, Retire())
    assert worker.process.wait(30) == EXIT_RETIRED
    lines = [line for line in worker.tail().splitlines() if "retired" in line]
    assert len(lines) == 1 and f"What it stored is kept in {worker.data}:" in lines[0]
    assert worker.engines == []
    assert read_facts(worker.data)["retired"], "`worker doctor` does not advise to start it"


def test_a_worker_serves_metrics_of_its_engine_and_is_ready(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    port = free_port()
    made = publish_drive(publisher, "plain", [File(path="/a.bin", size=300_000)])
    new_worker("--join", plane.token, SEEDERFARM_WORKER_METRICS=f"127.0.0.1:{port}")
    plane.welcome(made["key"])
    done = plane.wait_phase(made["key"], "complete")

    def scrape(path: str) -> str:
        return httpcore.request("GET", f"http://127.0.0.1:{port}/{path}").content.decode()

    def numbers() -> dict[str, float]:
        families = text_string_to_metric_families(scrape("metrics"))
        return {sample.name: sample.value for family in families for sample in family.samples}

    def still_open(found: dict[str, float]) -> float:
        """Either side may dial first; when both do, one of the two connections is closed."""
        opened, closed = (
            sum(found[f"hyperswarm_{side}_connections_{state}"] for side in ("client", "server"))
            for state in ("opened", "closed")
        )
        return opened - closed

    eventually(
        lambda: numbers().get("seederfarm_engine_stored_bytes") == done.bytes, timeout=20, what="the bytes"
    )
    found = numbers()
    assert set(NETWORK) <= set(found)
    assert found["hypercore_total_bytes_downloaded"] == done.bytes
    for name in (
        "hyperswarm_nr_peers",
        "dht_nr_nodes",
        "dht_streams",
    ):
        assert found[name] >= 1, name
    assert still_open(found) == 1
    assert found["udx_total_bytes_received"] > done.bytes
    assert found["udx_total_packets_received"] > done.bytes / 1500
    assert found["udx_total_packets_transmitted"] > 10
    assert found["dht_total_requests"] >= found["dht_total_queries"] > 0
    publisher.stop()
    eventually(lambda: still_open(numbers()) == 0, timeout=20, what="the end of it")
    assert scrape("readyz") == "ok\n"


def test_a_copy_with_gaps_is_complete_names_them_and_looks_again_when_asked(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    publisher.make("log", "core")
    made = publisher.append("log", [(f"line {number}", 100) for number in range(40)])
    publisher.ask("clear", name="log", start=0, end=3)
    publisher.ask("join", name="log")
    key = made["key"]
    new_worker("--join", plane.token)
    plane.welcome(key)
    done = plane.wait_phase(key, "complete", timeout=60)
    assert (done.blocks, done.have_blocks) == (40, 37)
    assert (done.unavailable_blocks, done.unavailable_bytes) == (3, 300)
    assert [core.runs for core in done.gaps] == [[0, 3]]
    publisher.stop()
    plane.send(tasks.REFRESH, Refresh(search_again=[key]))
    looking = plane.wait_phase(key, "looking")
    assert (looking.have_blocks, looking.unavailable_blocks) == (37, 0)
    assert looking.gaps == done.gaps


def test_seeding_goes_on_without_the_broker_and_samples_are_filled_in(
    plane: Plane, redis_server: RedisServer, new_worker: NewWorker, publisher: Publisher
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 1_000) for i in range(20)])
    key = made["key"]
    worker = new_worker("--join", plane.token)
    plane.welcome(key)
    plane.wait_phase(key, "complete")
    (engine,) = worker.engines
    redis_server.stop()
    away_from = time.time()
    made = publisher.append("thing", [(f"later {i}", 1_000) for i in range(10)])
    time.sleep(4)
    assert worker.engines == [engine]
    back_at = time.time()
    redis_server.start()
    plane.wait(
        lambda: key in plane.replicas and plane.replicas[key].have_blocks == 30,
        timeout=25,
        what="the blocks that came while the broker was away",
    )
    assert worker.engines == [engine]
    samples = [sample for report in plane.reports for sample in report.samples]
    away = [sample for sample in samples if away_from - 1 < sample.start < back_at]
    assert len(away) >= 3, "one a second"
    assert sum(sample.bytes_in for sample in samples) == 30_000
    assert len({sample.start for sample in samples}) == len(samples)

    redis_server.stop()
    time.sleep(1.5)
    assert worker.stop() == 0, "without a broker, too"
    # And now a start without it
    publisher.append("thing", [(f"last {i}", 1_000) for i in range(5)])
    again = new_worker()
    again.wait_engines()
    time.sleep(1)
    redis_server.start()
    plane.wait(lambda: plane.replicas[key].have_blocks == 35, timeout=25, what="what came before Redis did")
    assert again.stop() == 0


def test_an_engine_that_dies_is_started_again_and_knows_its_keys(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 1_000) for i in range(20)])
    worker = new_worker("--join", plane.token, "--shards", "2")
    plane.welcome(made["key"])
    plane.wait_phase(made["key"], "complete")
    before = worker.wait_engines(2)
    publisher.stop()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    plane.replicas.clear()
    plane.wait(
        lambda: any(b.engine.restarts == 2 and b.engine.running for b in plane.beats), what="a restart"
    )
    assert not set(worker.wait_engines(2)) & set(before)
    plane.send(tasks.REFRESH, Refresh())
    assert plane.wait_phase(made["key"], "complete").have_blocks == 20
    assert any(event.code == "engine_ended" for report in plane.reports for event in report.events)

    after = worker.engines
    worker.kill()
    for pid in after:
        eventually(lambda pid=pid: gone(pid), timeout=15, what="the end of the engines")


def test_with_another_number_of_engines_everything_is_still_here(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    keys = []
    for name in ("one", "two"):
        publisher.make(name, "core", "plain")
        keys.append(publisher.append(name, [(f"{name} {i}", 1_000) for i in range(5)])["key"])
        publisher.ask("join", name=name)
    worker = new_worker("--join", plane.token, "--shards", "2")
    plane.welcome(*keys)
    for key in keys:
        plane.wait_phase(key, "complete")
    publisher.stop()
    assert worker.stop() == 0
    plane.replicas.clear()
    again = new_worker("--shards", "1")
    again.wait_engines(2)  # one key in each
    for key in keys:
        assert plane.wait_phase(key, "complete").have_blocks == 5
    assert again.stop() == 0


def test_what_is_not_from_control_for_this_worker_and_new_is_refused_and_counted(
    plane: Plane, new_worker: NewWorker
) -> None:
    worker = new_worker("--join", plane.token)
    plane.welcome("ab" * 32)
    plane.wait_phase("ab" * 32, "looking")
    peer = KeyPair.from_seed(b"\x66" * 32)
    (evil,) = plane.assignment().to_pages()
    name = tasks.SYNC_ASSIGNMENT
    good = plane.sealed(name, evil)
    plane.post(name, plane.sealed(name, evil, key_pair=peer))  # wrong_sender
    plane.post(name, plane.sealed(name, evil, key_pair=peer) | {"from": plane.id})  # bad_signature
    plane.post(name, good | {"body": {"version": 9}})  # bad_signature
    plane.post(name, plane.sealed(name, evil, expires=time.time() - 400))  # expired
    plane.post(name, plane.sealed(name, evil, to=plane.id))  # wrong_recipient
    plane.post(name, plane.sealed(tasks.REFRESH, Refresh()))  # wrong_name
    plane.post(name, "nonsense")  # malformed
    again = plane.sealed(tasks.REFRESH, Refresh())
    plane.post(tasks.REFRESH, again)
    plane.post(tasks.REFRESH, again)  # replayed
    plane.post("celery.unheard_of", {})  # malformed
    expected = {
        "wrong_sender": 1,
        "bad_signature": 2,
        "expired": 1,
        "wrong_recipient": 1,
        "wrong_name": 1,
        "malformed": 2,
        "replayed": 1,
    }

    def refused() -> dict[str, int]:
        stats = plane.app.control.inspect(timeout=2, limit=1).stats() or {}
        return next(iter(stats.values()), {}).get("seeding", {}).get("refused", {})

    plane.wait(lambda: sum(refused().values()) >= sum(expected.values()), what="the refusals")
    assert refused() == expected
    plane.wait(
        lambda: (
            {e.text.split(": ")[1] for r in plane.reports for e in r.events if e.code == "refused"}
            >= expected.keys()
        ),
        what="the refusals as events",
    )
    assert plane.beats[-1].assignment_version == 1, "nothing of it was obeyed"
    assert worker.process.poll() is None
    assert alive(worker.engines[0])


def test_pages_may_be_lost_doubled_and_out_of_order(plane: Plane, new_worker: NewWorker) -> None:
    new_worker("--join", plane.token)
    plane.welcome()
    # Before the others: pages of a newer assignment that a second thread takes first would replace it
    plane.wait(lambda: plane.beats and plane.beats[-1].assignment_version == 1, what="the first assignment")
    keys = [f"{i:064x}" for i in range(2_500)]
    first = plane.assignment(*keys[:2_100])
    second = plane.assignment(*keys)
    lost, *late = first.to_pages()
    pages = second.to_pages()
    for page in (late[1], pages[2], pages[0], late[0], pages[2], pages[0]):
        plane.send(tasks.SYNC_ASSIGNMENT, page)
    before = len(plane.beats)
    plane.wait(lambda: len(plane.beats) > before + 1, what="heartbeats after them")
    assert plane.beats[-1].assignment_version == 1
    plane.send(tasks.SYNC_ASSIGNMENT, pages[1])
    plane.wait(lambda: plane.beats[-1].assignment_digest == second.digest, what="the newest assignment")
    plane.send(tasks.SYNC_ASSIGNMENT, lost)
    plane.wait(lambda: len(plane.replicas) == 2_500, timeout=40, what="a report of every key")
    assert plane.beats[-1].assignment_version == second.version


def test_orders_of_control_survive_a_restart(
    plane: Plane, new_worker: NewWorker, publisher: Publisher
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 1_000) for i in range(20)])
    worker = new_worker("--join", plane.token)
    plane.welcome(made["key"])
    plane.wait_phase(made["key"], "complete")
    plane.send(tasks.CONFIGURE, Configure(quota_bytes=5_000))
    plane.wait(lambda: plane.beats[-1].quota_bytes == 5_000, what="the quota")
    plane.wait(
        lambda: any(e.code == "no_room" for r in plane.reports for e in r.events), what="word of the quota"
    )
    worker.stop()
    beats = len(plane.beats)
    new_worker("--join", plane.token)  # as a service does: the token counts once
    plane.wait(lambda: plane.beats[beats:], what="a heartbeat after the restart")
    assert plane.beats[-1].quota_bytes == 5_000
    assert plane.beats[-1].assignment_version == plane.version
    plane.send(tasks.CONFIGURE, Configure(up_bytes_per_second=5_000, lift=["quota_bytes"]))
    plane.wait(lambda: plane.beats[-1].quota_bytes is None, what="no quota any more")


def test_a_worker_without_a_farm_says_what_to_do(tmp_path: Path, new_worker: NewWorker) -> None:
    worker = new_worker()
    assert worker.process.wait(20) != 0
    assert "--join TOKEN" in worker.tail()
    worker = new_worker("--join", "hello", data="other")
    assert worker.process.wait(20) == 2
    assert "sfj1_" in worker.tail()
