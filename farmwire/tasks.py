"""What else control tells a worker, and the names of the tasks that all messages travel as."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from .message import Count, Key, NodeId, Shape

REPORTS_QUEUE = "reports"
"""Workers write to it, control reads from it."""
CONTROL_QUEUE = "control"
"""The control plane's own work."""

JOIN_QUEUE = "join"
"""Whoever has a token writes to it, control reads from it."""

SYNC_MANIFEST = "worker.sync_manifest"
AUDIT = "worker.audit"
CONFIGURE = "worker.configure"
REFRESH = "worker.refresh"
REPORT = "control.report"
AUDIT_ANSWER = "control.audit_answer"
JOIN = "control.join"
WELCOME = "worker.welcome"

KEY_PREFIX = "farm:"
"""Of every key in Redis."""

ASKING = frozenset(
    {
        "ping",
        "hello",
        "clock",
        "heartbeat",
        "enable_events",
        "stats",
        "conf",
        "report",
        "registered",
        "active",
        "scheduled",
        "reserved",
        "revoked",
        "active_queues",
        "query_task",
        "dump_active",
        "dump_reserved",
        "dump_schedule",
        "dump_revoked",
        "dump_tasks",
    }
)
"""Of Celery's remote control, which is not signed: what only asks. Whoever has the broker's password could
otherwise stop every worker with one message."""

Limit = Literal["quota_bytes", "up_bytes_per_second", "down_bytes_per_second"]


def queue_of(worker: NodeId) -> str:
    """The queue that only this worker reads. It ends in a delimiter, so that no access rule fits two
    workers."""
    return f"node.{worker}.q"


def reply_key(place: str) -> str:
    """Where the answer to a request to join is left: a string in Redis. `place`: see `enrol.place_of`."""
    return f"join.{place}.q"


def unacked_key(worker: NodeId) -> str:
    """Where the transport keeps what this worker was given and has not acknowledged, up to its last part."""
    return f"unacked.{worker}"


UNACKED_PARTS = "him"
"""The last parts: the messages (a hash), their order (an index), a lock (a mutex)."""


def node_name(name: str, worker: NodeId) -> str:
    """How the worker is called in Celery and Flower."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}@{host_of(worker)}"


def host_of(worker: NodeId) -> str:
    """The part of its name in Celery that the worker cannot choose."""
    return worker[:12]


MAX_LOOK_AGAIN = 500
"""Keys of one such order. Ours."""


class Configure(Shape, frozen=True, kw_only=True):
    """Settings of a worker that the operator changes in the control plane. None: as it is, unless it is in
    `lift`."""

    quota_bytes: Count | None = None
    paused: bool | None = None
    up_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    down_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    lift: Annotated[list[Limit], Meta(max_length=10)] = []
    """Limits that control sets no longer. What the worker's own operator said stays in force."""


class Refresh(Shape, frozen=True, kw_only=True):
    """Report about every replica now, whether it changed or not; or, with `look_again`, look for what other
    copies have of these keys."""

    look_again: Annotated[list[Key], Meta(max_length=MAX_LOOK_AGAIN)] = []
