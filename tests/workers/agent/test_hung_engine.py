"""Engines that run and say nothing, really: stopped by a signal, and in a loop that never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from farmwire import tasks
from farmwire.assignment import Assignment, AssignmentEntry
from farmwire.audit import Challenge
from farmwire.envelope import node_id, seal
from farmwire.report import Phase
from hypercore.crypto import KeyPair
from hypercore.dht.address import BootstrapNode
from workers.agent import agent as agent_module
from workers.agent import shard as shard_module
from workers.agent.agent import Agent
from workers.agent.challenges import MAX_CHALLENGES, Challenges
from workers.agent.environment import engine_environment
from workers.agent.settings import WorkerSettings
from workers.state import JoinedFarm, State

from ...support.waiting import eventually

CONTROL = KeyPair.from_seed(b"\x07" * 32)
KEY = "ab" * 32
LOOPING = """
import signal, sys
def spin(*_):
    while True:
        pass
signal.signal(signal.SIGUSR1, spin)
from workers.engine.process import main as child
sys.exit(child.main())
"""
"""An engine whose loop stands still from a signal on."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "SILENCE_TIMEOUT", 4.0)
    monkeypatch.setattr(shard_module, "DUMP_TIMEOUT", 2.0)
    command = shard_module._command

    def looping(*arguments: Any) -> list[str]:
        program, _, _, *options = command(*arguments)
        return [program, "-c", LOOPING, *options]

    monkeypatch.setattr(shard_module, "_command", looping)


@contextmanager
def running(place: Path, **changes: Any) -> Iterator[Agent]:
    settings = WorkerSettings(
        data=place / "worker",
        name="testing",
        bootstrap=(BootstrapNode("127.0.0.1", 1),),
        host="127.0.0.1",
        **changes,
    )
    state = State(settings.data)
    state.join(JoinedFarm("test", node_id(CONTROL.public_key), "redis://127.0.0.1:1/0", "s" * 24))
    state.welcomed(("redis://127.0.0.1:1/0", False))
    state.replace_assignment(Assignment(version=1, entries=[AssignmentEntry(key=KEY)]), time.time())
    agent = Agent(settings, state, KeyPair.from_seed(b"w" * 32))
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()
        state.close()


def codes(agent: Agent) -> list[str]:
    return [event.code for _, event in agent.state.events(1000)]


def hear(agent: Agent) -> int:
    """The engine's process id, when it talks."""
    eventually(lambda: bool(agent.shards[0].facts), timeout=40, what="a line of the engine")
    pid = agent.shards[0].pid
    assert pid is not None
    return pid


def challenge(agent: Agent, number: str, deadline: float) -> None:
    order = Challenge(id=number, key=KEY, core=KEY, blocks=[0], deadline=deadline)
    seq = int(time.time() * 1000)
    agent.handle(
        tasks.AUDIT,
        seal(order, name=tasks.AUDIT, to=agent.id, seq=seq, expires=deadline, key_pair=CONTROL),
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGUSR1])
def test_a_hung_engine_is_reported_dumped_and_started_again(
    tmp_path: Path, how: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path) as agent:
        pid = hear(agent)
        shard = agent.shards[0]
        assert agent.heartbeat().engine.running and not agent.heartbeat().engine.hung
        os.kill(pid, how)
        beats = []

        def hung() -> bool:
            beats.append(agent.heartbeat().engine)
            return beats[-1].hung == 1

        eventually(hung, timeout=20, what="a heartbeat that says so", every=0.02)
        assert not beats[-1].running and shard.facts == {} and beats[-1].connections == 0
        # What is asked meanwhile is not answered before an engine is there that can.
        challenge(agent, "asked while it hung", time.time() + 300)
        eventually(lambda: shard.hangs == 1, timeout=20, what="the end of the engine")
        assert hear(agent) != pid
        assert not psutil.pid_exists(pid)
        assert agent.heartbeat().engine.hangs == 1 and agent.heartbeat().engine.running
        eventually(lambda: len(agent.reports.answers) == 1, timeout=20, what="an answer")
        answer = agent.reports.answers[0]
        assert answer.id == "asked while it hung" and answer.error == "", "judged by what is here"
        assert {"engine_hung", "engine_ended"} <= set(codes(agent))
    dump = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in dump and "most recent call first" in dump
    assert "spin" in dump or how == signal.SIGSTOP


@pytest.mark.timeout(60)
def test_a_challenge_before_the_engine_is_there_is_answered_when_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        challenge(agent, "early", time.time() + 300)
        challenge(agent, "late", time.time() - 1)
        eventually(lambda: len(agent.reports.answers) == 1, timeout=40, what="an answer")
        assert agent.reports.answers[0].error == ""
        pid = hear(agent)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: agent.shards[0].pid is None, timeout=10, what="its end")
        challenge(agent, "while it restarts", time.time() + 300)
        eventually(lambda: len(agent.reports.answers) == 2, timeout=40, what="an answer")
        assert (agent.reports.answers[1].id, agent.reports.answers[1].error) == ("while it restarts", "")


def test_a_challenge_waits_until_an_engine_has_its_keys() -> None:
    asked: list[tuple[int, str]] = []
    waiting = Challenges(lambda engine, each: asked.append((engine, each.id)))

    def one(number: str, seconds: float = 60) -> Challenge:
        deadline = time.time() + seconds
        return Challenge(id=number, key=KEY, core=KEY, blocks=[0], deadline=deadline)

    waiting.add(0, one("a"))
    waiting.add(1, one("b"))
    waiting.add(0, one("over", -1))
    assert asked == []
    waiting.engine_ready(0)
    waiting.add(0, one("c"))
    assert asked == [(0, "a"), (0, "c")]
    assert waiting.answered("a") and not waiting.answered("a"), "once"
    waiting.engine_ended(0)
    waiting.add(0, one("d"))
    assert len(asked) == 2
    waiting.engine_ready(0)
    assert asked[2:] == [(0, "c"), (0, "d")]
    for number in range(MAX_CHALLENGES):
        waiting.add(1, one(str(number)))
    assert not waiting.answered("b"), "the oldest goes first"
    assert waiting.answered("0")


@pytest.mark.timeout(60)
def test_what_a_silent_engine_reported_is_no_news_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "SILENCE_TIMEOUT", 3600.0)  # nobody ends it
    monkeypatch.setattr(agent_module, "FACTS_TIMEOUT", 3.0)
    with running(tmp_path, sample=0.5) as agent:
        pid, replicas = hear(agent), agent.reports.replicas
        eventually(lambda: replicas.count(Phase.LOOKING) == 1, timeout=20, what="news of the copy")
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: replicas.count(Phase.ERROR) == 1, timeout=20, what="the end of old news")
        (report,) = replicas.take()
        assert "sent nothing" in report.error
        os.kill(pid, signal.SIGCONT)
        agent.shards[0].send({"cmd": "refresh"})
        eventually(lambda: replicas.count(Phase.LOOKING) == 1, timeout=20, what="news again")


def test_an_engine_sees_none_of_the_secrets_in_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"DATABASE_URL", "REDIS_URL", "SEEDERFARM_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"}
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    with running(tmp_path) as agent:
        environ = psutil.Process(hear(agent)).environ()
    assert not secrets & environ.keys()
    assert "PATH" in environ
    assert engine_environment({"LC_ALL": "C", "PYTHONPATH": "x", "TOKEN": "y"}) == {
        "LC_ALL": "C",
        "PYTHONPATH": "x",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start engines as another user")
def test_engines_run_as_another_user_over_a_directory_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_a_python_for_all(monkeypatch)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    with running(tmp_path, engine_user="nobody") as agent:
        process = psutil.Process(hear(agent))
        assert process.username() == "nobody" and process.uids().saved == process.uids().real
        data = agent.shards[0].directory
        files = [data, *data.rglob("*")]
        assert len(files) > 1 and all(path.owner() == "nobody" for path in files)
        assert not (tmp_path / "worker" / "worker.sqlite3").stat().st_mode & 0o077
    with running(tmp_path) as agent:
        hear(agent)


def _use_a_python_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours may be in a user's home; then the system's, with our packages."""
    python = Path(sys.executable).resolve()
    if all(folder.stat().st_mode & 0o001 for folder in python.parents):
        return
    system = "/usr/bin/python3"
    ask = [system, "-c", "import sys; print(sys.version_info[:2])"]
    reported = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    if reported != str(sys.version_info[:2]):
        pytest.skip("no Python that another user may run has our packages")
    monkeypatch.setattr(shard_module.sys, "executable", system)
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(ours))
