"""Notifies workers that they were retired, while their accounts still let them hear it."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

import redis
from django.utils import timezone

from farmwire.tasks import KEY_PREFIX, RETIRE, Retire, queue_of, unacked_key
from seederfarm.registry.models import Worker

from ..messaging import outbox

TIMEOUT: Final = 3.0
"""Seconds in which workers that are connected take the message. Ours."""
POLL_EVERY: Final = 0.02
CHECK_AGAIN_AFTER: Final = 0.3
"""Seconds after which a message that seemed taken is looked for once more."""


def notify_retired(client: Any, node_ids: Collection[str]) -> None:
    """Send `Retire` to the retired ones among these workers. Returns when they took it, or after TIMEOUT.

    `node_ids`: ids of workers that are connected, and whose accounts are about to end."""
    rows = Worker.objects.filter(node_id__in=node_ids, state=Worker.State.RETIRED).values_list(
        "pk", "node_id"
    )
    now, until = timezone.now(), time.monotonic() + TIMEOUT
    waiting = []
    for pk, node_id in rows:
        outbox.send_now(pk, node_id, RETIRE, [Retire()], now.timestamp())
        waiting.append(node_id)
    while waiting and time.monotonic() < until:
        time.sleep(POLL_EVERY)
        if not any(_waits(client, node) for node in waiting):
            # A message that is being taken is in neither list for a moment
            time.sleep(CHECK_AGAIN_AFTER)
            waiting = [node for node in waiting if _waits(client, node)]


def _waits(client: Any, node_id: str) -> bool:
    """Whether a message to this worker was not taken, or not acknowledged, yet."""
    try:
        queued = client.llen(f"{KEY_PREFIX}{queue_of(node_id)}")
        return bool(queued or client.zcard(f"{KEY_PREFIX}{unacked_key(node_id)}.i"))
    except redis.ResponseError:  # something else has that name
        return False
