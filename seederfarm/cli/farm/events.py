"""`seederfarm events`: what happened."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ..common.failures import BadInput
from .django_setup import database_failures, open_farm
from .event_kinds import EVENT_KINDS, listed
from .output import ago, json_lines, json_option, plain, rows, table_of


@click.command()
@click.option("--drive", "key", default="", metavar="KEY", help="Only events of this drive.")
@click.option("--worker", "name", default="", metavar="WORKER", help="Only events of this worker.")
@click.option("--kind", default="", help="Only events of this kind, such as replica.complete.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    metavar="N",
    help="Only the newest N.",
)
@json_option
def events(key: str, name: str, kind: str, limit: int, as_json: bool) -> None:
    """List events, the newest first."""
    open_farm()
    from ...registry.models import Event
    from .lookup import drives, worker

    with database_failures():
        found = Event.objects.select_related("drive", "worker").order_by("-at", "-pk")
        if key:
            found = found.filter(drive=drives([key])[0])
        if name:
            found = found.filter(worker=worker(name))
        if kind:
            if kind not in EVENT_KINDS and not Event.objects.filter(kind=kind).exists():
                raise BadInput(f"no event is of kind {kind!r}; there are\n{listed(EVENT_KINDS)}")
            found = found.filter(kind=kind)
        shown = list(found[:limit])
    if as_json:
        json_lines(
            {
                "at": event.at,
                "kind": event.kind,
                "severity": event.severity,
                "text": event.text,
                "drive": event.drive.key if event.drive else None,
                "worker": event.worker.name if event.worker else None,
            }
            for event in shown
        )
        return
    grid, now = table_of("when", "kind", "what"), datetime.now(UTC)
    for event in shown:
        grid.add_row(ago(event.at, now), plain(event.kind), plain(event.text))
    if shown:
        rows(grid)
    else:
        click.echo("No events.")
