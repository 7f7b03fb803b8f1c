"""The metrics of a worker. No label has a value that peers, drives or publishers choose.

Names and meanings without `seederfarm_` are those of hypercore-stats, hyperswarm-stats and hyperdht-stats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import psutil
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from farmwire.report import Phase

from ..agent import Agent
from ..host import host_stats, rss_of
from ..shard import Shard

NETWORK: Final[dict[str, str]] = {
    "hypercore_total_cores": "Cores in memory",
    "hypercore_total_peers": "Connections over which cores are replicated",
    "hyperswarm_nr_peers": "Connected peers",
    "hyperswarm_client_connections_attempted": "Connections that we tried to make",
    "hyperswarm_client_connections_opened": "Connections that we made",
    "hyperswarm_client_connections_closed": "Of those, connections that have ended",
    "hyperswarm_server_connections_opened": "Connections that peers made",
    "hyperswarm_server_connections_closed": "Of those, connections that have ended",
    "dht_active_requests": "DHT requests without an answer yet",
    "dht_total_requests": "DHT requests",
    "dht_total_queries": "DHT queries, each of several requests",
    "dht_nr_nodes": "Nodes in the routing table",
    "dht_nr_unique_node_ips": "Addresses of those nodes",
    "dht_is_firewalled": "Whether other hosts cannot reach us without hole punching or a relay",
    "dht_streams": "UDX streams, those that closed lately included",
    "udx_total_bytes_transmitted": "Bytes of UDP datagrams sent",
    "udx_total_packets_transmitted": "UDP datagrams sent",
    "udx_total_bytes_received": "Bytes of UDP datagrams received",
    "udx_total_packets_received": "UDP datagrams received",
    "udx_packets_dropped_total": "UDP datagrams that the kernel dropped since its buffer was full",
}
"""Numbers of an engine's line (`engine.process.network_numbers`), and their help."""
BLIND_PEER: Final[dict[str, str]] = {
    "bytes": "bytes_allocated",
    "cores": "cores",
    "announced": "announced_cores",
    "clients": "clients",
    "connections": "connections",
}
"""Numbers of a blind peer in an engine's line, and their names after `blind_peer_`."""
BLIND_PEER_COUNTERS: Final[dict[str, str]] = {
    "cores_added": "Cores that clients had it keep",
    "add_cores_rx": "Requests of clients",
    "core_activations": "Cores that were downloaded or followed on a client's connection",
    "cores_dropped": "Requests, and cores of requests, beyond a bound",
    "bytes_gcd": "Bytes that were deleted to make room",
}
FACTS: Final = (
    ("seederfarm_engine_keys", "keys", "Keys that the engine has", 1.0),
    ("seederfarm_engine_synced_keys", "synced", "Keys of which it has all available blocks", 1.0),
    ("seederfarm_engine_stored_bytes", "stored_bytes", "Bytes of content", 1.0),
    ("seederfarm_engine_downloads_held", "held", "Whether downloads are paused", 1.0),
    ("seederfarm_engine_busy_seconds", "max_busy_ms", "Longest turn of its event loop, of 2 s", 0.001),
)
SILENT_HEARTBEATS: Final = 4
"""Heartbeats that the broker has not taken after which a worker is not ready."""
WAYS: Final = ("direct", "punched", "relayed")
LIMIT_NAMES: Final = ("disk", "up", "down", "peers", "files")


def registry_of(agent: Agent) -> CollectorRegistry:
    """All metrics of this process and its engines."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(agent))
    ProcessCollector(registry=registry)
    return registry


class WorkerCollector(Collector):
    """Reads the agent at each scrape; its engines are not asked."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        yield from _worker(self._agent)
        yield from _totals(self._agent)
        yield from _engines(self._agent.shards)

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: names need not be known before the first scrape."""
        return ()


def _worker(agent: Agent) -> Iterator[Metric]:
    with agent.reports.lock:
        phases = {phase: agent.reports.replicas.count(phase) for phase in Phase}
        changed = agent.reports.replicas.waiting
    copies = GaugeMetricFamily("seederfarm_worker_copies", "Copies by phase", labels=["phase"])
    for phase, count in phases.items():
        copies.add_metric([phase.value], count)
    yield copies
    samples, events = agent.state.waiting()
    waiting = GaugeMetricFamily(
        "seederfarm_worker_reports_waiting", "What waits to be reported to the farm", labels=["kind"]
    )
    for kind, count in (
        *(("copies", changed), ("samples", samples), ("events", events)),
        *(("answers", len(agent.reports.answers)), ("challenges", agent.challenges_waiting)),
    ):
        waiting.add_metric([kind], count)
    yield waiting
    refused = CounterMetricFamily(
        "seederfarm_worker_refused_messages", "Messages that were refused", labels=["reason"]
    )
    for reason, count in agent.state.refusals().items():
        refused.add_metric([reason], count)
    yield refused
    yield CounterMetricFamily(
        "seederfarm_worker_broker_connections", "Connections made to the broker", value=agent.connections
    )
    yield GaugeMetricFamily(
        "seederfarm_worker_last_report_timestamp_seconds",
        "When the broker last took a heartbeat; 0: never",
        value=agent.reported_at or 0.0,
    )
    yield GaugeMetricFamily(
        "seederfarm_worker_assignment_version", "Version of its assignment", agent.state.assignment_version
    )
    yield GaugeMetricFamily("seederfarm_worker_paused", "Whether it seeds nothing", value=int(agent.paused))


def _totals(agent: Agent) -> Iterator[Metric]:
    host, (received, sent) = host_stats(agent.settings.data), agent.moved
    for name, text, value in (
        ("hypercore_total_bytes_downloaded", "Bytes of verified blocks received", received),
        ("hypercore_total_bytes_uploaded", "Bytes of blocks sent", sent),
        ("hypercore_filesystem_size_bytes", "Size of the file system with the content", host.disk_bytes),
        ("hypercore_filesystem_avail_bytes", "Free bytes of that file system", host.disk_free_bytes),
    ):
        yield GaugeMetricFamily(name, text, value)


def _engines(shards: Iterable[Shard]) -> Iterator[Metric]:
    shards = list(shards)
    yield _gauge("seederfarm_engine_running", "Whether it runs", ((s, s.running) for s in shards))
    yield _gauge("seederfarm_engine_hung", "Whether it runs and is silent", ((s, s.hung) for s in shards))
    yield _gauge("seederfarm_engine_silence_seconds", "Time since its last line", _silences(shards))
    stalls = ((s, s.stall) for s in shards)
    yield _gauge("seederfarm_engine_stall_seconds", "Longest stall of its event loop, of a minute", stalls)
    for name, text, values in (
        ("seederfarm_engine_restarts", "Restarts", [(s, float(s.restarts)) for s in shards]),
        ("seederfarm_engine_hangs", "Kills of a silent engine", [(s, float(s.hangs)) for s in shards]),
        ("seederfarm_engine_cpu_seconds", "Processor time of the child", [(s, _cpu(s)) for s in shards]),
    ):
        family = CounterMetricFamily(name, text, labels=["engine"])
        for shard, value in values:
            family.add_metric([str(shard.index)], value)
        yield family
    memory = ((s, rss_of(s.pid) if s.pid is not None else 0) for s in shards)
    yield _gauge("seederfarm_engine_memory_bytes", "Resident bytes", memory)
    facts = [(shard, shard.facts) for shard in shards]
    for name, fact, text, scale in FACTS:
        yield _gauge(name, text, ((s, scale * float(each[fact])) for s, each in facts if fact in each))
    yield from _limits(facts)
    ways = GaugeMetricFamily(
        "seederfarm_engine_peers", "Connections by how they reach the peer", labels=["engine", "way"]
    )
    for shard, each in facts:
        for way in WAYS:
            if way in each.get("reach", {}):
                ways.add_metric([str(shard.index), way], each["reach"][way])
    yield ways
    yield from _blind_peer(facts)
    for name, text in NETWORK.items():
        numbers = ((s, each.get("network", {})) for s, each in facts)
        yield _gauge(name, text, ((s, each[name]) for s, each in numbers if name in each))


def _blind_peer(facts: Iterable[tuple[Shard, dict[str, Any]]]) -> Iterator[Metric]:
    """The names are those of official blind peers, where they have them."""
    for numbers in (each["blind_peer"] for _, each in facts if each.get("blind_peer")):
        for field, name in BLIND_PEER.items():
            yield GaugeMetricFamily(f"blind_peer_{name}", f"{name} of the blind peer", value=numbers[field])
        for name, text in BLIND_PEER_COUNTERS.items():
            value = numbers["counters"].get(name, 0)
            yield GaugeMetricFamily(f"blind_peer_{name}", text, value=value)


def _limits(facts: Iterable[tuple[Shard, dict[str, Any]]]) -> Iterator[Metric]:
    """Limits in force: how much is used, and whether they take effect."""
    labels = ["engine", "limit"]
    used = GaugeMetricFamily("seederfarm_engine_limit_used", "What a limit counts", labels=labels)
    maximum = GaugeMetricFamily("seederfarm_engine_limit_max", "What it allows", labels=labels)
    reached = GaugeMetricFamily("seederfarm_engine_limit_reached", "Whether it takes effect", labels=labels)
    for shard, each in facts:
        for limit in each.get("limits", ()):
            if limit["limit"] not in LIMIT_NAMES:
                continue
            at = [str(shard.index), limit["limit"]]
            used.add_metric(at, limit["value"])
            maximum.add_metric(at, limit["max"])
            reached.add_metric(at, int(limit["reached"]))
    yield from (used, maximum, reached)


def _silences(shards: Iterable[Shard]) -> Iterator[tuple[Shard, float]]:
    return ((shard, max(0.0, shard.silence)) for shard in shards)


def _gauge(name: str, text: str, values: Iterable[tuple[Shard, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["engine"])
    for shard, value in values:
        family.add_metric([str(shard.index)], float(value))
    return family


def _cpu(shard: Shard) -> float:
    try:
        times = psutil.Process(shard.pid).cpu_times() if shard.pid is not None else None
    except psutil.Error:
        return 0.0
    return 0.0 if times is None else float(times.user + times.system)


def unready(agent: Agent, now: float) -> list[str]:
    """Why the worker does not do its work; empty if it does. `now` is Unix time."""
    reasons = []
    for shard in agent.shards:
        if not shard.running:
            reasons.append(f"engine {shard.index} does not run")
        elif shard.hung:
            reasons.append(f"engine {shard.index} hangs")
    if agent.reported_at is None:
        reasons.append("the broker has taken no heartbeat yet")
    elif (age := now - agent.reported_at) > SILENT_HEARTBEATS * agent.settings.heartbeat:
        reasons.append(f"the broker took the last heartbeat {age:.0f} s ago")
    return reasons
