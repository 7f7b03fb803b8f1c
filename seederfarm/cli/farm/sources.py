"""`seederfarm sources`, `sources follow` and `fetch`: the sources of keys."""

from __future__ import annotations

import asyncio
import logging
import resource
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from workers import units

from ...settings.env import COMMAND
from ..common import logs
from ..common.failures import BadInput, Failure
from .django_setup import ACTOR, database_failures, open_farm
from .output import ago, json_lines, json_option, plain, rows, table_of
from .source_acts import COMMANDS

if TYPE_CHECKING:
    from ...registry.models import Source
    from ...sources.apply import Outcome

LOCK_WAIT: Final = 5.0
"""Seconds that a follower waits for the one before it to end."""


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def sources(context: click.Context, as_json: bool) -> None:
    """List the sources of keys."""
    if context.invoked_subcommand is None:
        _list(as_json)


@sources.command(name="list")
@json_option
def list_sources(as_json: bool) -> None:
    """List the sources of keys."""
    _list(as_json)


def _list(as_json: bool) -> None:
    open_farm()
    from ...registry.models import Source
    from ...registry.urls import without_secrets

    now = datetime.now(UTC)
    with database_failures():
        found = list(Source.objects.order_by("name"))
    if as_json:
        json_lines(
            {
                "name": source.name,
                "kind": source.kind,
                "location": without_secrets(source.location),
                "enabled": source.enabled,
                "keys": source.listed,
                "refused": source.refused,
                "held": source.held,
                "held_because": source.held_because or None,
                "failures": source.failures,
                "error": source.last_error or None,
                "read_at": source.last_at,
                "succeeded_at": source.last_success_at,
            }
            for source in found
        )
        return
    grid = table_of(
        "name", "kind", "location", "#keys", "read", "succeeded", "problem", spare=("succeeded", "kind")
    )
    for source in found:
        grid.add_row(
            plain(source.name) if source.enabled else plain(f"{source.name} (off)"),
            source.kind,
            plain(without_secrets(source.location)),
            "–" if source.listed is None else f"{source.listed:,}",
            ago(source.last_at, now),
            ago(source.last_success_at, now),
            plain(source.last_error or _held(source)),
        )
    if grid.row_count:
        rows(grid)
    else:
        click.echo(f"No sources: `{COMMAND} sources add` adds one.")


def _held(source: Source) -> str:
    if not source.held:
        return ""
    return f"{units.plural(source.held, 'removal')} held: {source.held_because}"


for _command in COMMANDS:
    sources.add_command(_command)


@sources.command()
@click.argument("name", metavar="SOURCE")
@json_option
def accept(name: str, as_json: bool) -> None:
    """Carry out the removals that are held because a list shrank too much.

    Only removals of the last reading: keys that disappear later are held anew. Without this, the keys stay.
    """
    open_farm()
    from ...registry.services.sources import accept_removals

    with database_failures():
        (source,) = _named((name,), reading=False)
        if not source.held and not as_json:
            click.echo(f"{plain(name)}: nothing is held.")
            return
        result = accept_removals(source.pk, ACTOR)
    if as_json:
        json_lines([{"source": source.name, "removed": result.removed, "kept": result.kept}])
        return
    kept = f", {result.kept:,} kept (the farm has their only complete copies)" if result.kept else ""
    click.echo(f"{plain(source.name)}: {result.removed:,} removed{kept}")


@sources.command()
def follow() -> None:
    """Read sources when they are due, and seed lists when they change, until Ctrl-C.

    `up` runs this. A farm whose processes are started one by one needs it once; a second one, on another
    machine, does no harm.
    """
    farm = open_farm(stays=True)
    from hypercore.errors import StorageError
    from workers.engine.process.loop import run, stop_on_signals

    from ...sources.follower import Database, Follower
    from ...sources.live_lists import SeedLists
    from ...supervisor.home import Lock

    folder = farm.home / "sources"
    lock = Lock(folder / "follow.lock")
    if not lock.acquire(LOCK_WAIT):
        raise Failure(f"another process follows the sources of {farm.home}: one is enough")
    logs.set_up(getattr(logging, farm.log_level.upper()))
    _limit_memory(farm.source_memory)

    async def main() -> None:
        stop, woken = asyncio.Event(), asyncio.Event()
        database = Database()
        lists = SeedLists(folder / "lists", farm.bootstrap, woken.set)
        with stop_on_signals(stop):
            await Follower(database, lists, woken=woken).run(stop)
            await database.close()

    try:
        run(main)
    except StorageError as error:
        raise Failure(str(error)) from None
    finally:
        lock.release()


def _limit_memory(size: int) -> None:
    """Limit this process's address space, in bytes: a list that needs more fails, and at worst this process
    is restarted."""
    if not size:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


@click.command()
@click.argument("name", nargs=-1, metavar="[SOURCE...]")
@json_option
def fetch(name: tuple[str, ...], as_json: bool) -> None:
    """Read the named sources now, or all that are due.

    Status 1 when one of them failed.
    """
    farm = open_farm()
    from workers.engine.process.loop import run

    from ...sources.run_once import read_once

    with database_failures():
        wanted = _named(name)
    failed = False

    async def main() -> None:
        nonlocal failed
        async for outcome in read_once(wanted, farm.bootstrap):
            failed = failed or bool(outcome.error)
            _print_outcome(outcome, as_json)

    if not wanted and not as_json:
        click.echo("No source is due.")
    if wanted:
        with database_failures():
            run(main)
    if failed:
        raise click.exceptions.Exit(1)


def _named(names: tuple[str, ...], *, reading: bool = True) -> list[Source]:
    """Sources by name. Raises BadInput for an unknown one, and with `reading` Failure for a disabled one."""
    from ...registry.models import Source
    from ...sources.run_once import due

    if not names:
        return due()
    found = {source.name: source for source in Source.objects.filter(name__in=names)}
    for name in names:
        if name not in found:
            known = ", ".join(Source.objects.order_by("name").values_list("name", flat=True)[:10])
            raise BadInput(
                f"no source is called {name!r}; there {'are ' + known if known else 'is none yet'}"
            )
        if reading and not found[name].enabled:
            raise Failure(f"the source {name} is switched off; nothing was read")
    return [found[name] for name in dict.fromkeys(names)]


def _print_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        json_lines([_as_json(outcome)])
    elif outcome.error:
        click.echo(f"{plain(outcome.name)}: failed: {plain(outcome.error)}. Nothing was changed.", err=True)
    elif outcome.unchanged:
        click.echo(f"{plain(outcome.name)}: not changed, {units.plural(outcome.listed, 'key')}")
    else:
        parts = [
            units.plural(outcome.listed, "key"),
            f"{outcome.added:,} added",
            f"{outcome.removed:,} removed",
        ]
        if outcome.changed:
            parts.append(f"{outcome.changed:,} described anew")
        if outcome.kept:
            parts.append(f"{outcome.kept:,} kept (the farm has their only complete copies)")
        if outcome.held:
            parts.append(f"{outcome.held:,} held")
        click.echo(f"{plain(outcome.name)}: {', '.join(parts)}")
        for problem in outcome.problems:
            click.echo(f"  {plain(problem)}", err=True)
        more = outcome.refused + outcome.skipped - len(outcome.problems)
        if more > 0:
            click.echo(f"  … and {more:,} more", err=True)
        if outcome.held:
            click.echo(
                f"  not removed: {plain(outcome.held_because)}. If the list is as it should be: "
                f"`sources accept {plain(outcome.name)}`",
                err=True,
            )


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": outcome.name,
        "ok": not outcome.error,
        "error": outcome.error or None,
        "unchanged": outcome.unchanged,
        "keys": outcome.listed,
        "added": outcome.added,
        "removed": outcome.removed,
        "kept": outcome.kept,
        "changed": outcome.changed,
        "refused": outcome.refused,
        "skipped": outcome.skipped,
        "held": outcome.held,
        "held_because": outcome.held_because or None,
        "problems": list(outcome.problems),
    }
