"""`seederfarm logs`: what the processes of the farm on this machine wrote."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import Final

import click

from hypercore.printable import json_text, visible

from ...supervisor import logs as log_files
from ...supervisor.home import RunFiles
from ..common.failures import BadInput, Failure
from .checked_settings import settings
from .output import json_option

LIVE_POLL: Final = 0.2


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
