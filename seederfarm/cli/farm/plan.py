"""`seederfarm plan --dry-run`: what the next plan would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from workers import units

from ..common.failures import BadInput
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...control.reconcile.reconcile import ReconcileResult

LISTED: Final = 1000
"""Moves of each kind that are listed; more are counted."""

Line = Mapping[str, Any]


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing. The farm carries plans out by itself.")
@json_option
def plan(dry_run: bool, as_json: bool) -> None:
    """Show what the next plan would do: copies to make, copies to release, drives that find no worker."""
    if not dry_run:
        raise BadInput("the farm carries plans out by itself; --dry-run shows the next one")
    open_farm()
    from ...control.reconcile.reconcile import reconcile

    with database_failures():
        result = reconcile(dry_run=True, keep=LISTED)
        lines = list(_lines(result))
    if as_json:
        json_lines([*lines, _totals(result)])
    else:
        _show(result, lines)


def _lines(result: ReconcileResult) -> Iterator[dict[str, Any]]:
    """Each move that is listed, with keys and names."""
    from ...registry.models import Drive, Worker

    wanted = {move.drive for moves in (result.assign, result.release, result.unplaced) for move in moves}
    at = {move.worker for moves in (result.assign, result.release) for move in moves}
    drives = {
        pk: {"drive": key, "label": label or title}
        for pk, key, label, title in Drive.objects.filter(pk__in=wanted).values_list(
            "pk", "key", "label", "title"
        )
    }
    workers = dict(Worker.objects.filter(pk__in=at).values_list("pk", "name"))
    gone = {"drive": None, "label": ""}
    """A drive that was removed since."""
    for made in result.assign:
        about = drives.get(made.drive, gone)
        yield {"event": "assign", **about, "worker": workers.get(made.worker), "bytes": made.bytes}
    for freed in result.release:
        about = drives.get(freed.drive, gone)
        yield {"event": "release", **about, "worker": workers.get(freed.worker), "reason": freed.reason.value}
    for short in result.unplaced:
        about = drives.get(short.drive, gone)
        yield {"event": "unplaced", **about, "missing": short.missing, "reason": short.why}


def _totals(result: ReconcileResult) -> dict[str, Any]:
    listed = len(result.assign) + len(result.release) + len(result.unplaced)
    return {
        "event": "plan",
        "drives": result.drives,
        "assign": result.assigned,
        "release": result.released,
        "unplaced": result.short,
        "bytes": result.bytes,
        "not_listed": result.moves + result.short - listed,
    }


def _show(result: ReconcileResult, lines: Iterable[Line]) -> None:
    grid = table_of("what", "drive", "name", "worker", "why")
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
