"""Rights of the broker's accounts, as Redis access rules.

Pure: rules from names. Measured with kombu 5.7: `ACL LOG` of a Redis stays empty while a worker joins, takes
tasks, is inspected, sends events, is killed and gets its unacknowledged messages again.
"""

from __future__ import annotations

from typing import Final

from farmwire.tasks import (
    KEY_PREFIX,
    UNACKED_PARTS,
    host_of,
    join_queue_of,
    queue_of,
    reply_key,
    report_queue_of,
    unacked_key,
)

Version = tuple[int, ...]

SELECTORS: Final = (7, 0)
"""Version from which an account can have several sets of rights, and write-only keys."""
SETINFO: Final = (7, 2)
"""Version from which clients send CLIENT SETINFO."""
INTRODUCTIONS: Final = ("+client|setinfo", "+client|maint_notifications")
"""Commands that redis-py tries on every server. 6.2 knows neither, and logs a refusal of each unless it is
allowed; 7.0 and later accept no rules about unknown commands, and refuse them without logging."""

CONNECT: Final = "+ping +hello +select +client|setname"

LEAVE: Final = "+lpush +llen"
"""In a queue that control reads: add a message, and read the length."""

PIDBOX: Final = "celery.pidbox"
"""The exchange of Celery's remote control."""

WORKER_COMMANDS: Final = (
    "+multi +exec +discard +watch +unwatch +brpop +lpush +rpush +llen +del +sadd +srem +smembers "
    "+zadd +zrem +zrange +hset +hget +hdel +set "
    "+psubscribe +punsubscribe +unsubscribe"
)
"""No scripts: a loop in Lua stops the whole broker. kombu's lock is a script and is replaced in
`workers.transport`. The other commands can fill memory, which `budget` bounds."""

CLEAN_UP: Final = "+del +llen +exists"
"""For its remote-control queue, which is always empty: declare and delete it."""


def _k(key: str) -> str:
    """A key as a pattern that matches it alone."""
    return KEY_PREFIX + "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in key)


def join_rules(place: str, version: Version) -> list[str]:
    """Rights of a token: send a join request, fetch its answer."""
    # A string and not a list: before Redis 7 every right applies to all keys, and an account that may pop its
    # answer could pop the requests of others.
    rules = [*_connect(version), f"~{_k(reply_key(place))}", "+getdel"]
    if version >= SELECTORS:
        return [*rules, f"(-@all {LEAVE} ~{_k(join_queue_of(place))})"]
    return [*rules, *LEAVE.split(), f"~{_k(join_queue_of(place))}"]


def worker_rules(node_id: str, version: Version, *, database: int = 0) -> list[str]:
    """Rights of a worker: its own queue, its unacknowledged messages, its own queue of reports, answers to
    remote control.

    Before Redis 7 a right holds for all keys and channels of an account. There it cannot publish, since
    that would allow publishing remote control for all workers.
    """
    queue = queue_of(node_id)
    channel = f"{KEY_PREFIX}/{database}."
    rules = [
        *_connect(version),
        *WORKER_COMMANDS.split(),
        f"~{_k(queue)}",
        *(f"~{_k(unacked_key(node_id))}.{part}" for part in UNACKED_PARTS),
        f"~{_k(f'_kombu.binding.{queue}')}",
        f"~{_k(f'_kombu.binding_permanent.{queue}')}",
        f"~{_k(f'_kombu.binding.{PIDBOX}')}",
        f"~{_k(f'_kombu.binding_permanent.{PIDBOX}')}",
        f"&{channel}{PIDBOX}",
    ]
    answers = f"{KEY_PREFIX}*.reply.{PIDBOX}"
    reply_queues = _k(f"_kombu.binding.reply.{PIDBOX}")
    # Any host part is allowed in its name; the queue is where kombu listens for remote control.
    remote = f"{KEY_PREFIX}*@{host_of(node_id)}.{PIDBOX}"
    if version >= SELECTORS:
        return [
            *rules,
            f"(-@all {LEAVE} ~{_k(report_queue_of(node_id))})",
            f"(-@all {CLEAN_UP} ~{remote})",
            f"(-@all +lpush %W~{answers})",
            f"(-@all +smembers %R~{reply_queues})",
            f"(-@all +publish &{channel}celeryev/worker.* &{channel}celeryev/task.*)",
        ]
    reports = f"~{_k(report_queue_of(node_id))}"
    return [*rules, f"~{remote}", reports, f"~{answers}", f"~{reply_queues}"]


def may_publish(version: Version) -> bool:
    """Whether a worker's account may publish events."""
    return version >= SELECTORS


def _connect(version: Version) -> list[str]:
    rules = ["resetkeys", "resetchannels", "-@all", *CONNECT.split()]
    if version < SELECTORS:
        return [*rules, *INTRODUCTIONS]
    return [*rules, INTRODUCTIONS[0]] if version >= SETINFO else rules
