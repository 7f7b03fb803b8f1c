"""`seederfarm init`, `config`, `dashboard`, `shell`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final

import click

from workers.settings.table import HOME, Setting

from ...settings import table
from ...settings.env import COMMAND
from ...settings.table import FarmSettings
from ...supervisor.processes import address
from ..common.extras import FARM, require
from ..common.failures import BadInput, Failure
from .checked_settings import settings
from .django_setup import open_farm
from .output import json_lines, json_option, plain, rows, table_of

HIDDEN: Final = "(hidden)"


@click.command()
@json_option
def init(as_json: bool) -> None:
    """Make the database and the first account, without starting anything. Safe to repeat."""
    require(FARM)
    farm = settings()
    env = {**os.environ, "SEEDERFARM_HOME": str(farm.home)}
    done = subprocess.run(
        [sys.executable, "-m", "seederfarm.supervisor.prepare"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(done.stderr.strip() or f"preparing the database ended with status {done.returncode}")
    report = json.loads(done.stdout.splitlines()[-1])
    if as_json:
        json_lines([{"home": str(farm.home), **report}])
        return
    if report["admin"] is not None:
        click.echo(
            f"Made an account: name {report['admin']['username']}, password {report['admin']['password']}"
        )
        click.echo("This is shown once.")
    click.echo(f"The farm in {farm.home} is ready to start: `{COMMAND} up`.")


@click.group()
def config() -> None:
    """Show the settings of the farm."""


@config.command(name="get")
@click.argument("name", required=False, metavar="[NAME]")
@json_option
def config_get(name: str | None, as_json: bool) -> None:
    """Show the settings in force. Values of secrets are hidden."""
    farm = settings()
    wanted = [row for row in table.TABLE if name is None or name.upper() in _names(row)]
    if not wanted:
        raise BadInput(f"{name!r} is no setting; `{COMMAND} config get` lists all")
    if as_json:
        json_lines({"name": row.name, "value": _shown(row, farm), "help": row.help} for row in wanted)
    elif name is not None:
        click.echo(_shown(wanted[0], farm))
    else:
        grid = table_of("name", "value")
        for row in wanted:
            grid.add_row(row.name, plain(_shown(row, farm)))
        rows(grid)


def _names(row: Setting[Any]) -> tuple[str, str]:
    return row.name, row.name.removeprefix("SEEDERFARM_")


def _shown(row: Setting[Any], farm: FarmSettings) -> str:
    value = table.value_of(row, farm)
    if value == row.default and row is not HOME:
        return row.shown
    return HIDDEN if row.secret else row.write(value)


@click.command()
@click.option("--open", "browse", is_flag=True, help="Open it in a browser.")
def dashboard(browse: bool) -> None:
    """Print the address of the pages."""
    where = address(settings())
    click.echo(where)
    if browse and click.launch(where) != 0:
        raise Failure("no browser could be started")


@click.command()
def shell() -> None:
    """Open a Python prompt with the farm's models."""
    open_farm()
    from django.core.management import call_command

    call_command("shell")
