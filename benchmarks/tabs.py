"""What open pages cost the web process: many event streams while drives change.

The real web process on a private PostgreSQL; reports of workers change drives; the tabs are plain sockets.
`./farm bench tabs --tabs 500 --changes 10`. What it means, and figures: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from .control import HOME_PREFIX, SIZE, analyze, database, key_of, populate, sealed
from .usage import usage

WATCHED: Final = 100
"""Drives whose pages are open, all among those that change."""
BLOCKS: Final = 1526
STARTS_WITHIN: Final = 60.0
"""Seconds that the web process may take to answer."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./farm bench tabs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tabs", type=int, default=500)
    parser.add_argument("--changes", type=int, default=10, help="drives that change in a second")
    parser.add_argument("--drives", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix=HOME_PREFIX) as home:
        os.environ["SEEDERFARM_HOME"] = home
        with database(Path(home), options.drives, sqlite=False):
            fill(options.drives, options.workers)
            with web() as (process, port):
                print(f"{'tabs':>6}{'CPU, % of a core':>18}{'events/s':>10}{'KB/s':>8}{'peak RSS':>10}")
                for tabs in (0, 1, options.tabs):
                    row = asyncio.run(measure(process.pid, port, tabs, options))
                    print(row, flush=True)
    return 0


def fill(drives: int, workers: int) -> None:
    """Drives with complete copies, as a settled farm has them."""
    from django.db import connection
    from django.utils import timezone

    from seederfarm.control.messaging.outbox import outbox
    from seederfarm.control.reconcile.liveness import OutageDetector
    from seederfarm.control.reconcile.reconcile import reconcile

    from .control import SilentBroker

    now = timezone.now()
    populate(drives, workers, now)
    with outbox.through(SilentBroker()):
        reconcile(now=now, outages=OutageDetector(now - timedelta(days=1)))
    report(range(drives), workers, BLOCKS)
    analyze(connection)


_sequence: dict[int, int] = {}


def report(numbers: Sequence[int] | range, workers: int, have: int) -> None:
    """Take in what workers say of the drives of these numbers: `have` of 1,526 blocks."""
    from django.utils import timezone

    from farmwire.report import ReplicaReport, Report
    from seederfarm.control.messaging.outbox import outbox
    from seederfarm.control.reports.ingest import ingest_report
    from seederfarm.registry.models import Replica

    from .control import SilentBroker

    now = timezone.now()
    keys = {key_of(number) for number in numbers}
    held: dict[str, list[str]] = {}
    for name, key in Replica.objects.filter(drive__key__in=keys).values_list("worker__name", "drive__key"):
        held.setdefault(name, []).append(key)
    for name, here in held.items():
        number = int(name.removeprefix("w"))
        copies = [
            ReplicaReport(
                key=key, phase="complete" if have == BLOCKS else "downloading", length=BLOCKS, blocks=BLOCKS,
                have_blocks=have, bytes=SIZE, have_bytes=SIZE * have // BLOCKS, peers=3,
                writer_seen_at=now.timestamp(), observed_at=now.timestamp(),
            )
            for key in here
        ]  # fmt: skip
        for start in range(0, len(copies), 500):
            _sequence[number] = _sequence.get(number, 0) + 1
            part = Report(replicas=copies[start : start + 500])
            with outbox.through(SilentBroker()):
                result = ingest_report(sealed(part, number, _sequence[number], now), now)
            assert not result.refused, result.refused


@contextmanager
def web() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The web process of a farm, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "uvicorn", "seederfarm.asgi:application", "--host", "127.0.0.1",
        "--port", str(port), "--no-access-log", "--lifespan", "off", "--log-level", "warning",
        "--timeout-graceful-shutdown", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/login/", timeout=10).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the web process did not start") from None
                time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


def session() -> str:
    """The cookie of a person who is logged in."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    user, _ = get_user_model().objects.get_or_create(username="viewer", is_superuser=True)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    return f"{settings.SESSION_COOKIE_NAME}={store.session_key}"


def topics(tab: int) -> str:
    """Of the overview, a list and the pages of drives, in turn."""
    frame = ["farm.status", "farm.alerts"]
    key = key_of(tab % WATCHED)
    pages = (
        ["farm.overview", "farm.events"],
        ["workers.verdict", "workers.table"],
        [f"drive.{key}.{part}" for part in ("verdict", "copies", "events", "about")],
    )
    return ",".join(frame + pages[tab % len(pages)])


class Heard:
    events = 0
    size = 0
    open = 0


async def tab(port: int, cookie: str, wanted: str, heard: Heard) -> None:
    """One open page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"GET /live/?topics={wanted} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n"
            f"Accept: text/event-stream\r\n\r\n".encode()
        )
        status = await reader.readline()
        assert b" 200 " in status, status
        heard.open += 1
        while data := await reader.read(1 << 16):
            heard.events += data.count(b"event: ")
            heard.size += len(data)
    finally:
        writer.close()


async def measure(pid: int, port: int, tabs: int, options: Any) -> str:
    heard = Heard()
    cookie = await asyncio.to_thread(session)
    tasks = [asyncio.create_task(tab(port, cookie, topics(number), heard)) for number in range(tabs)]
    changes = asyncio.create_task(change(options))
    try:
        while heard.open < tabs:
            failed = [task for task in tasks if task.done()]
            if failed:
                failed[0].result()
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)  # every page has its first fragments
        before, events, size, start = usage(pid), heard.events, heard.size, time.monotonic()
        await asyncio.sleep(options.seconds)
        took, after = time.monotonic() - start, usage(pid)
    finally:
        for task in (*tasks, changes):
            task.cancel()
        await asyncio.gather(*tasks, changes, return_exceptions=True)
    return (
        f"{tabs:>6}{(after.cpu - before.cpu) / took:>18.1%}{(heard.events - events) / took:>10.1f}"
        f"{(heard.size - size) / took / 1000:>8.0f}{after.peak_rss / 1e6:>7.0f} MB"
    )


async def change(options: Any) -> None:
    """As many drives as asked change in each second: blocks are missing, and are there again."""
    have = cycle((BLOCKS - 100, BLOCKS - 50, BLOCKS))
    turn = 0
    while True:
        start = time.monotonic()
        first = turn * options.changes % WATCHED
        await asyncio.to_thread(report, range(first, first + options.changes), options.workers, next(have))
        turn += 1
        await asyncio.sleep(max(0.0, 1 - (time.monotonic() - start)))
