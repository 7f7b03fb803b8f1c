"""`seederfarm up`, `down`, `status`, `logs`: the processes of the farm on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from hypercore.printable import json_text, visible
from workers import units

from ...settings import table
from ...settings.env import SettingsWrong
from ...settings.table import FarmSettings
from ...supervisor import logs as log_files
from ...supervisor.broker import NoRedis
from ...supervisor.home import AlreadyRunning, RunFiles
from ..common.extras import FARM, require
from ..common.failures import BadInput, Failure
from .output import json_option, rows, table_of

DOWN_WITHIN: Final = 60.0
"""Seconds that `down` waits for the farm to end."""

LIVE_POLL: Final = 0.2


def settings() -> FarmSettings:
    try:
        return table.load().checked()
    except SettingsWrong as error:
        raise BadInput(str(error)) from None


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background.")
@json_option
def up(detach: bool, as_json: bool) -> None:
    """Run the farm on this machine: pages, control plane, a worker and Flower. Ctrl-C stops it all.

    The first start makes the database and an account, and shows its password once.
    """
    require(FARM)
    farm = settings()
    emit = _print_json if as_json else _print_text
    if detach:
        from ...supervisor.detach import start_detached

        for event in start_detached():
            if event["event"] == "failed":
                raise Failure(event["text"])
            emit(event)
        if not as_json:
            click.echo("`seederfarm status` shows it, `seederfarm down` stops it.")
        return
    from ...supervisor.supervise import StartFailed, supervise

    try:
        if not as_json:
            click.echo(f"Starting the farm in {farm.home} …")
        supervise(farm, emit)
    except (AlreadyRunning, NoRedis, StartFailed) as error:
        raise Failure(str(error)) from None
    if not as_json:
        click.echo("Stopped.")


def _print_json(event: dict[str, Any]) -> None:
    click.echo(json_text(event))


def _print_text(event: dict[str, Any]) -> None:
    match event["event"]:
        case "admin":
            click.echo(f"Made an account: name {event['username']}, password {event['password']}")
            click.echo("This is shown once; `seederfarm shell` or the admin pages change it.")
        case "pages":
            rest = f"; starting {', '.join(event['starting'])} …" if event["starting"] else ""
            click.echo(f"The pages are at {event['address']}{rest}")
        case "ready":
            click.echo(f"Ready after {event['seconds']:.1f} s.")
            for process in event["not_ready"]:
                name, why = process["name"], process["why"] or "is still starting"
                click.echo(f"All but {name}: it {why}. `seederfarm logs {name}` shows what it wrote.")
        case "process":
            click.echo(visible(event["text"]))
        case _:
            pass


@click.command()
def down() -> None:
    """Stop the farm of this SEEDERFARM_HOME. Returns when all its processes have ended."""
    files = RunFiles(settings().home)
    pid = files.read_state().get("pid")
    if not files.is_running() or not isinstance(pid, int):
        click.echo("No farm runs here.")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise Failure(f"the farm's supervisor (process {pid}) belongs to another user") from None
    except ProcessLookupError:
        pass
    until = time.monotonic() + DOWN_WITHIN
    while files.is_running():
        if time.monotonic() > until:
            raise Failure(
                f"the farm (process {pid}) has not ended within {DOWN_WITHIN:g} s; it may still do so"
            )
        time.sleep(0.05)
    click.echo("Stopped.")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the farm's processes and a few numbers. Exit status 1 when it does not run."""
    farm = settings()
    files = RunFiles(farm.home)
    running = files.is_running()
    state = files.read_state() if running else {}
    counts = _counts()
    troubles = [] if counts is None else _network_troubles()
    if as_json:
        shown = {
            "running": running,
            "home": str(farm.home),
            **state,
            "farm": counts,
            "network_troubles": troubles,
        }
        click.echo(json_text(shown))
    else:
        _show_status(farm, state if running else None, counts)
        for trouble in troubles:
            click.echo(visible(trouble))
    if not running:
        raise click.exceptions.Exit(1)


def _counts() -> dict[str, int] | None:
    from .django_setup import NotInitialised, open_farm

    try:
        open_farm()
    except NotInitialised:
        return None
    from .counts import counts

    return counts()


def _network_troubles() -> list[str]:
    from .counts import network_troubles

    return network_troubles()


def _show_status(farm: FarmSettings, state: dict[str, Any] | None, counts: dict[str, int] | None) -> None:
    if state is None:
        click.echo(f"No farm runs in {farm.home}: `seederfarm up` starts it.")
    else:
        ready = "stopping" if state.get("stopping") else "ready" if state.get("ready") else "starting"
        click.echo(f"{farm.name}: {ready}, {state.get('address')} (process {state.get('pid')})")
        now = time.time()
        grid = table_of("process", "state", "pid", "for", "restarts", "what")
        for process in state.get("processes", ()):
            grid.add_row(
                process["name"],
                process["state"],
                str(process["pid"] or "–"),
                units.format_clock(max(0.0, now - process["since"])),
                str(process["restarts"]),
                process["about"] if process["state"] != "waiting" else process["last_end"],
            )
        rows(grid)
    if counts is not None:
        click.echo(
            f"{units.plural(counts['drives'], 'drive')} ({_short(counts)}), "
            f"{counts['complete']:,} of {counts['copies']:,} copies complete, "
            f"{counts['online']:,} of {units.plural(counts['workers'], 'worker')} online"
        )


def _short(counts: Mapping[str, int]) -> str:
    unproven = counts["unproven"]
    shown = f"{counts['short'] - unproven:,} with too few complete copies"
    return f"{shown}, {unproven:,} with too few proven copies" if unproven else shown


@click.command()
@click.argument("process", nargs=-1, metavar="[PROCESS...]")
@click.option("--live", is_flag=True, help="Follow the logs until Ctrl-C.")
@click.option("--errors", is_flag=True, help="Only lines about errors.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    default=200,
    show_default=True,
    help="Show the last N lines.",
)
@json_option
def logs(process: tuple[str, ...], live: bool, errors: bool, lines: int, as_json: bool) -> None:
    """Show the logs of the farm's processes in the order of time. PROCESS is a name that `status` shows."""
    folder = RunFiles(settings().home).logs
    known = log_files.names(folder)
    if not known:
        raise Failure(f"there are no logs in {folder}: no farm has run here yet")
    for name in process:
        if name not in known:
            raise BadInput(f"no process {name!r} has a log; there are {', '.join(known)}")
    wanted = list(process) or known
    followers = [log_files.Follower(folder / f"{name}.log") for name in wanted] if live else []
    width = max(map(len, wanted))
    found = (line for line in log_files.read(folder, wanted) if line.is_error or not errors)
    for line in deque(found, maxlen=lines):
        _show_line(line, width, as_json)
    try:
        while live:
            fresh = [line for follower in followers for line in follower.read()]
            for line in sorted(fresh, key=lambda line: line.at):
                if line.is_error or not errors:
                    _show_line(line, width, as_json)
            time.sleep(LIVE_POLL)
    except KeyboardInterrupt:
        return


def _show_line(line: log_files.Line, width: int, as_json: bool) -> None:
    if as_json:
        click.echo(json_text({"at": line.at, "process": line.process, "text": line.text}))
        return
    try:
        at = datetime.fromisoformat(line.at).astimezone(UTC).strftime("%m-%d %H:%M:%S")
    except ValueError:
        at = line.at[:14]
    click.echo(f"{visible(at)} {line.process:<{width}} {visible(line.text)}")
