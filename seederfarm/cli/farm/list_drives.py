"""`seederfarm list`: the drives of the farm, the newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from workers import units

from ...settings.env import COMMAND
from .django_setup import database_failures, open_farm
from .drive_json import summary
from .output import ago, complete_of, json_lines, json_option, plain, rows, table_of

LISTED: Final = 1000
"""Keys that people are shown by default: a table is laid out whole before it is printed."""
STATES: Final = (
    "active", "removing", "paused", "rewritten", "unavailable", "at-risk", "copying", "waiting", "safe",
)  # fmt: skip
"""What `list --state` takes: the values of `registry.health.Health`, and `active` for all but two of them."""


@click.command(name="list")
@click.option("--tag", default="", help="Only drives with this tag.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only drives in this state.")
@click.option("--short", is_flag=True, help="Only drives with fewer complete copies than their minimum.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=None,
    help=f"Only the newest N (default: {LISTED:,}; with --json all).",
)
@json_option
def list_drives(tag: str, state: str | None, short: bool, limit: int | None, as_json: bool) -> None:
    """List the drives of the farm, the newest first."""
    open_farm()
    from ...registry.health_states import Health
    from ...registry.models import Drive
    from ...registry.queries import under_replicated
    from ...registry.stored_health import in_health
    from .counts import with_complete

    found = with_complete(Drive.objects.order_by("-pk"))
    if tag:
        found = found.filter(tags__name=tag.lower())
    if state == "active":
        found = found.filter(state=state)
    elif state:
        found = in_health(found, state.replace("-", "_"))
    if short:
        found = under_replicated(found)
    if limit is not None:
        found = found[:limit]
    with database_failures():
        if as_json:
            json_lines(map(summary, found.iterator(chunk_size=1000)))
            return
        grid = table_of(
            "key", "kind", "name", "state", "complete", "#size", "#fullest", "changed",
            keys=("key",), spare=("fullest", "changed", "kind", "size"),
        )  # fmt: skip
        now = datetime.now(UTC)
        for drive in found[: limit or LISTED]:
            grid.add_row(
                drive.z32,
                drive.kind or "–",
                plain(drive.label or drive.title),
                Health(drive.health).label,
                complete_of(drive.complete, drive.replicas_max),
                "–" if drive.byte_length is None else units.format_size(drive.byte_length),
                _share(drive.fullest_bytes, drive.byte_length),
                "–" if drive.observed_at is None else ago(drive.observed_at, now),
            )
    if grid.row_count:
        rows(grid)
    elif tag or state or short:
        click.echo("No such drives.")
    else:
        click.echo(f"No drives: `{COMMAND} add KEY` registers one.")
    if limit is None and grid.row_count == LISTED:
        with database_failures():
            more = found.count() - LISTED
        if more > 0:
            click.echo(f"… and {units.plural(more, 'older key')}: --limit N, or --json for all.", err=True)


def _share(have: int | None, total: int | None) -> str:
    """The share of a drive in the fullest copy, as text."""
    return "–" if have is None or not total else units.format_percent(min(1.0, have / total))
