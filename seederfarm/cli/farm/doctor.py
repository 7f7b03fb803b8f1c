"""`seederfarm doctor`: check the farm and its machine."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from workers import units
from workers.doctor.finding import Finding, State
from workers.doctor.machine import check_clock, check_disk, check_versions, compare_clocks
from workers.doctor.network import check_dht

from ...settings.env import COMMAND
from ...settings.load import load
from ...settings.table import FarmSettings
from ...supervisor.home import RunFiles
from ..common.extras import FARM, require
from ..common.failures import Failure
from ..common.findings import show
from .output import json_option

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

TIMEOUT: Final = 5.0
"""Seconds for an answer of the pages."""
MAX_NAMES: Final = 5
"""Names of workers in one line."""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check settings, disk, clock, database, broker, processes, pages, DHT, NAT and workers.

    Each line says what is wrong, and what to do. Exit status 1 if anything is. The farm may run meanwhile.
    """
    require(FARM)
    show(_findings(), as_json=as_json)


def _findings() -> Iterator[Finding]:
    loaded = load()
    yield check_versions()
    for problem in loaded.problems:
        yield Finding("settings", "problem", f"{problem.name}: {problem.text}", problem.hint)
    if loaded.problems:
        return
    farm = loaded.settings
    yield Finding("settings", "ok", f"of the farm in {farm.home}")
    yield check_disk("disk", farm.home, 0)
    yield check_clock()
    yield from check_dht(farm.bootstrap)
    files = RunFiles(farm.home)
    running = files.is_running()
    yield from _check_pages(farm, running=running)
    try:
        from .django_setup import open_farm

        open_farm()
    except Failure as error:
        yield Finding("database", "problem", error.message, f"`{COMMAND} up` makes and starts a farm")
        return
    yield Finding("database", "ok", f"{farm.database.engine}, and has a farm in it")
    yield from _check_database_clock()
    yield from _check_settings(farm)
    yield from _check_work(farm, running=running, has_run=files.has_run())
    yield from _check_workers(is_down=_is_down(farm, running=running))


def _check_pages(farm: FarmSettings, *, running: bool) -> Iterator[Finding]:
    from ...supervisor.processes import reachable

    url = f"http://{reachable(farm.web_host)}:{farm.web_port}/livez"
    request = urllib.request.Request(url, headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            ours = answer.read(10) == b"ok\n"
    except urllib.error.HTTPError:
        ours = False
    except OSError as error:
        hint = f"`{COMMAND} up -d` starts it" if not running else f"`{COMMAND} logs web` says why"
        reason = getattr(error, "reason", error)
        yield Finding("pages", "problem", f"port {farm.web_port} does not answer: {reason}", hint)
        return
    if ours:
        yield Finding("pages", "ok", f"they answer at port {farm.web_port}")
    else:
        hint = "End the other program, or set SEEDERFARM_WEB_PORT"
        yield Finding("pages", "problem", f"another program has port {farm.web_port}", hint)


def _check_database_clock() -> Iterator[Finding]:
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        (theirs,) = cursor.fetchone()
    yield compare_clocks(datetime.now(UTC).timestamp(), float(theirs), "the database")


def _check_settings(farm: FarmSettings) -> Iterator[Finding]:
    """What Django's system checks, ours among them, know."""
    from django.core import checks

    from ...registry.checks import check_broker

    for message in checks.run_checks():
        yield _of_message("settings", message)
    if farm.bundled_redis:
        return
    broker = check_broker(farm)
    for message in broker:
        yield _of_message("broker", message)
    if not broker:
        yield Finding("broker", "ok", "it answers, and takes our login")


def _of_message(check: str, message: CheckMessage) -> Finding:
    state: State = "problem" if message.is_serious() else "warning"
    return Finding(check, state, message.msg, message.hint or "")


def _is_down(farm: FarmSettings, *, running: bool) -> bool:
    """Whether no process of the farm can run: the bundled Redis ends with the supervisor. Those that use
    another broker may run under anything, and elsewhere."""
    return farm.bundled_redis and not running


def _check_work(farm: FarmSettings, *, running: bool, has_run: bool) -> Iterator[Finding]:
    from ...health_checks import readiness

    start = f"`{COMMAND} up -d` starts the farm"
    if _is_down(farm, running=running):
        yield Finding("processes", "problem", f"no farm runs in {farm.home}", start)
        return
    reasons = readiness.reasons()
    if farm.bundled_redis and not farm.redis_socket.exists():  # without it no message is tried
        reasons = [*reasons, "the bundled Redis does not run"]
    hint = f"`{COMMAND} logs` says why" if running else start
    for reason in reasons:
        yield Finding("processes", "problem", reason, hint)
    if reasons:
        return
    works = "control worked within the last minute, and the broker takes its messages"
    if has_run and not running:
        yield Finding("processes", "warning", f"no farm runs in {farm.home}, though {works}", start)
    else:
        yield Finding("processes", "ok", works)


def _check_workers(*, is_down: bool) -> Iterator[Finding]:
    from ...registry.drift import has_drifted, ours
    from ...registry.models import Worker
    from ...registry.reach import Reachability, reachability_of

    now = datetime.now(UTC)
    members = list(Worker.objects.exclude(state=Worker.State.RETIRED).order_by("name"))
    if not members:
        yield Finding(
            "workers", "warning", "there is none", f"`{COMMAND} worker enroll` prints a command for one"
        )
        return
    if is_down:  # what they reported last says nothing of now
        text = f"{units.plural(len(members), 'worker')}, of which none is heard while the farm does not run"
        yield Finding("workers", "warning", text)
        return
    waiting = [worker.name for worker in members if worker.state == Worker.State.PENDING]
    silent = [
        worker.name
        for worker in members
        if worker.state != Worker.State.PENDING and not worker.is_online(now)
    ]
    online = [worker for worker in members if worker.is_online(now)]
    cut_off = [w.name for w in online if reachability_of(w.engine) is Reachability.OFFLINE]
    drifted = [f"{worker.name} ({worker.software})" for worker in online if has_drifted(worker)]
    for names, (of_one, of_several), hint in (
        (waiting, ("waits for approval", "wait for approval"), f"`{COMMAND} worker approve NAME`"),
        (silent, ("is not heard", "are not heard"), "`seederfarm worker doctor` on that machine says why"),
        (
            cut_off,
            ("reaches no node of the DHT", "reach no node of the DHT"),
            "`seederfarm worker doctor` on that machine says why",
        ),
        (
            drifted,
            (f"runs another version than {ours()}", f"run another version than {ours()}"),
            "Run the command of `worker enroll` there again: it updates",
        ),
    ):
        if names:
            yield Finding(
                "workers", "warning", f"{_listed(names)} {of_one if len(names) == 1 else of_several}", hint
            )
    yield Finding("workers", "ok" if online else "problem", f"{len(online)} of {len(members)} are heard")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"
