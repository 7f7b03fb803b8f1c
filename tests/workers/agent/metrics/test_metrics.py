"""The metrics of a worker: names, values, who gets them, and when it is ready."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from farmwire.message import decode, to_builtins
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.report import Heartbeat
from hypercore.crypto import KeyPair
from hypercore.dht.address import BootstrapNode
from workers.agent.agent import Agent
from workers.agent.metrics.collector import NETWORK, registry_of, unready
from workers.agent.metrics.server import MAX_CLIENTS, MetricsServer
from workers.agent.settings import MetricsSettings, WorkerSettings, metrics_from
from workers.settings.table import SettingError
from workers.state import State

KEY = "0a" * 32
LINE = {
    "event": "engine", "keys": 3, "synced": 2, "connections": 1, "firewalled": True, "stored_bytes": 77,
    "bytes_in": 500, "bytes_out": 40, "down": 1.0, "up": 2.0, "peers": 1, "held": False,
    "max_stall_ms": 250.0, "max_busy_ms": 125.0, "network": dict.fromkeys(NETWORK, 9),
    "limits": [{"limit": "disk", "value": 70, "max": 100, "reached": False, "text": ""},
               {"limit": "evil\n", "value": 70, "max": 100, "reached": False, "text": ""}],
    "reach": {"id": KEY, "online": True, "nat": "consistent", "address": "203.0.113.4:4000", "seen_by": 6,
              "seen_same": 5, "direct": 1, "punched": 2, "relayed": 0, "evil": 1},
}  # fmt: skip


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    settings = WorkerSettings(
        data=tmp_path / "worker", name="testing", bootstrap=(BootstrapNode("127.0.0.1", 1),), host="127.0.0.1"
    )
    state = State(settings.data)
    yield Agent(settings, state, KeyPair.from_seed(b"w" * 32))
    state.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., MetricsServer]]:
    with ExitStack() as stack:

        def start(unready: Callable[[], list[str]] = list, token: str = "") -> MetricsServer:
            server = MetricsServer(("127.0.0.1", 0), CollectorRegistry(), unready=unready, token=token)
            server.start()
            stack.callback(server.stop)
            return server

        yield start


def hear(agent: Agent, line: dict[str, Any]) -> None:
    """As `Shard._live` does with a line of a child."""
    shard = agent.shards[0]
    shard._facts, shard._stored_bytes = line, line["stored_bytes"]
    shard._stalls.append((time.monotonic(), line["max_stall_ms"] / 1000))
    agent._on_engine_line(shard, line)


def values(agent: Agent) -> dict[tuple[str, tuple[str, ...]], float]:
    text = generate_latest(registry_of(agent)).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(server: MetricsServer, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_the_numbers_of_an_engine_have_the_names_of_the_official_packages(agent: Agent) -> None:
    agent.reports.replicas.assign([KEY])
    hear(agent, LINE)
    hear(agent, LINE | {"bytes_in": 800, "max_stall_ms": 10.0})
    found = values(agent)
    for name in NETWORK:
        assert found[(name, ("0",))] == 9
    assert found[("hypercore_total_bytes_downloaded", ())] == 800
    assert found[("hypercore_total_bytes_uploaded", ())] == 40
    assert (
        found[("hypercore_filesystem_size_bytes", ())] > found[("hypercore_filesystem_avail_bytes", ())] > 0
    )
    assert found[("seederfarm_engine_stall_seconds", ("0",))] == 0.25, "the longest of the last minute"
    assert found[("seederfarm_engine_busy_seconds", ("0",))] == 0.125
    assert found[("seederfarm_engine_limit_used", ("0", "disk"))] == 70
    assert found[("seederfarm_engine_limit_max", ("0", "disk"))] == 100
    assert found[("seederfarm_worker_copies", ("assigned",))] == 1
    assert found[("seederfarm_worker_reports_waiting", ("copies",))] == 1
    assert found[("process_resident_memory_bytes", ())] > 0
    assert found[("seederfarm_engine_peers", ("0", "punched"))] == 2
    assert found[("seederfarm_engine_peers", ("0", "relayed"))] == 0


def test_a_blind_peer_is_reported_and_has_metrics_with_the_official_names(agent: Agent) -> None:
    hear(agent, LINE)
    assert agent.heartbeat().engine.blind_peer is None
    numbers = {"key": KEY, "cores": 7, "bytes": 900, "clients": 2, "announced": 1, "connections": 3}
    hear(agent, LINE | {"blind_peer": numbers | {"counters": {"cores_added": 8}}})
    beat = decode(to_builtins(agent.heartbeat()), Heartbeat)
    assert beat.run == agent.heartbeat().run == agent.run != ""
    found = beat.engine.blind_peer
    assert found is not None and (found.key, found.cores, found.clients) == (KEY, 7, 2)
    shown = values(agent)
    assert shown[("blind_peer_bytes_allocated", ())] == 900
    assert shown[("blind_peer_announced_cores", ())] == 1
    assert (shown[("blind_peer_cores_added", ())], shown[("blind_peer_bytes_gcd", ())]) == (8, 0)


def test_a_heartbeat_says_how_each_engine_is_reached(agent: Agent) -> None:
    hear(agent, LINE)
    beat = agent.heartbeat()
    assert beat.host.load_15 is not None
    (engine,) = beat.engine.engines
    assert (engine.id, engine.nat, engine.address) == (KEY, "consistent", "203.0.113.4:4000")
    assert (engine.seen_same, engine.seen_by, engine.punched) == (5, 6, 2)
    decode(to_builtins(beat), Heartbeat)  # as control does


def test_no_label_holds_a_key_or_a_name_that_an_engine_invents(agent: Agent) -> None:
    agent.reports.replicas.assign([KEY])
    hear(agent, LINE)
    agent.refuse("x" * 500, MessageRejected(RejectReason.REPLAYED, "again"))
    agent.reports.record_event("refused", "an event")
    found = values(agent)
    labels = {label for _, given in found for label in given}
    assert labels & {KEY, "evil\n", "evil\\n"} == set()
    assert all(len(label) < 20 for label in labels)
    assert found[("seederfarm_worker_refused_messages_total", ("replayed",))] == 1
    assert found[("seederfarm_worker_reports_waiting", ("events",))] == 2


def test_bytes_moved_grow_across_a_restart_of_the_engine(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = agent.shards[0]
    for pid, received in ((1, 500), (1, 700), (2, 30), (2, 40)):
        monkeypatch.setattr(type(shard), "pid", property(lambda shard, pid=pid: pid))
        agent._sampler.count(shard, LINE | {"bytes_in": received})
    assert agent.moved[0] == 740


def test_a_worker_is_ready_while_its_engines_run_and_the_broker_takes_heartbeats(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unready(agent, 1000.0) == ["engine 0 does not run", "the broker has taken no heartbeat yet"]
    monkeypatch.setattr(type(agent.shards[0]), "running", property(lambda shard: True))
    agent.reported_at = 1000.0
    assert unready(agent, 1000.0 + 4 * agent.settings.heartbeat) == []
    (late,) = unready(agent, 1000.1 + 4 * agent.settings.heartbeat)
    assert late == "the broker took the last heartbeat 60 s ago"
    monkeypatch.setattr(type(agent.shards[0]), "hung", property(lambda shard: True))
    assert unready(agent, 1000.0) == ["engine 0 hangs"]


def test_health_needs_no_token_and_metrics_do(serve: Callable[..., MetricsServer]) -> None:
    server = serve(lambda: ["engine 0 hangs"], "0123456789abcdef")
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (503, "engine 0 hangs\n")
    assert get(server, "/metrics")[0] == 401
    assert get(server, "/metrics", Authorization="Bearer 0123456789abcdeF")[0] == 401
    assert get(server, "/metrics", Authorization="Bearer 0123456789abcdef")[0] == 200
    assert get(server, "/etc/passwd")[0] == 404
    assert get(serve(), "/readyz") == (200, "ok\n")


def test_clients_that_send_nothing_take_no_more_than_their_places(
    serve: Callable[..., MetricsServer],
) -> None:
    server = serve()
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(server.address)) for _ in range(MAX_CLIENTS)]
        for client in idle:
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        with socket.create_connection(server.address, timeout=10) as one_more:
            assert one_more.recv(1) == b"", "closed at once"
    deadline = time.monotonic() + 20
    while True:  # the others are gone, and their threads notice
        try:
            assert get(server, "/healthz")[0] == 200
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline


def test_an_open_address_needs_a_token_of_some_length(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert metrics_from({}) is None
    assert metrics_from({"SEEDERFARM_WORKER_METRICS": "127.0.0.1:9464"}) == MetricsSettings(
        host="127.0.0.1", port=9464
    )
    anywhere = {"SEEDERFARM_WORKER_METRICS": "0.0.0.0:9464"}
    with pytest.raises(SettingError, match="not loopback"):
        metrics_from(anywhere)
    named = anywhere | {"SEEDERFARM_WORKER_METRICS_TOKEN_FILE": str(token)}
    for bad in (None, "short\n", "ü" * 20):
        if bad is not None:
            token.write_text(bad)
        with pytest.raises(SettingError, match="TOKEN_FILE"):
            metrics_from(named)
    token.write_text("0123456789abcdef\n")
    assert metrics_from(named) == MetricsSettings(host="0.0.0.0", port=9464, token="0123456789abcdef")
    for bad in ("9464", "127.0.0.1:", "127.0.0.1:99999", ":9464"):
        with pytest.raises(SettingError, match="HOST:PORT"):
            metrics_from({"SEEDERFARM_WORKER_METRICS": bad})
    assert metrics_from({"SEEDERFARM_WORKER_METRICS": "[::1]:1"}) == MetricsSettings(host="::1", port=1)
