"""`seederfarm show`: one drive, its copies and its last events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from farmwire.gaps import gaps_left
from workers import units

from .django_setup import database_failures, open_farm
from .drive_json import of_copy, summary
from .output import ago, copies_of, json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...registry.models import Drive, Replica


@click.command()
@click.argument("key", metavar="KEY")
@json_option
def show(key: str, as_json: bool) -> None:
    """Show one drive: its copies, how full they are, when they were proven, when its publisher last wrote."""
    open_farm()
    from ...registry.models import Drive
    from ...registry.verdict import verdict_of
    from .counts import with_complete
    from .lookup import drives

    now = datetime.now(UTC)
    with database_failures():
        (found,) = drives([key])
        drive = with_complete(Drive.objects.all()).get(pk=found.pk)
        copies = list(drive.replicas.select_related("worker").order_by("worker__name"))
        verdict = verdict_of(drive, now, copies)
        tags = list(drive.tags.values_list("name", flat=True))
        events = list(drive.events.order_by("-at", "-pk")[:10])
    if as_json:
        replicas = [of_copy(copy, drive, now) for copy in copies]
        history = [{"at": event.at, "kind": event.kind, "text": event.text} for event in events]
        may = {"safe": verdict.is_safe, "text": verdict.sentence(now), "reason": verdict.reason}
        json_lines([{**summary(drive), "offline": may, "tags": tags, "copies": replicas, "events": history}])
        return
    size = "size unknown" if drive.byte_length is None else units.format_size(drive.byte_length)
    length = "" if drive.length is None else f", version {drive.length}, fork {drive.fork}"
    click.echo(f"{plain(drive)}  ({drive.kind or 'kind not seen yet'}, {verdict.health.label})")
    click.echo(f"  {verdict.sentence(now)}")
    click.echo(f"  {plain(verdict.reason)}")
    click.echo(f"  key     {drive.z32}\n          {drive.key}")
    click.echo(f"  holds   {size}{length}")
    if (files := _files(drive)) is not None:
        click.echo(f"  files   {files}")
    click.echo(f"  served  {_served(drive, now)}")
    click.echo(f"  newest  {_newest(drive, copies, now)}")
    click.echo(f"  copies  {copies_of(drive.complete, drive.replicas_min, drive.replicas_max)}")
    if drive.state == Drive.State.ACTIVE and drive.expires_at is not None and drive.expires_at <= now:
        click.echo("  expired, and kept: --force removes the fullest copy known")
    if (known := _completeness(copies)) is not None:
        click.echo(f"  fullest {known}")
    if tags:
        click.echo(f"  tags    {', '.join(tags)}")
    _show_copies(copies, now)
    for event in reversed(events):
        click.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {plain(event.text)}")


def _files(drive: Drive) -> str | None:
    """Number and bytes of its files; None: not counted."""
    if drive.files is None:
        return None
    size = "" if drive.file_bytes is None else f", {units.format_size(drive.file_bytes)}"
    version = "" if drive.files_version == drive.length else f", in version {drive.files_version}"
    return f"{drive.files:,}{size}{version}"


def _served(drive: Drive, now: datetime) -> str:
    """Bytes that its copies have sent to peers."""
    if not drive.served_bytes:
        return "never"
    return f"{units.format_size(drive.served_bytes)}, last {ago(drive.served_at, now)}"


def _newest(drive: Drive, copies: Iterable[Replica], now: datetime) -> str:
    """When the newest version was first seen, and how many peers are connected. A silent publisher looks like
    any other peer."""
    if drive.observed_at is None:
        return "no version seen yet"
    text = f"this version was first seen {ago(drive.observed_at, now)}"
    if drive.last_writer_seen_at is not None:
        text += f", its publisher last wrote {ago(drive.last_writer_seen_at, now)}"
    peers = sum(copy.peers for copy in copies)
    return f"{text}; {units.plural(peers, 'peer') if peers else 'no peer'} connected to its copies"


def _completeness(copies: Iterable[Replica]) -> str | None:
    """The share in the fullest copy, and blocks that no copy has, as text. None while unknown."""
    from ...registry.services.copies import HOLDING, holding_of

    here = [copy for copy in copies if copy.desired and copy.have_blocks]
    if not here:
        return None
    best = max(here, key=lambda copy: (copy.fork, copy.have_blocks))
    text = f"{units.format_percent(best.share or 0.0)} on {plain(best.worker.name)}"
    if best.have_blocks >= best.total_blocks:
        return f"{text}: everything that is known"
    missing = best.total_blocks - best.have_blocks
    lost = f"{units.plural(missing, 'block')} ({units.format_size(best.total_bytes - best.have_bytes)})"
    if best.is_complete:
        text += f", as full as can be: no peer is known to have the other {lost}"
    else:
        text += f"; {lost} missing, no peer that is connected offers them"
        if best.phase == best.Phase.DOWNLOADING:
            text = text.replace(", no peer that is connected offers them", ", being downloaded")
    left = gaps_left([holding_of(*(getattr(copy, name) for name in HOLDING)) for copy in here])
    if left is not None and left < missing:
        text += f". All copies together lack {units.plural(left, 'block')}"
    return text


def _show_copies(copies: Iterable[Replica], now: datetime) -> None:
    grid = table_of(
        "worker", "phase", "have", "#peers", "reported", "proven", "error", spare=("peers", "reported")
    )
    for copy in copies:
        grid.add_row(
            plain(copy.worker.name),
            copy.get_phase_display() + (", proof pending" if copy.is_proof_pending else ""),
            _have(copy),
            str(copy.peers),
            ago(copy.last_report_at, now),
            ago(copy.last_proven_at, now),
            plain(copy.error),
        )
    if grid.row_count:
        rows(grid)


def _have(copy: Replica) -> str:
    text = units.format_have_of(copy.have_bytes, copy.total_bytes)
    return f"{text}, all that is left" if copy.unavailable_blocks else text
