"""What a worker makes of the lines with which an engine describes its replicas."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercore.crypto import KeyPair
from hypercore.dht.address import BootstrapNode
from workers.agent.agent import Agent
from workers.agent.settings import WorkerSettings
from workers.state import State

A, B = "0a" * 32, "0b" * 32


@pytest.mark.parametrize(
    "bad",
    [
        {"key": A, "phase": "asleep"},
        {"key": A, "phase": "complete", "length": -1},
        {"key": A, "phase": "complete", "error": "x" * 501},
        {"key": A, "phase": "complete", "gaps": [{"length": 1}] * 3},
        {"key": "zz", "phase": "complete"},
        {"phase": "complete"},
        None,
    ],
)
def test_a_malformed_status_costs_no_other_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: object
) -> None:
    settings = WorkerSettings(
        data=tmp_path / "worker", name="testing", bootstrap=(BootstrapNode("127.0.0.1", 1),), host="127.0.0.1"
    )
    state = State(settings.data)
    agent = Agent(settings, state, KeyPair.from_seed(b"w" * 32))
    agent.reports.replicas.assign([A, B])
    good = {"key": B, "phase": "complete", "length": 3, "gaps": [], "another": 1}
    agent._on_engine_line(agent.shards[0], {"event": "status", "keys": [bad, good]})
    batch = agent.reports.next_batch(with_heartbeat=False)
    state.close()
    assert batch is not None
    assert {report.key: report.phase for report in batch.report.replicas} == {A: "assigned", B: "complete"}
    assert "malformed" in caplog.text
