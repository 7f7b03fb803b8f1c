"""Bounds on the broker's memory per kind of key, and their enforcement.

An account of Redis bounds which keys a client may write to, not how much. So control measures: shared queues
are cut to their newest messages, and an account that fills its own keys, or opens hundreds of connections,
is suspended. The budget over all of it is in docs/security.md.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import redis

from farmwire.tasks import (
    JOIN_QUEUE,
    KEY_PREFIX,
    REPORTS_QUEUE,
    UNACKED_PARTS,
    join_queue_of,
    queue_of,
    report_queue_of,
    unacked_key,
)
from hypercore.keys import Z32_ALPHABET

from .acl import PIDBOX

MIB: Final = 1 << 20

MAX_REPORTS: Final = 1000
"""Messages in `reports`. No worker writes to it, and control moves 50 there at most
(`messaging.collector`)."""
MAX_REPORTS_BYTES: Final = 128 * MIB
"""Bytes of memory of `reports`."""
MAX_WORKER_REPORTS: Final = 200
"""Messages in the queue of reports of one worker. Honest ones stop at 41 (`workers.agent.reporter`)."""
MAX_WORKER_REPORTS_BYTES: Final = 64 * MIB
"""Bytes of memory of that queue. Honest workers stop at 8 MiB and one message, the largest of which has
31 MB."""
MAX_JOINS: Final = 1000
"""Messages in `join`. No token writes to it, and control moves 50 there at most."""
MAX_JOINS_BYTES: Final = 8 * MIB
"""Bytes of memory of `join`; a request has about 2 KB."""
MAX_TOKEN_JOINS: Final = 40
"""Waiting join requests of one token. Honest workers stop at 20 (`workers.agent.join_client`)."""
MAX_TOKEN_JOINS_BYTES: Final = MIB // 4
"""Bytes of memory of that queue."""
MAX_WORKER_BYTES: Final = 32 * MIB
"""Bytes of memory of the keys that one worker may write to, beside MAX_ENTRY_BYTES for each key it keeps."""
MAX_ENTRY_BYTES: Final = 512
"""Bytes for an entry of its assignment: about 140 in Redis, in up to three assignments that wait."""
MAX_BINDINGS_BYTES: Final = 4 * MIB
"""Bytes of each set in which consumers register bindings. All workers may add to those of remote control, and
none is read for that."""
MAX_CONNECTIONS: Final = 64
"""Connections of one account. A worker has about ten."""
MAX_CLIENT_BYTES: Final = 128 * MIB
"""Bytes that Redis holds for the connections of one account: answers that it does not read."""
LOG_ENTRIES: Final = 128
"""Entries of the broker's log of refusals that are read: all that Redis keeps by default."""
MAX_LOG_BYTES: Final = 256 * 1024
"""Bytes of names in that log. Names of our keys have about 100 bytes."""
LOG_SEEN_KEY: Final = f"{KEY_PREFIX}accounts.seen"
"""A hash in Redis of the log entries already reported. It is in Redis since it is lost together with the
log."""
ANSWERS_LIVE: Final = 60
"""Seconds after which unread answers to remote control are deleted."""
SCAN_COUNT: Final = 1000
MAX_SCANS: Final = 20
"""Steps through the keyspace in one pass; the next pass continues."""
ALL: Final = 0
"""Samples for MEMORY USAGE: all elements, about 30 ns each. Otherwise Redis extrapolates from the first few,
which the writer of the key chooses."""
SUSPENDED_FOR: Final = 3600
"""Seconds of a suspension."""
SUSPENDED_KEY: Final = f"{KEY_PREFIX}accounts.suspended"
"""A sorted set in Redis: user, and Unix time at which its suspension ends."""

SHARED: Final = (
    (REPORTS_QUEUE, MAX_REPORTS, MAX_REPORTS_BYTES),
    (JOIN_QUEUE, MAX_JOINS, MAX_JOINS_BYTES),
)
"""Queues with several writers, with the bounds of each."""
BINDINGS: Final = tuple(f"_kombu.{kind}.{PIDBOX}" for kind in ("binding", "binding_permanent"))


class Excess(NamedTuple):
    """An exceeded bound, and the measure taken."""

    what: str
    """A name that stays the same while the excess lasts."""
    text: str
    user: str = ""
    """The account that caused it, if that is certain."""


class Owner(NamedTuple):
    """An account of a worker."""

    user: str
    node_id: str
    entries: int
    """Number of entries in its assignment."""


def keys_of(node_id: str) -> tuple[str, ...]:
    """The keys that only this worker and control may write to: see `acl.worker_rules`."""
    queue = queue_of(node_id)
    parts = (f"{unacked_key(node_id)}.{part}" for part in UNACKED_PARTS)
    bindings = (f"_kombu.{kind}.{queue}" for kind in ("binding", "binding_permanent"))
    return (KEY_PREFIX + queue, *(KEY_PREFIX + key for key in (*parts, *bindings)))


def reports_of(node_id: str) -> str:
    """The key of the queue into which this worker reports."""
    return KEY_PREFIX + report_queue_of(node_id)


def cut_shared(client: Any) -> Iterator[Excess]:
    """Cut the queues with several writers to their bounds: the newest messages stay."""
    for queue, limit, max_bytes in SHARED:
        key = KEY_PREFIX + queue
        kind = client.type(key)
        if kind not in ("list", "none"):
            client.delete(key)
            yield Excess(f"kind of {queue}", f"{queue} was a {kind} and no queue; it was deleted")
            continue
        length = int(client.llen(key))
        keep = min(length, limit)
        while keep and _bytes(client, key) > max_bytes:
            keep //= 2
            client.ltrim(key, 0, keep - 1) if keep else client.delete(key)
        if keep < length:
            client.ltrim(key, 0, keep - 1) if keep else client.delete(key)
            yield Excess(queue, f"{queue} had {length} messages; the newest {keep} were kept")
    for name in BINDINGS:
        if _bytes(client, KEY_PREFIX + name) > MAX_BINDINGS_BYTES:
            client.delete(KEY_PREFIX + name)
            yield Excess(name, f"{name} was larger than {MAX_BINDINGS_BYTES // MIB} MiB; it was deleted")


def cut_owned(client: Any, owners: Iterable[Owner]) -> Iterator[Excess]:
    """Delete the keys of workers that exceed their share."""
    owners = list(owners)
    with client.pipeline(transaction=False) as pipe:
        for owner in owners:
            for key in keys_of(owner.node_id):
                pipe.execute_command("MEMORY", "USAGE", key, "SAMPLES", ALL)
        sizes = iter(pipe.execute())
    for owner in owners:
        size = sum(next(sizes) or 0 for _ in keys_of(owner.node_id))
        if size > MAX_WORKER_BYTES + MAX_ENTRY_BYTES * owner.entries:
            client.delete(*keys_of(owner.node_id))
            text = f"filled its queue at the broker with {size / MIB:.0f} MiB; they were deleted"
            yield Excess(f"keys of {owner.node_id}", text, owner.user)


def joins_of(place: str) -> str:
    """The key of the queue into which the holder of this token writes."""
    return KEY_PREFIX + join_queue_of(place)


def cut_joins(client: Any, places: Iterable[str], user_of: Callable[[str], str]) -> Iterator[Excess]:
    """Delete the queues of tokens that exceed their share."""
    places = list(places)
    for place, (length, size) in zip(places, _measured(client, [joins_of(p) for p in places]), strict=True):
        if length > MAX_TOKEN_JOINS or size > MAX_TOKEN_JOINS_BYTES:
            client.delete(joins_of(place))
            text = f"a token left {length} requests to join of {size / MIB:.1f} MiB; they were deleted"
            yield Excess(f"joins of {place}", text, user_of(place))


def cut_reports(client: Any, owners: Iterable[Owner], *, pressed: bool) -> Iterator[Excess]:
    """Delete the report queues of workers that exceed their share. `pressed`: memory is short, leave only the
    newest report of each; the rest is reported again within ten minutes."""
    owners = list(owners)
    keys = [reports_of(owner.node_id) for owner in owners]
    for owner, key, (length, size) in zip(owners, keys, _measured(client, keys), strict=True):
        if length > MAX_WORKER_REPORTS or size > MAX_WORKER_REPORTS_BYTES:
            client.delete(key)
            text = f"left {length} reports of {size / MIB:.1f} MiB at the broker; they were deleted"
            yield Excess(f"reports of {owner.node_id}", text, owner.user)
        elif pressed and length > 1:
            client.ltrim(key, 0, 0)


def _measured(client: Any, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Messages and bytes of memory of each queue."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.llen(key)
            pipe.execute_command("MEMORY", "USAGE", key, "SAMPLES", ALL)
        # Before Redis 7.0 a worker can replace it by another type of key, without a length.
        answers = [0 if isinstance(n, Exception) else int(n or 0) for n in pipe.execute(raise_on_error=False)]
    return zip(answers[::2], answers[1::2], strict=True)


def cut_unowned(client: Any, keys: Sequence[str], known: Callable[[Sequence[str]], set[str]]) -> list[str]:
    """Delete the queues in `keys`, of reports or requests to join, whose worker or token is not `known`:
    control reads no such queue. Returns their keys."""
    names = {key: match[1] for key in keys if (match := _OWNED.fullmatch(key)) is not None}
    there = known(list(names.values()))
    gone = sorted(key for key in keys if names.get(key) not in there)
    if gone:
        client.delete(*gone)
    return gone


def crowds(client: Any, is_ours: Callable[[str], bool]) -> Iterator[Excess]:
    """Accounts with too many connections, or too many bytes in them. Empty if we may not list clients."""
    try:
        clients = client.client_list()
    except redis.ResponseError:
        return
    number, held = Counter[str](), Counter[str]()
    for each in clients:
        number[each.get("user", "")] += 1
        held[each.get("user", "")] += int(each.get("tot-mem", 0))
    for user in filter(is_ours, number):
        if number[user] > MAX_CONNECTIONS:
            yield Excess(f"connections of {user}", f"has {number[user]} connections to the broker", user)
        elif held[user] > MAX_CLIENT_BYTES:
            text = f"has {held[user] / MIB:.0f} MiB waiting in its connections to the broker"
            yield Excess(f"connections of {user}", text, user)


def cut_log(client: Any, is_ours: Callable[[str], bool], *, pressed: bool) -> Iterator[Excess]:
    """Empty Redis' log of refused commands where it is large: it holds whole names of keys, up to 512 MiB
    each. `pressed`: memory is short, empty it unread. Does nothing if we may not read it."""
    try:
        entries = [] if pressed else client.acl_log(LOG_ENTRIES)
    except redis.ResponseError:
        return
    held = Counter[str]()
    for entry in entries:
        user, size = str(entry["username"]), len(str(entry["object"]))
        # A failed login does not prove which account sent it.
        held[user if entry["reason"] != "auth" and is_ours(user) else ""] += size + len(user)
    if not pressed and held.total() <= MAX_LOG_BYTES:
        return
    client.acl_log_reset()
    client.delete(LOG_SEEN_KEY)
    for user, size in held.items():
        if user and size > MAX_LOG_BYTES // 2:
            text = f"asked the broker for keys with names of {size // 1024:,} KiB that it may not use"
            yield Excess(f"log of {user}", text, user)


class Sweep:
    """Goes through the keyspace in steps."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._cursor = 0

    def step(self, client: Any) -> Iterator[list[str]]:
        """Keys that fit the pattern, some at a time."""
        for _ in range(MAX_SCANS):
            self._cursor, keys = client.scan(self._cursor, match=self._pattern, count=SCAN_COUNT)
            if keys:
                yield keys
            if self._cursor == 0:
                break


ANSWERS: Final = f"{KEY_PREFIX}*.reply.{PIDBOX}*"
"""Keys with answers to remote control."""
REPORTS_OF_ANY: Final = f"{KEY_PREFIX}{report_queue_of('*')}"
"""Report queues of all workers."""
JOINS_OF_ANY: Final = f"{KEY_PREFIX}{join_queue_of('*')}"
"""Queues of all tokens."""
_OWNED: Final = re.compile(
    re.escape(KEY_PREFIX)
    + rf"(?:reports\.(?=[{Z32_ALPHABET}]{{52}}\.)|joins\.(?=[0-9a-f]{{16}}\.))([a-z0-9]+)\.q"
)
"""The names that these queues have."""


def end_answers(client: Any, keys: Sequence[str], *, pressed: bool) -> int:
    """Set an expiry on answers to remote control without one: their reader may be gone. Returns how many.
    `pressed`: memory is short, delete them now."""
    if pressed:
        return int(client.delete(*keys))
    found = 0
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.ttl(key)
        for key, left in zip(keys, pipe.execute(), strict=True):
            if left == -1:
                found += 1
                pipe.expire(key, ANSWERS_LIVE)
        pipe.execute()
    return found


def suspend(client: Any, user: str) -> None:
    """Delete an account and end its connections. `accounts.sync` recreates it when the suspension is over."""
    client.zadd(SUSPENDED_KEY, {user: time.time() + SUSPENDED_FOR})
    client.execute_command("ACL", "DELUSER", user)


def suspended(client: Any) -> set[str]:
    """Users whose accounts are suspended now."""
    client.zremrangebyscore(SUSPENDED_KEY, "-inf", time.time())
    return set(client.zrange(SUSPENDED_KEY, 0, -1))


def _bytes(client: Any, key: str) -> int:
    """Bytes of memory of a key."""
    return int(client.execute_command("MEMORY", "USAGE", key, "SAMPLES", ALL) or 0)
