"""Checks of a worker: its membership, and its way to the broker."""

from __future__ import annotations

import fcntl
import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from redis import Redis

from ..agent.broker import CONNECT_TIMEOUT, trusting_url
from ..agent.join_client import problem_of
from ..agent.refused_logins import refused
from ..agent.settings import WorkerSettings
from ..state.state import FILE, LOCK
from .finding import Finding
from .machine import check_clock, check_disk, check_versions
from .network import check_dht, check_udp_port

PROGRAM = "seederfarm"
"""The command where the program is installed."""
JOIN = "`seederfarm worker enroll` on the farm prints the command that joins"
REFUSED = "it refuses this worker's login: the worker was retired, or the farm is another one"


def check_worker(settings: WorkerSettings, command: str = PROGRAM) -> Iterator[Finding]:
    """All checks of a worker, one after the other. Hints call the program `command`."""
    yield check_versions()
    yield check_disk("disk", settings.data, settings.limits.keep_free)
    yield check_clock()
    running = is_running(settings.data)
    yield check_udp_port(settings.port, used_by_us=running)
    yield from check_dht(settings.bootstrap)
    start = f"`{command} worker run --data {shlex.quote(str(settings.data))}`"
    if command == PROGRAM:
        start = f"sudo systemctl start seederfarm-worker, or {start}"
    yield from check_farm(read_facts(settings.data), settings.data, running=running, start=start)


def is_running(data: Path) -> bool:
    """Whether a worker uses the directory now."""
    try:
        descriptor = os.open(data / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_facts(data: Path) -> dict[str, str]:
    """Single values of the worker's state, read beside a worker that runs. Empty: it has none."""
    if not (data / FILE).exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{data / FILE}?mode=ro", uri=True, timeout=5)) as database:
            return dict(database.execute("SELECT name, value FROM fact"))
    except sqlite3.Error:
        return {}


def check_farm(facts: dict[str, str], data: Path, *, running: bool, start: str) -> Iterator[Finding]:
    """Membership, and the broker unless the farm retired the worker. `start`: what starts it."""
    if not facts.get("broker") or facts.get("retired"):
        yield check_membership(facts, running=running, start=start)
        return
    broker = check_broker(facts["broker"], data)
    yield check_membership(facts, running=running, start=start, is_known=broker.text != REFUSED)
    yield broker


def check_membership(facts: dict[str, str], *, running: bool, start: str, is_known: bool = True) -> Finding:
    """Whether it belongs to a farm, and runs. `start`: what starts it; `is_known`: the broker may know it."""
    if not facts.get("control"):
        return Finding("farm", "problem", "this worker belongs to no farm", JOIN)
    name = facts.get("farm", "")
    if facts.get("retired"):
        return Finding("farm", "problem", f"{name} has retired this worker; what it stored is kept", JOIN)
    if facts.get("secret"):
        hint = f"`seederfarm worker approve NAME` on the farm, if it waits there; else {JOIN}"
        return Finding("farm", "warning", f"{name} has not let this worker in yet", hint)
    if not running and not is_known:  # to start one that was retired while it was away changes nothing
        return Finding("farm", "problem", f"it was a member of {name}, and does not run", JOIN)
    if not running:
        return Finding("farm", "problem", f"a member of {name}, but the worker does not run", start)
    return Finding("farm", "ok", f"a member of {name}, and runs")


def check_broker(url: str, data: Path) -> Finding:
    """Log in as the worker does."""
    options = {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_timeout": CONNECT_TIMEOUT, "retry": None}
    address = trusting_url(url, data).replace("redis+socket://", "unix://", 1)
    try:
        with Redis.from_url(address, **options) as client:
            client.ping()
    except Exception as error:  # whatever redis and the socket raise
        if refused(str(error)):
            return Finding("broker", "problem", REFUSED, JOIN)
        return Finding(
            "broker", "problem", problem_of(error, url)[0], "Does a firewall let this machine out to it?"
        )
    return Finding("broker", "ok", "it takes this worker's login")
