"""The engine as a child process: commands in, lines out, and an end with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from farmwire.audit import BlockProof
from farmwire.proofs import ProofFailed, verify_block
from hypercore.core import disk_store
from hypercore.crypto import KeyPair
from workers.engine.settings.blind_peer import BlindPeerSettings

from ....support.content import File
from ....support.engine import EngineChild
from ....support.json_process import Event
from ....support.node import BlindClient, Publisher
from ....support.published import publish_core, publish_drive
from ....support.seed_process import environment
from ....support.waiting import eventually
from ..fakes import WriterOfDrive

pytestmark = pytest.mark.interop


@pytest.fixture
def child(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> EngineChild:
    engine = EngineChild(tmp_path / "engine", bootstrap)
    processes.callback(engine.dispose)
    engine.wait_event("ready")
    return engine


def test_a_key_is_seeded_proven_and_dropped(child: EngineChild, publisher: Publisher) -> None:
    made = publish_drive(publisher, "plain", [File(path="/a.bin", size=200_000), File(path="/b", size=7)])
    key, blobs = made["key"], made["blobs"]["key"]
    child.sync(key)
    status = child.wait_status(key, "complete")
    assert status["kind"] == "drive"
    assert status["length"] == made["core"]["length"]
    assert status["have_blocks"] == status["blocks"] == made["core"]["length"] + made["blobs"]["length"]
    assert status["have_bytes"] == status["bytes"] > 200_000

    for core, blocks in ((key, [0, 1]), (blobs, [0, 3])):
        child.send("prove", id="p" + core[:4], key=key, core=core, blocks=blocks)
        answer = child.wait_event("proof", id="p" + core[:4])
        assert answer["error"] == ""
        for proof in answer["proofs"]:
            proven = verify_block(bytes.fromhex(core), BlockProof(**proof))
            assert proven.block == proof["block"]
            assert proven.length == (made["core"] if core == key else made["blobs"])["length"]
            with pytest.raises(ProofFailed):
                verify_block(bytes(32), BlockProof(**proof))
            with pytest.raises(ProofFailed):
                verify_block(bytes.fromhex(core), BlockProof(block=proof["block"] + 1, data=proof["data"]))

    child.send("prove", id="none", key=key, core=key, blocks=[999])
    absent = child.wait_event("proof", id="none")["proofs"]
    assert absent == [{"block": 999, "data": ""}]
    with pytest.raises(ProofFailed, match="not there"):
        verify_block(bytes.fromhex(key), BlockProof(**absent[0]))
    child.send("prove", id="other", key="ab" * 32, core="ab" * 32, blocks=[0])
    assert "does not keep" in child.wait_event("proof", id="other")["error"]

    seen = len(child.events)
    child.sync(drop=[key])
    child.wait_event("dropped", key=key)
    publisher.stop()
    child.sync(key)
    assert child.wait_status(key, "looking", since=seen)["have_blocks"] == 0


def test_a_key_that_is_left_out_keeps_its_blocks(child: EngineChild, publisher: Publisher) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 500) for i in range(20)])
    child.sync(made["key"])
    child.wait_status(made["key"], "complete")
    publisher.stop()
    child.sync()
    seen = len(child.events)
    child.sync(made["key"])
    assert child.wait_status(made["key"], "complete", since=seen)["have_blocks"] == 20


def test_a_quota_stops_downloads_and_a_larger_one_lets_them_go_on(
    child: EngineChild, publisher: Publisher
) -> None:
    first = publish_core(publisher, "plain", [(f"block {i}", 1_000) for i in range(30)])
    child.sync(first["key"])
    child.wait_status(first["key"], "complete")
    child.send("configure", quota_bytes=10_000, headroom_bytes=0)
    assert child.wait_event("error", code="NO_ROOM")["key"] is None
    reach = child.wait_event("engine", held=True)["reach"]
    assert reach["online"]
    assert (reach["direct"], reach["punched"], reach["relayed"]) == (1, 0, 0), "the publisher is connected"
    seen = len(child.events)
    publisher.append("thing", [(f"more {i}", 1_000) for i in range(30)])
    child.wait_for(
        lambda event: event.get("event") == "status" and event["keys"][0]["blocks"] == 60,
        timeout=10,
        what="the news of 30 blocks more",
        since=seen,
    )
    child.send("refresh")
    notified = child.wait_for(
        lambda event: event.get("event") == "status" and event["keys"][0]["blocks"] == 60,
        timeout=5,
        what="a status of everything",
        since=len(child.events),
    )
    assert notified["keys"][0]["have_blocks"] == 30
    child.send("configure", quota_bytes=None, headroom_bytes=0)
    done = child.wait_for(
        lambda event: event.get("event") == "status" and event["keys"][0]["have_blocks"] == 60,
        timeout=20,
        what="all 60 blocks",
        since=seen,
    )
    assert done["keys"][0]["bytes"] == 60_000


def test_a_rewritten_history_is_quarantined_until_the_assignment_allows_it(
    child: EngineChild, publisher: Publisher
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 1_000) for i in range(20)])
    child.sync(made["key"], max_fork=0)
    child.wait_status(made["key"], "complete")
    publisher.ask("truncate", name="thing", length=5)
    publisher.append("thing", [(f"other {i}", 1_000) for i in range(10)])
    child.wait_event("fork", state="quarantined", new_fork=1)
    seen = len(child.events)
    child.send("refresh")
    status = child.wait_status(made["key"], "complete", since=seen)
    assert (status["fork"], status["length"], status["have_blocks"]) == (0, 20, 20)
    assert status["error"].startswith("FORK_QUARANTINED: ")
    child.sync(made["key"], max_fork=1)
    child.wait_event("fork", state="followed", length=20, new_fork=1)
    child.wait_for(
        lambda event: (
            event.get("event") == "status"
            and (event["keys"][0]["fork"], event["keys"][0]["phase"], event["keys"][0]["error"])
            == (1, "complete", "")
        ),
        timeout=20,
        what="the new history, and no error",
        since=seen,
    )


def test_limits_are_changed_while_it_runs(child: EngineChild) -> None:
    def limits(event: Event) -> dict[str, int]:
        return {limit["limit"]: limit["max"] for limit in event["limits"]}

    def wait_for_limits(wanted: dict[str, int], *, since: int) -> None:
        child.wait_for(
            lambda event: event.get("event") == "engine" and limits(event) == wanted,
            timeout=15,
            what=f"the limits {wanted}",
            since=since,
        )

    wait_for_limits({}, since=0)
    three = {"up": 2_000_000, "down": 500_000, "disk": 1 << 20}
    child.send("configure", up="00:00-24:00=2M, *=1M", down="500k", quota_bytes=1 << 20)
    wait_for_limits(three, since=0)
    child.send("configure", up="none", quota_bytes=None, down="fast")  # one is wrong: none holds
    child.send("refresh")
    wait_for_limits(three, since=len(child.events))
    child.send("configure", up="none", quota_bytes=None)
    wait_for_limits({"down": 500_000}, since=len(child.events))


def test_nonsense_on_standard_input_is_survived(child: EngineChild) -> None:
    assert child.process.stdin is not None
    child.process.stdin.write(
        'garbage\n[1]\n{"cmd":"fly"}\n{"cmd":"sync"}\n{"cmd":"sync","entries":[{"key":1}]}\n'
    )
    child.send("prove", id="still here", key="00" * 32, core="00" * 32, blocks=[])
    child.wait_event("proof", id="still here")


def test_it_may_be_a_blind_peer_whose_key_and_numbers_it_reports(
    processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    settings = BlindPeerSettings(clients=frozenset({KeyPair.from_seed(b"\xc1" * 32).public_key}))
    engine = EngineChild(tmp_path / "engine", bootstrap, "--blind-peer", BlindPeerSettings().to_text())
    engine.send("configure", blind_peer=BlindPeerSettings(clients=frozenset()).to_fields())
    engine.send("configure", blind_peer={"clients": 5})  # not understood: it holds nothing
    engine.send("configure", blind_peer=settings.to_fields())
    processes.callback(engine.dispose)
    key = engine.wait_event("ready")["blind_peer"]
    assert engine.wait_event("engine")["blind_peer"]["key"] == key
    client = BlindClient([key], bootstrap, seed="c1" * 32)
    processes.callback(client.dispose)
    core = client.keep("a", 2)
    engine.sync()
    assert engine.wait_event("blind_core", core=core["key"], state="complete")["length"] == 2


def test_stop_and_the_end_of_standard_input_end_it(bootstrap: list[str], tmp_path: Path) -> None:
    for how in ("stop", "eof"):
        child = EngineChild(tmp_path / how, bootstrap)
        try:
            child.wait_event("ready")
            if how == "stop":
                child.send("stop")
            else:
                assert child.process.stdin is not None
                child.process.stdin.close()
            assert child.wait(10) == 0, child.describe()
        finally:
            child.dispose()


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-m", "workers.engine.process.main",
     "--data", sys.argv[1], "--parent", str(os.getpid())],
    stdin=open(sys.argv[2]), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent_even_if_its_standard_input_goes_on(
    bootstrap: list[str], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    env = environment() | {"SEEDERFARM_BOOTSTRAP": ",".join(bootstrap)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "engine"), str(pipe)],
        stdout=subprocess.PIPE,
        env=env,
        text=True,
    )
    assert parent.stdout is not None
    with parent:
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{child}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    eventually(gone, timeout=10, what="the end of the child")
    os.close(writer)


def test_a_drive_is_reported_with_its_title(
    processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    with disk_store(tmp_path / "engine") as store:
        drive = WriterOfDrive(store=store)
        drive.put("/package.json", b'{"name": "a drive with a name"}')
    child = EngineChild(tmp_path / "engine", bootstrap)
    processes.callback(child.dispose)
    key = drive.key.hex()
    child.sync(key)
    child.wait_for(
        lambda event: (
            event.get("event") == "status"
            and any(each["key"] == key and each["title"] == "a drive with a name" for each in event["keys"])
        ),
        timeout=30,
        what="its title",
    )


def test_a_sync_in_portions_is_carried_out_as_one(child: EngineChild, publisher: Publisher) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 500) for i in range(20)])
    child.sync(made["key"])
    child.wait_status(made["key"], "complete")
    others = [os.urandom(32).hex() for _ in range(1_500)]
    seen = len(child.events)

    def entries(keys: list[str]) -> list[dict[str, object]]:
        return [{"key": key, "kind": None, "priority": 5, "max_fork": None} for key in keys]

    child.send(
        "sync", entries=entries(others[:700]), drop=[], first=False, more=False
    )  # no beginning: left out
    child.send("sync", entries=entries(others[:700]), drop=[others[-1]], first=True, more=True)
    child.send("sync", entries=entries([*others[700:1_400], made["key"]]), drop=[], first=False, more=False)
    child.wait_event("dropped", key=others[-1], since=seen)
    child.wait_event("engine", keys=1_401, since=seen)
    engines = [event["keys"] for event in child.events[seen:] if event.get("event") == "engine"]
    assert 700 not in engines and engines == sorted(engines)  # nothing was given up meanwhile
    child.send("refresh")
    assert child.wait_status(made["key"], "complete", since=seen)["have_blocks"] == 20
    child.sync(made["key"])
    child.wait_event("engine", keys=1, since=len(child.events))
