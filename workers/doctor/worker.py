"""Checks of a worker: its membership, and its way to the broker."""

from __future__ import annotations

import fcntl
import os
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

JOIN = "`seederfarm worker enroll` on the farm prints the command that joins"


def check_worker(settings: WorkerSettings) -> Iterator[Finding]:
    """All checks of a worker, one after the other."""
    yield check_versions()
    yield check_disk("disk", settings.data, settings.limits.keep_free)
    yield check_clock()
    running = is_running(settings.data)
    yield check_udp_port(settings.port, used_by_us=running)
    yield from check_dht(settings.bootstrap)
    facts = read_facts(settings.data)
    yield check_membership(facts, running=running)
    if facts.get("broker"):
        yield check_broker(facts["broker"], settings.data)


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


def check_membership(facts: dict[str, str], *, running: bool) -> Finding:
    """Whether it belongs to a farm, and runs."""
    if not facts.get("control"):
        return Finding("farm", "problem", "this worker belongs to no farm", JOIN)
    name = facts.get("farm", "")
    if facts.get("secret"):
        hint = f"`seederfarm worker approve NAME` on the farm, if it waits there; else {JOIN}"
        return Finding("farm", "warning", f"{name} has not let this worker in yet", hint)
    if not running:
        hint = "sudo systemctl start seederfarm-worker, or `seederfarm worker run`"
        return Finding("farm", "problem", f"a member of {name}, but the worker does not run", hint)
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
            text = "it refuses this worker's login: the worker was retired, or the farm is another one"
            return Finding("broker", "problem", text, JOIN)
        return Finding(
            "broker", "problem", problem_of(error, url)[0], "Does a firewall let this machine out to it?"
        )
    return Finding("broker", "ok", "it takes this worker's login")
