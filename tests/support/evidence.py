"""What a failed test shows of a farm that still runs: threads, logs, queues of the broker, workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from redis import Redis, RedisError

from .json_process import catches

TAIL = 12_000
"""Characters of a log."""
KEYS = 300
"""Keys of the broker that are shown."""

Shown = Callable[[], str]
shown_on_failure = pytest.StashKey[list[Shown]]()


def show_on_failure(item: pytest.Item, *shown: Shown) -> None:
    """Add to the report of a failed test what these return right after the failure: its processes run still,
    and their logs do not yet end with errors of the end."""
    item.stash.setdefault(shown_on_failure, []).extend(shown)


def sections(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """What the test is to show."""
    for number, shown in enumerate(item.stash.get(shown_on_failure, [])):
        try:
            yield f"evidence {number}", shown()
        except Exception as error:  # the failure of the test is what counts
            yield f"evidence {number}", f"cannot be had: {error!r}"


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-TAIL:] if log.exists() else ""


def dump_threads(pids: Iterable[int]) -> None:
    """Have Celery's processes write the stacks of their threads to their logs: they do so on SIGUSR1."""
    asked = [pid for pid in pids if catches(pid, signal.SIGUSR1)]
    for pid in asked:
        os.kill(pid, signal.SIGUSR1)
    if asked:
        time.sleep(0.5)


def broker_state(url: str) -> str:
    """Lengths of all queues and the connections."""
    lines = []
    try:
        with Redis.from_url(url, socket_timeout=5, decode_responses=True) as client:
            for key in sorted(client.scan_iter(count=1000))[:KEYS]:
                kind = client.type(key)
                length = client.llen(key) if kind == "list" else client.zcard(key) if kind == "zset" else ""
                lines.append(f"{kind} {key} {length}")
            for each in client.client_list():
                parts = ("user", "cmd", "age", "idle", "qbuf", "omem")
                lines.append(" ".join(f"{part}={each.get(part)}" for part in parts))
    except (RedisError, OSError) as error:
        lines.append(f"the broker: {error}")
    return "\n".join(lines)
