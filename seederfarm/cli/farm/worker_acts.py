"""`seederfarm worker approve`."""

from __future__ import annotations

import click

from ..common.failures import Failure
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain


@click.command()
@click.argument("name", metavar="WORKER")
@json_option
def approve(name: str, as_json: bool) -> None:
    """Let a worker in that waits, take back a drain, or readmit a retired worker."""
    open_farm()
    from ...registry.models import Worker
    from ...registry.services import activate
    from .lookup import worker

    with database_failures():
        found = worker(name)
        changed = activate([found], "cli")
        found.refresh_from_db()
    if found.state != Worker.State.ACTIVE:
        raise Failure(f"{found.name} is {found.get_state_display()}")
    if as_json:
        json_lines([{"worker": found.name, "state": found.state, "changed": bool(changed)}])
    else:
        click.echo(f"{plain(found.name)} is active.")
