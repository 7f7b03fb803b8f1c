"""`seederfarm status`: the processes of the farm on this machine, and a few numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from hypercore.printable import json_text, visible
from workers import units

from ...settings.env import COMMAND
from ...settings.table import FarmSettings
from ...supervisor.home import RunFiles
from .checked_settings import settings
from .output import ago, json_option, rows, table_of


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the farm's processes and a few numbers. Exit status 1 when it does not run."""
    farm = settings()
    files = RunFiles(farm.home)
    running = files.is_running()
    state = files.read_state() if running else {}
    counts = _counts()
    problems = [] if counts is None else _network_problems()
    if as_json:
        shown = {
            "running": running,
            "home": str(farm.home),
            **state,
            "farm": counts,
            "network_problems": problems,
        }
        click.echo(json_text(shown))
    else:
        _show_status(farm, state if running else None)
        if counts is not None:
            click.echo(_in_numbers(counts, running=running))
        for problem in problems:
            click.echo(visible(problem))
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


def _network_problems() -> list[str]:
    from .counts import network_problems

    return network_problems()


def _show_status(farm: FarmSettings, state: dict[str, Any] | None) -> None:
    if state is None:
        click.echo(f"No farm runs in {farm.home}: `{COMMAND} up` starts it.")
    else:
        ready = "stopping" if state.get("stopping") else "ready" if state.get("ready") else "starting"
        click.echo(f"{farm.name}: {ready}, {state.get('address')} (process {state.get('pid')})")
        now = time.time()
        grid = table_of("process", "state", "pid", "for", "restarts", "what", spare=("restarts", "pid"))
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


def _in_numbers(counts: Mapping[str, int], *, running: bool) -> str:
    workers = units.plural(counts["workers"], "worker")
    return (
        f"{units.plural(counts['drives'], 'drive')} ({_short(counts)}), "
        f"{counts['complete']:,} of {counts['copies']:,} copies complete, "
        + (f"{counts['online']:,} of {workers} online" if running else f"{workers}{_heard()}")
    )


def _heard() -> str:
    """When workers were heard, of a farm that does not run here: those that reported lately may be gone."""
    from .counts import last_heard

    at = last_heard()
    return "" if at is None else f", last heard {ago(at, datetime.now(UTC))}"


def _short(counts: Mapping[str, int]) -> str:
    unproven = counts["unproven"]
    shown = f"{counts['short'] - unproven:,} with too few complete copies"
    return f"{shown}, {unproven:,} with too few proven copies" if unproven else shown
