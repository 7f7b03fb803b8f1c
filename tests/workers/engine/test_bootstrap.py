"""Bootstrap nodes that cannot be found or do not answer."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES
from hypercore.dht.node import NodeEvent
from workers.engine.bootstrap import BootstrapWatch
from workers.engine.model.events import Event, NetworkChanged, Problem
from workers.engine.settings.settings import bootstrap_from
from workers.settings.table import SettingError

BOOTSTRAP = "SEEDERFARM_BOOTSTRAP"


class Node:
    def __init__(self) -> None:
        self.callbacks: list[Callable[[NodeEvent], None]] = []
        self.unresolved: dict[str, str] = {}

    def subscribe(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def notify(self, *events: NodeEvent) -> None:
        for event in events:
            for callback in self.callbacks:
                callback(event)


def watched() -> tuple[Node, list[Event]]:
    node, events = Node(), list[Event]()
    watch = BootstrapWatch(
        node, events.append, [BootstrapNode("dht.example", 7), BootstrapNode("other.example", 9, "1.2.3.4")]
    )
    watch.start()
    return node, events


def test_no_event_is_watched_for_before_the_start_and_after_the_stop() -> None:
    node, events = Node(), list[Event]()
    watch = BootstrapWatch(node, events.append, [BootstrapNode("dht.example", 7)])
    watch.stop()
    node.notify(NodeEvent.BOOTSTRAP_FAILED)
    watch.start()
    watch.stop()
    node.notify(NodeEvent.BOOTSTRAP_FAILED)
    assert events == []


def test_silent_nodes_are_an_error_once_until_one_answers(caplog: pytest.LogCaptureFixture) -> None:
    node, events = watched()
    node.notify(NodeEvent.BOOTSTRAP_FAILED, NodeEvent.BOOTSTRAP_FAILED)
    [problem, changed] = events
    assert isinstance(problem, Problem) and (problem.key, problem.code) == (None, "BOOTSTRAP_SILENT")
    assert "dht.example:7, other.example:9" in problem.message
    assert changed == NetworkChanged(state="unreachable")
    assert [record.message for record in caplog.records] == [problem.message]
    node.notify(NodeEvent.BOOTSTRAPPED, NodeEvent.ONLINE)
    assert events[2:] == [NetworkChanged(state="reached")]
    node.notify(NodeEvent.BOOTSTRAP_FAILED)
    assert len(events) == 5


def test_a_name_that_does_not_resolve_is_an_error_once() -> None:
    node, events = watched()
    node.unresolved["dht.example"] = "Name or service not known"
    node.notify(NodeEvent.NAME_UNRESOLVED)
    node.unresolved["other.example"] = "Temporary failure"
    node.notify(NodeEvent.NAME_UNRESOLVED)
    assert [event.code for event in events if isinstance(event, Problem)] == ["BOOTSTRAP_UNRESOLVED"] * 2
    assert "dht.example does not resolve (Name or service not known)" in str(events[0])
    node.notify(NodeEvent.BOOTSTRAPPED)
    assert events[-1] == NetworkChanged(state="reached")


def test_nothing_is_reported_where_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    node, events = watched()
    with caplog.at_level(logging.INFO):
        node.notify(NodeEvent.BOOTSTRAPPED, NodeEvent.ONLINE, NodeEvent.OFFLINE, NodeEvent.ONLINE)
    assert events == [] and caplog.records == []


WRONG = ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "a b:1", "[::1]:1", "-a.example:1"]
WRONG += [
    "a..b:1",
    "256.1.1.1:1",
    "1.2.3:4",
    "host:1:2",
    "1.2.3@host:1",
    "h\u00f6st:1",
    "host:\u0661",
    "a\x00:1",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_can_be_no_node_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"--bootstrap: .*expected (IPV4@)?HOST:PORT"):
        bootstrap_from((text,), {})
    if text:
        with pytest.raises(SettingError, match=BOOTSTRAP):
            bootstrap_from((), {BOOTSTRAP: f"127.0.0.1:1,{text}"})


def test_a_list_of_nothing_but_commas_is_refused_and_an_empty_one_means_the_public_nodes() -> None:
    with pytest.raises(SettingError, match="at least one HOST:PORT"):
        bootstrap_from((), {BOOTSTRAP: " , "})
    assert bootstrap_from((), {BOOTSTRAP: ""}) == BOOTSTRAP_NODES


def test_names_and_addresses_are_taken() -> None:
    found = bootstrap_from(("localhost:1", "88.99.3.86@node1.example.org:49737", "my_node-1.:2"), {})
    assert found == (
        BootstrapNode("localhost", 1),
        BootstrapNode("node1.example.org", 49737, "88.99.3.86"),
        BootstrapNode("my_node-1.", 2),
    )
    assert [str(node) for node in found] == [
        "localhost:1",
        "88.99.3.86@node1.example.org:49737",
        "my_node-1.:2",
    ]
    assert bootstrap_from(tuple(map(str, found)), {}) == found, "an engine gets them as text"


def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


@pytest.mark.slow
def test_the_command_says_that_no_node_answers(tmp_path: Any) -> None:
    """As an `error` event, and as a line on stderr; it goes on."""
    from ...support.seed_process import SeedProcess
    from ...support.waiting import eventually

    bootstrap = f"127.0.0.1:{unused_port()}"
    farm = SeedProcess(tmp_path / "farm", [bootstrap], "1" * 64)
    try:
        error = farm.wait_for(lambda event: event.get("event") == "error", timeout=20, what="an error")
        assert (error["key"], error["code"]) == (None, "BOOTSTRAP_SILENT")
        assert bootstrap in error["message"]
        farm.wait_for(lambda event: event.get("event") == "network", timeout=5, what="the network's state")
        # stderr is read by a thread of its own: its line may be later than the event
        eventually(lambda: error["message"] in farm.stderr, timeout=5, what="the line on stderr")
        assert farm.process.poll() is None
        farm.check_contract()
    finally:
        farm.dispose()
