"""`seederfarm add`, `remove`, `list`, `show`: the keys that the farm keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from farmwire.gaps import gaps_left
from workers import units

from ...settings import env
from ..common.failures import BadInput, Failure
from ..common.options import DurationType
from .django_setup import database_failures, open_farm
from .output import ago, json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...registry.models import Drive, Replica

ACTOR: Final = "cli"
LISTED: Final = 1000
"""Keys that people are shown by default: a table is laid out whole before it is printed."""
STATES: Final = (
    "active", "removing", "paused", "rewritten", "unavailable", "at-risk", "copying", "waiting", "safe",
)  # fmt: skip
"""What `list --state` takes: the values of `registry.health.Health`, and `active` for all but two of them."""
MAX_LISTED_ERRORS: Final = 10
"""Malformed lines of a file that are shown one by one."""


class WaitCommand(click.Command):
    """Accepts `--wait` and `--wait=N`, and never takes the KEY after it as its number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        args = ["--wait=0" if at < end and arg == "--wait" else arg for at, arg in enumerate(args)]
        return super().parse_args(ctx, args)


class CopiesType(click.ParamType[tuple[int, int]]):
    """MIN or MIN:MAX."""

    name = "copies"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            return env.replicas(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=WaitCommand)
@click.argument("key", nargs=-1, metavar="KEY...")
@click.option(
    "--file", "file", type=click.File(encoding="utf-8"), help="A seeds.txt with more keys; - is stdin."
)
@click.option(
    "--kind",
    type=click.Choice(["core", "bee", "drive"]),
    default=None,
    help="Kind of keys whose line names none.",
)
@click.option("--label", default="", help="Your name for it.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@click.option(
    "--replicas",
    type=CopiesType(),
    metavar="MIN[:MAX]",
    help="Number of copies (default: SEEDERFARM_REPLICAS).",
)
@click.option(
    "--wait",
    type=click.IntRange(0),
    metavar="[=N]",
    help="Return when N copies of each are complete (without N: its minimum).",
)
@click.option(
    "--timeout", type=DurationType(), metavar="TIME", help="Give up waiting then, with status 1: 90s, 5m."
)
@json_option
def add(
    key: tuple[str, ...],
    file: TextIO | None,
    kind: str | None,
    label: str,
    tags: tuple[str, ...],
    replicas: tuple[int, int] | None,
    wait: int | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Register drives, of which workers then keep copies.

    Drives that are registered already stay as they are; --replicas changes their number of copies.
    """
    texts = [*key, *(file.read().removeprefix("\ufeff").splitlines() if file is not None else ())]
    if not texts:
        raise BadInput("give a KEY, or a list with --file")
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.drives import set_replicas
    from ...registry.services.keys import Malformed, SkippedLine, add_keys, read_lines
    from .waiting import fewer_than, wait_complete

    lines = list(read_lines(texts))
    wrong = [item for item in lines if isinstance(item, Malformed)]
    if wrong:
        raise BadInput(_malformed(wrong, len(key)))
    for item in lines:
        if isinstance(item, SkippedLine):
            click.echo(f"line {item.line - len(key)} of the list: {item.reason}", err=True)
    with database_failures():
        try:
            result = add_keys(texts, kind=kind or "", label=label, tags=tags, replicas=replicas, actor=ACTOR)
            if replicas is not None and result.existing:
                set_replicas(result.existing, *replicas, actor=ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
        if as_json:
            added = [{"event": "added", **_named(drive)} for drive in result.added]
            json_lines([*added, *({"event": "known", **_named(drive)} for drive in result.existing)])
        else:
            known = len(result.existing)
            more = f"; {known:,} {'was' if known == 1 else 'were'} registered already" if known else ""
            click.echo(f"Added {units.plural(len(result.added), 'key')}{more}.")
        if wait is not None:
            wanted = [drive.pk for drive in (*result.added, *result.existing)]
            _expect_no_more_than_wanted(fewer_than(wanted, wait))
            wait_complete(wanted, wait, timeout, as_json)


def _expect_no_more_than_wanted(few: Iterable[Drive]) -> None:
    """No more copies than the maximum are made, so waiting for more would never end. Raises BadInput."""
    for drive in few:
        raise BadInput(f"{drive} gets {drive.replicas_max} at most: --replicas changes that")


def _malformed(wrong: Sequence[Any], given: int) -> str:
    lines = [
        f"{item.text!r}: {item.error}"
        if item.line <= given
        else f"line {item.line - given} of the list: {item.error}"
        for item in wrong[:MAX_LISTED_ERRORS]
    ]
    if len(wrong) > MAX_LISTED_ERRORS:
        lines.append(f"… and {len(wrong) - MAX_LISTED_ERRORS:,} more")
    return "\n".join((*lines, "Nothing was added.")) if len(wrong) > 1 else lines[0]


def _named(drive: Drive) -> dict[str, object]:
    return {"key": drive.key, "kind": drive.kind or None, "label": drive.label}


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
        json_lines({"event": "guarded", **_named(item.drive), "why": item.why} for item in result.guarded)
        json_lines([{"event": "removing", "count": result.removing}])
    else:
        click.echo(f"Removing {units.plural(result.removing, 'key')}.")
    if result.guarded:
        lines = [f"{item.drive} was kept: {item.why}" for item in result.guarded]
        raise Failure("\n".join((*lines, "--force removes it all the same.")))


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
def list_keys(tag: str, state: str | None, short: bool, limit: int | None, as_json: bool) -> None:
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
        grid = table_of("key", "kind", "name", "state", "copies", "#size", "#fullest", "changed")
        now = datetime.now(UTC)
        for drive in found[: limit or LISTED]:
            grid.add_row(
                drive.z32,
                drive.kind or "–",
                plain(drive.label or drive.title),
                Health(drive.health).label,
                f"{drive.complete} of {span(drive.replicas_min, drive.replicas_max)}",
                "–" if drive.byte_length is None else units.format_size(drive.byte_length),
                _share(drive.fullest_bytes, drive.byte_length),
                "–" if drive.observed_at is None else ago(drive.observed_at, now),
            )
    if grid.row_count:
        rows(grid)
    else:
        click.echo("No drives: `seederfarm add KEY` registers one.")
    if limit is None and grid.row_count == LISTED:
        with database_failures():
            more = found.count() - LISTED
        if more > 0:
            click.echo(f"… and {units.plural(more, 'older key')}: --limit N, or --json for all.", err=True)


def _share(have: int | None, total: int | None) -> str:
    """The share of a drive in the fullest copy, as text."""
    return "–" if have is None or not total else units.format_percent(min(1.0, have / total))


def span(minimum: int, maximum: int) -> str:
    return str(minimum) if minimum == maximum else f"{minimum}–{maximum}"


def summary(drive: Any) -> dict[str, object]:
    """A drive (annotated by `counts.with_complete`) for programs."""
    return {
        "key": drive.key,
        "id": drive.z32,
        "kind": drive.kind or None,
        "label": drive.label,
        "title": drive.title,
        "state": drive.state,
        "health": drive.health,
        "counted": drive.counted,
        "proven_at": drive.proven_at,
        "replicas": [drive.replicas_min, drive.replicas_max],
        "complete": drive.complete,
        "length": drive.length,
        "fork": drive.fork,
        "bytes": drive.byte_length,
        "fullest_bytes": drive.fullest_bytes,
        "unavailable_bytes": drive.unavailable_bytes,
        "observed_at": drive.observed_at,
        "writer_seen_at": drive.last_writer_seen_at,
        "added_at": drive.created_at,
    }


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
        events = list(drive.events.all()[:10])
    if as_json:
        replicas = [_copy(copy, drive, now) for copy in copies]
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
    click.echo(f"  newest  {_newest(drive, copies, now)}")
    wanted = span(drive.replicas_min, drive.replicas_max)
    click.echo(f"  copies  {drive.complete} complete, {wanted} wanted")
    if drive.state == Drive.State.ACTIVE and drive.expires_at is not None and drive.expires_at <= now:
        click.echo("  expired, and kept: --force removes the fullest copy known")
    if (known := _completeness(copies)) is not None:
        click.echo(f"  fullest {known}")
    if tags:
        click.echo(f"  tags    {', '.join(tags)}")
    _show_copies(copies, now)
    for event in reversed(events):
        click.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {plain(event.text)}")


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
    grid = table_of("worker", "phase", "have", "#peers", "reported", "proven", "error")
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


def _copy(copy: Replica, drive: Drive, now: datetime) -> dict[str, object]:
    from ...registry.health import counts

    return {
        "worker": copy.worker.name,
        "desired": copy.desired,
        "phase": copy.phase,
        "have_blocks": copy.have_blocks,
        "blocks": copy.total_blocks,
        "have_bytes": copy.have_bytes,
        "bytes": copy.total_bytes,
        "unavailable_blocks": copy.unavailable_blocks,
        "unavailable_bytes": copy.unavailable_bytes,
        "peers": copy.peers,
        "error": copy.error or None,
        "reported_at": copy.last_report_at,
        "proven_at": copy.last_proven_at,
        "proof_failures": copy.proof_failures,
        "counts": counts(copy, drive, now),
    }
