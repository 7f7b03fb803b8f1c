"""Records that control lives, how long the broker's queues are, and what the process uses.

Beat starts it every few seconds, so its last time shows whether beat, broker and control work together.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import psutil
import redis
from django.conf import settings
from django.utils import timezone

from farmwire.tasks import CONTROL_QUEUE, JOIN_QUEUE, KEY_PREFIX, REPORTS_QUEUE, queue_of, report_queue_of
from seederfarm.registry.models import ControlPulse, Worker

from .accounts import TAKING_PART

log = logging.getLogger(__name__)

TIMEOUT: Final = 2.0
"""Seconds for the broker to accept a connection, and again to answer."""
SHARED: Final = (CONTROL_QUEUE, REPORTS_QUEUE, JOIN_QUEUE)
PORTION: Final = 500
"""Queues of workers that are asked for at a time."""


def record_pulse() -> None:
    """Replace the one row. Without the broker, its part is empty."""
    process = psutil.Process()
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info().rss
    queues, broker = _broker()
    ControlPulse.objects.update_or_create(
        pk=ControlPulse.ONLY,
        defaults={
            "at": timezone.now(),
            "queues": queues,
            "broker_used_bytes": broker.get("used_memory"),
            "broker_max_bytes": broker.get("maxmemory") or None,
            "cpu_seconds": times.user + times.system,
            "memory_bytes": memory,
        },
    )


def _broker() -> tuple[dict[str, int], dict[str, Any]]:
    """Messages in each kind of queue, and what INFO reports of the broker's memory."""
    client = redis.Redis.from_url(
        settings.FARM.redis_client_url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT, retry=None
    )
    nodes = list(Worker.objects.filter(state__in=TAKING_PART).values_list("node_id", flat=True))
    try:
        with client:
            queues = {name: _length(client, [name]) for name in SHARED}
            queues["workers"] = _length(client, [queue_of(node) for node in nodes])
            queues["worker_reports"] = _length(client, [report_queue_of(node) for node in nodes])
            return queues, _memory(client)
    except (redis.RedisError, OSError) as error:
        log.warning("the broker's queues could not be measured: %s", error)
        return {}, {}


def _length(client: Any, names: list[str]) -> int:
    """Messages in these queues together. A key that is no list counts as empty: its worker may write it."""
    total = 0
    for start in range(0, len(names), PORTION):
        pipe = client.pipeline(transaction=False)
        for name in names[start : start + PORTION]:
            pipe.llen(KEY_PREFIX + name)
        total += sum(n for n in pipe.execute(raise_on_error=False) if isinstance(n, int))
    return total


def _memory(client: Any) -> dict[str, Any]:
    try:
        return dict(client.info("memory"))
    except redis.ResponseError:  # a login that may not ask
        return {}
