"""`seederfarm remove`: removes drives and their copies."""

from __future__ import annotations

import click

from workers import units

from ..common.failures import Failure
from .django_setup import ACTOR, database_failures, open_farm
from .drive_json import named
from .output import json_lines, json_option


@click.command()
@click.argument("key", nargs=-1, required=True, metavar="KEY...")
@click.option("--force", is_flag=True, help="Also delete the fullest copy known.")
@json_option
def remove(key: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove drives from the farm and delete their copies.

    A drive of which the farm has the fullest copy known stays, unless --force is given.
    """
    open_farm()
    from ...registry.services.drives import remove as remove_drives
    from .lookup import drives

    with database_failures():
        result = remove_drives(drives(key), ACTOR, force=force)
    if as_json:
        json_lines({"event": "guarded", **named(item.drive), "why": item.why} for item in result.guarded)
        json_lines([{"event": "removing", "count": result.removing}])
    else:
        click.echo(f"Removing {units.plural(result.removing, 'key')}.")
    if result.guarded:
        lines = [f"{item.drive} was kept: {item.why}" for item in result.guarded]
        raise Failure("\n".join((*lines, "--force removes it all the same.")))
