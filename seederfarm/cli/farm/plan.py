"""`seederfarm plan --dry-run`: what the next plan would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from workers import units

from ..common.failures import BadInput
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...registry.services.next_plan import NextPlan

Line = Mapping[str, Any]


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing. The farm carries plans out by itself.")
@json_option
def plan(dry_run: bool, as_json: bool) -> None:
    """Show what the next plan would do: copies to make, copies to release, drives that find no worker.

    It lists the first 1,000 of each, and totals.
    """
    if not dry_run:
        raise BadInput("the farm carries plans out by itself; --dry-run shows the next one")
    open_farm()
    from ...registry.services.next_plan import next_plan

    with database_failures():
        result = next_plan()
        lines = list(_lines(result))
    if as_json:
        json_lines([*lines, _totals(result)])
    else:
        _show(result, lines)


def _lines(result: NextPlan) -> Iterator[dict[str, Any]]:
    """Each move that is listed, with keys and names."""
    from ...registry.services.next_plan import named

    for move, drive, worker in named(result.moves):
        about = {"drive": drive and drive.key, "label": (drive.label or drive.title) if drive else ""}
        at = worker and worker.name
        match move.what:
            case "assign":
                yield {"event": "assign", **about, "worker": at, "bytes": move.bytes}
            case "release":
                yield {"event": "release", **about, "worker": at, "reason": move.reason}
            case "unplaced":
                yield {"event": "unplaced", **about, "missing": move.missing, "reason": move.reason}


def _totals(result: NextPlan) -> dict[str, Any]:
    return {
        "event": "plan",
        "drives": result.drives,
        "assign": result.assigned,
        "release": result.released,
        "unplaced": result.short,
        "bytes": result.bytes,
        "not_listed": result.not_listed,
    }


def _show(result: NextPlan, lines: Iterable[Line]) -> None:
    grid = table_of("what", "drive", "name", "worker", "why", keys=("drive",), spare=("name",))
    for line in lines:
        grid.add_row(*_row(line))
    if grid.row_count:
        rows(grid)
    totals = _totals(result)
    if left_out := totals["not_listed"]:
        click.echo(f"… and {units.plural(left_out, 'more line')}.")
    copies = f"{result.assigned:,} new cop{'y' if result.assigned == 1 else 'ies'}"
    size = f" ({units.format_size(result.bytes)} to download)" if result.bytes else ""
    released = units.plural(result.released, "release")
    click.echo(f"The next plan: {copies}{size}, {released}, {result.short:,} without a worker.")


def _row(line: Line) -> tuple[Any, ...]:
    from hypercore.keys import encode_key

    key = encode_key(bytes.fromhex(line["drive"])) if line["drive"] else "–"
    what = {"assign": "new copy", "release": "release", "unplaced": "no worker"}[line["event"]]
    why = line.get("reason") or units.format_size(line["bytes"])
    return what, key, plain(line["label"]), plain(line.get("worker") or "–"), plain(why)
