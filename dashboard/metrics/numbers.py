"""The metrics of the farm: each family from queries over all rows at once, kept for a while.

No label has a value that publishers, peers or lists of keys choose; names of workers are bounded.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hypercore.printable import visible
from seederfarm.registry.health_states import Health
from seederfarm.registry.models import Alert, ControlPulse, Drive, PlanState, Replica, Source, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.reach import engines_of, ways_of
from seederfarm.registry.stored_health import count_by_health

from ..reads.looks import of_worker
from ..reads.room import room_of

FRESH: Final = 10.0
"""Seconds for which numbers are kept at least: several scrapers cost no more than one."""
REST: Final = 20.0
"""They are kept for this many times as long as reading them took: a twentieth of the database at most."""
MAX_WORKERS: Final = 500
"""Workers with numbers of their own, by name; the others are in the sums alone. Ours."""
STATUSES: Final = (
    *("Online", "Silent", "Lost", "Draining", "Paused", "Engine hung", "Engine down"),
    *("Wants to join", "Retired"),
)
QUEUES: Final = ("control", "reports", "join", "workers", "worker_reports")


class FarmCollector(Collector):
    """Collects the numbers of the farm. Thread-safe; `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: Sequence[Metric] = ()
        self._until = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """The numbers, of now or of a moment ago. Raises DatabaseError."""
        with self._lock:
            if self._clock() >= self._until:
                started = self._clock()
                self._kept = list(_all(timezone.now()))
                took = self._clock() - started
                self._until = self._clock() + max(FRESH, REST * took)
            return self._kept

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: names need not be known before the first scrape."""
        return ()


def make_registry() -> CollectorRegistry:
    """The metrics of the farm and of this process."""
    registry = CollectorRegistry()
    registry.register(FarmCollector())
    ProcessCollector(registry=registry)
    return registry


def _all(now: datetime) -> Iterator[Metric]:
    yield from _drives()
    yield from _copies()
    yield from _workers(now)
    yield from _sources()
    yield from _control()
    yield _labelled(
        "seederfarm_alerts_open",
        "Open alerts by severity",
        "severity",
        {severity.value: 0 for severity in Severity}
        | dict(
            Alert.objects.filter(resolved_at__isnull=True)
            .order_by()
            .values_list("severity")
            .annotate(n=Count("pk"))
        ),
    )


def _drives() -> Iterator[Metric]:
    by_health = count_by_health(Drive.objects.all())
    found = {health.value: by_health[health] for health in Health}
    yield _labelled("seederfarm_drives", "Drives by state, as pages show it", "state", found)
    size = Drive.objects.aggregate(n=Sum("byte_length"))["n"] or 0
    used = Drive.objects.aggregate(n=Sum("served_bytes"), never=Count("pk", filter=Q(served_bytes=0)))
    yield GaugeMetricFamily("seederfarm_drives_served_bytes", "Bytes sent to their peers", used["n"] or 0)
    yield GaugeMetricFamily("seederfarm_drives_never_served", "Drives that no peer has read", used["never"])
    yield GaugeMetricFamily("seederfarm_drives_bytes", "Bytes of all drives, one copy of each", size)


def _copies() -> Iterator[Metric]:
    rows = Replica.objects.order_by().values_list("phase", "desired", "proven").annotate(n=Count("pk"))
    phases: Counter[str] = Counter({phase.value: 0 for phase in Replica.Phase})
    wanted = proven = 0
    for phase, is_wanted, is_proven, count in rows:
        phases[phase] += count
        wanted += count if is_wanted else 0
        proven += count if is_wanted and is_proven else 0
    yield _labelled("seederfarm_copies", "Copies by phase", "phase", phases)
    yield GaugeMetricFamily("seederfarm_copies_wanted", "Copies that workers should have", wanted)
    yield GaugeMetricFamily("seederfarm_copies_proven", "Of those, complete ones with a proof", proven)


def _workers(now: datetime) -> Iterator[Metric]:
    workers = list(Worker.objects.order_by("pk"))
    by_status = Counter(of_worker(worker, now).word for worker in workers)
    statuses = {_word(status): by_status[status] for status in STATUSES}
    yield _labelled("seederfarm_workers", "Workers by status, as pages show it", "status", statuses)
    here = [worker for worker in workers if worker.state in (Worker.State.ACTIVE, Worker.State.DRAINING)]
    refused = sum(worker.refused for worker in workers)
    yield CounterMetricFamily("seederfarm_refused_messages", "Messages of workers that were refused", refused)
    for name, text, value in (
        ("seederfarm_used_bytes", "Bytes of content on all workers", sum(w.used_bytes or 0 for w in here)),
        ("seederfarm_room_bytes", "Bytes that all workers may use", sum(map(room_of, here))),
        ("seederfarm_up_bytes_per_second", "Sent to peers", _rate(here, "up_per_second")),
        ("seederfarm_down_bytes_per_second", "Received from peers", _rate(here, "down_per_second")),
        ("seederfarm_peers", "Connections to peers", _rate(here, "connections")),
        ("seederfarm_engines_hung", "Engines that run and are silent", _rate(here, "hung")),
    ):
        yield GaugeMetricFamily(name, text, value)
    heard = (each for worker in here if worker.is_online(now) for each in engines_of(worker.engine))
    yield _labelled(
        "seederfarm_peers_by_way", "Connections by how they reach the peer", "way", ways_of(heard)
    )
    shown = here[:MAX_WORKERS]
    for name, text, of in (
        ("seederfarm_worker_last_seen_timestamp_seconds", "Last heartbeat", _last_seen),
        ("seederfarm_worker_used_bytes", "Bytes of content", lambda worker: worker.used_bytes or 0),
        ("seederfarm_worker_free_bytes", "Bytes that it can still store", lambda w: w.free_bytes or 0),
        ("seederfarm_worker_room_bytes", "Bytes that it may use", room_of),
        ("seederfarm_worker_load", "Load of its machine in a minute", lambda w: w.host.get("load", 0.0)),
        ("seederfarm_worker_cores", "Processor cores of its machine", lambda w: w.host.get("cores", 0)),
    ):
        family = GaugeMetricFamily(name, text, labels=["worker"])
        for worker in shown:
            family.add_metric([visible(worker.name)], of(worker))
        yield family


def _sources() -> Iterator[Metric]:
    rows = list(Source.objects.order_by().values_list("enabled", "failures", "held"))
    counts = {
        "off": sum(not enabled for enabled, _, _ in rows),
        "failing": sum(enabled and failures > 0 for enabled, failures, _ in rows),
        "held": sum(enabled and not failures and held > 0 for enabled, failures, held in rows),
    }
    counts["ok"] = len(rows) - sum(counts.values())
    yield _labelled("seederfarm_sources", "Sources by the result of the last reading", "status", counts)
    longest = max((failures for enabled, failures, _ in rows if enabled), default=0)
    yield GaugeMetricFamily("seederfarm_source_failures_max", "Longest run of failed readings", longest)


def _control() -> Iterator[Metric]:
    """Of the control process. What was not measured yet is left out."""
    pulse = ControlPulse.objects.filter(pk=ControlPulse.ONLY).first()
    plan = PlanState.objects.filter(pk=PlanState.ONLY).first()
    heard = Worker.objects.aggregate(at=Max("last_seen_at"))["at"]
    times: tuple[tuple[str, str, datetime | None], ...] = (
        ("beat", "When control last did scheduled work", pulse.at if pulse else None),
        ("plan", "When control last checked the whole plan", plan.swept_at if plan else None),
        ("intake", "When control last took a heartbeat of a worker", heard),
    )
    for name, text, at in times:
        if at is not None:
            yield GaugeMetricFamily(f"seederfarm_last_{name}_timestamp_seconds", text, at.timestamp())
    if plan is not None:
        yield GaugeMetricFamily("seederfarm_plan_seconds", "Duration of that check", plan.swept_seconds)
    if pulse is None:
        return
    queues = {name: pulse.queues[name] for name in QUEUES if name in pulse.queues}
    yield _labelled("seederfarm_queue_messages", "Messages that wait at the broker", "queue", queues)
    for name, text, number in (
        ("seederfarm_broker_used_bytes", "Memory of the broker", pulse.broker_used_bytes),
        ("seederfarm_broker_max_bytes", "Memory that the broker may use", pulse.broker_max_bytes),
        ("seederfarm_control_memory_bytes", "Resident bytes of control", pulse.memory_bytes),
    ):
        if number is not None:
            yield GaugeMetricFamily(name, text, number)
    yield CounterMetricFamily("seederfarm_control_cpu_seconds", "Processor time", pulse.cpu_seconds)


def _labelled(name: str, text: str, label: str, values: dict[Any, int] | Counter[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([str(value)], number)
    return family


def _last_seen(worker: Worker) -> float:
    return worker.last_seen_at.timestamp() if worker.last_seen_at else 0.0


def _rate(workers: Iterable[Worker], name: str) -> float:
    """The sum of a number of the last reports of workers that are heard."""
    now = timezone.now()
    return sum(float(w.engine.get(name, 0) or 0) for w in workers if w.is_online(now))


def _word(status: str) -> str:
    return status.lower().replace(" ", "_")
