"""`seederfarm mirrors`: the keys of the farm's blind peers."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from workers import units

from ...settings.env import COMMAND
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain, rows, table_of


@click.command()
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="Keys in the line for apps, of different zones where there are (default: 3).",
)
@json_option
def mirrors(count: int, as_json: bool) -> None:
    """List the workers that are blind peers, and the line that an app with `blind-peering` needs.

    Workers become blind peers with `worker run --blind-peer`.
    """
    open_farm()
    from ...registry.mirrors import mirrors as of_workers

    with database_failures():
        found = of_workers(datetime.now(UTC))
    if as_json:
        json_lines(mirror._asdict() for mirror in found)
        return
    if not found:
        click.echo(f"No worker is a blind peer: start one with `{COMMAND} worker run --blind-peer`.")
        return
    grid = table_of(
        "key", "worker", "zone", "seen", "#cores", "#bytes", "#clients",
        keys=("key",), spare=("clients", "zone", "cores"),
    )  # fmt: skip
    for mirror in found:
        grid.add_row(
            mirror.key,
            plain(mirror.worker),
            plain(mirror.zone),
            "online" if mirror.online else "silent",
            f"{mirror.cores:,}",
            units.format_size(mirror.bytes),
            f"{mirror.clients:,}",
        )
    rows(grid)
    keys = ", ".join(f"'{mirror.key}'" for mirror in found[:count])
    click.echo(f"in an app: new BlindPeering(dht, store, {{ keys: [{keys}] }})")
