"""Small messages from control to workers, and the names of the tasks that all messages travel as."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from .message import MAX_COUNT, Count, Key, Message, NodeId

REPORTS_QUEUE = "reports"
"""Control reads from it, and moves there what is in the report queue of each worker, in turn."""
CONTROL_QUEUE = "control"
"""The control plane's own work."""

JOIN_QUEUE = "join"
"""Control reads from it, and moves there what is in the queue of each token, in turn."""

SYNC_ASSIGNMENT = "worker.sync_assignment"
AUDIT = "worker.audit"
CONFIGURE = "worker.configure"
REFRESH = "worker.refresh"
WATCH = "worker.watch"
RETIRE = "worker.retire"
REPORT = "control.report"
AUDIT_ANSWER = "control.audit_answer"
JOIN = "control.join"
WELCOME = "worker.welcome"

KEY_PREFIX = "farm:"
"""Prefix of every key in Redis."""

READ_ONLY_COMMANDS = frozenset(
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
"""Commands of Celery's remote control that only read. It is not signed: with the broker's password alone,
other commands could stop every worker."""

Limit = Literal["quota_bytes", "up_bytes_per_second", "down_bytes_per_second"]


def queue_of(worker: NodeId) -> str:
    """The queue that only this worker reads. It ends in a delimiter, so that no access rule matches two
    workers."""
    return f"node.{worker}.q"


def report_queue_of(worker: NodeId) -> str:
    """The queue that this worker reports into, and no other worker. Control empties it."""
    return f"reports.{worker}.q"


def join_queue_of(place: str) -> str:
    """The queue into which only the holder of this token writes its requests to join. `place`: see
    `join.queue_id`."""
    return f"joins.{place}.q"


def reply_key(place: str) -> str:
    """Redis key (a string) of the answer to a join request. `place`: see `join.queue_id`."""
    return f"join.{place}.q"


def unacked_key(worker: NodeId) -> str:
    """Prefix of the Redis keys where the transport keeps messages that this worker has not acknowledged."""
    return f"unacked.{worker}"


UNACKED_PARTS = "him"
"""The last parts of those keys: messages (a hash), their order (an index), a lock (a mutex)."""


def node_name(name: str, worker: NodeId) -> str:
    """The worker's name in Celery and Flower."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}@{host_of(worker)}"


def host_of(worker: NodeId) -> str:
    """The part of its name in Celery that the worker cannot choose."""
    return worker[:12]


MAX_SEARCH_AGAIN = 500
"""Keys of one `Refresh`. Ours."""


MAX_ORDERED_CLIENTS = 100
"""Clients of each list of a `BlindPeerOrder`. Ours."""


class BlindPeerOrder(Message, frozen=True, kw_only=True):
    """What clients may at a worker that is a blind peer. That machine's own settings stay in force: a client
    that they keep out stays out, one that they trust stays trusted."""

    version: Annotated[str, Meta(min_length=1, max_length=64)]
    """A digest of the rest. Heartbeats repeat it alone (`BlindPeerStats.order`)."""
    clients: Annotated[list[Key], Meta(max_length=MAX_ORDERED_CLIENTS)] | None = None
    """Clients that may name cores, beside trusted ones. None: any."""
    trusted: Annotated[list[Key], Meta(max_length=MAX_ORDERED_CLIENTS)] = []
    """Clients that may have cores announced, and delete them."""
    max_cores: Annotated[int, Meta(ge=1, le=MAX_COUNT)] | None = None
    """Cores of one client. None: the worker's own bound."""
    max_bytes: Count | None = None
    """Bytes of one client. None: no bound."""


class Configure(Message, frozen=True, kw_only=True):
    """Settings of a worker that the operator changes in the control plane. None: unchanged, unless listed in
    `lift`."""

    quota_bytes: Count | None = None
    paused: bool | None = None
    up_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    down_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    blind_peer: BlindPeerOrder | None = None
    """Absent where a heartbeat repeats the settings: it has its version."""
    lift: Annotated[list[Limit], Meta(max_length=10)] = []
    """Limits that control no longer sets. The worker's own options stay in force."""


class Refresh(Message, frozen=True, kw_only=True):
    """Report every replica now, changed or not; or, with `search_again`, look for the blocks that other
    replicas of these keys have."""

    search_again: Annotated[list[Key], Meta(max_length=MAX_SEARCH_AGAIN)] = []


class Retire(Message, frozen=True, kw_only=True):
    """The worker is no longer a member: its login ends now. It stops, and keeps what it stores."""
