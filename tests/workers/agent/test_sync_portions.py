"""How a worker names its keys to an engine: in portions, each list as a whole."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from farmwire.assignment import Assignment, AssignmentEntry
from hypercore.crypto import KeyPair
from hypercore.dht.address import BootstrapNode
from workers.agent import agent as agent_module
from workers.agent.agent import Agent
from workers.agent.settings import WorkerSettings
from workers.state import State


def test_keys_come_in_portions_and_those_of_two_lists_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "SYNC_PORTION", 100)
    settings = WorkerSettings(
        data=tmp_path / "worker", name="testing", bootstrap=(BootstrapNode("127.0.0.1", 1),), host="127.0.0.1"
    )
    state = State(settings.data)
    keys = [number.to_bytes(32, "big").hex() for number in range(250)]
    state.replace_assignment(
        Assignment(version=1, entries=[AssignmentEntry(key=key) for key in keys]), time.time()
    )
    agent = Agent(settings, state, KeyPair.from_seed(b"w" * 32))
    lines: list[dict[str, Any]] = []

    def send(command: dict[str, Any]) -> bool:
        lines.append(command)
        time.sleep(0.005)  # another thread would get its turn here
        return True

    monkeypatch.setattr(agent.shards[0], "send", send)
    threads = [threading.Thread(target=agent._sync, args=(agent.shards[0],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.close()
    syncs = [line for line in lines if line["cmd"] == "sync"]
    assert [(line["first"], line["more"], len(line["entries"])) for line in syncs] == [
        (True, True, 100),
        (False, True, 100),
        (False, False, 50),
    ] * 4
    for start in range(0, 12, 3):
        named = [entry["key"] for line in syncs[start : start + 3] for entry in line["entries"]]
        assert sorted(named) == keys
