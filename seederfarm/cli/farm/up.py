"""`seederfarm up`, `down`: start and stop the farm on this machine."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Final

import click

from hypercore.printable import json_text, visible

from ...settings.env import COMMAND
from ...supervisor.broker import NoRedis
from ...supervisor.home import AlreadyRunning, RunFiles
from ..common.extras import FARM, require
from ..common.failures import Failure
from .checked_settings import settings
from .output import json_option

DOWN_TIMEOUT: Final = 60.0
"""Seconds that `down` waits for the farm to end."""


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
            click.echo(f"`{COMMAND} status` shows it, `{COMMAND} down` stops it.")
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
            click.echo(f"This is shown once; `{COMMAND} shell` or the admin pages change it.")
        case "pages":
            rest = f"; starting {', '.join(event['starting'])} …" if event["starting"] else ""
            click.echo(f"The pages are at {event['address']}{rest}")
        case "ready":
            click.echo(f"Ready after {event['seconds']:.1f} s.")
            for process in event["not_ready"]:
                name, why = process["name"], process["why"] or "is still starting"
                click.echo(f"All but {name}: it {why}. `{COMMAND} logs {name}` shows what it wrote.")
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
    until = time.monotonic() + DOWN_TIMEOUT
    while files.is_running():
        if time.monotonic() > until:
            raise Failure(
                f"the farm (process {pid}) has not ended within {DOWN_TIMEOUT:g} s; it may still do so"
            )
        time.sleep(0.05)
    click.echo("Stopped.")
