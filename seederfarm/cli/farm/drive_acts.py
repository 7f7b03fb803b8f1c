"""`seederfarm pause`, `resume`, `prove`, `pin`, `expire`, `priority`: acts on registered drives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from workers import units

from ..common.failures import BadInput
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option

if TYPE_CHECKING:
    from ...registry.models import Drive

ACTOR: Final = "cli"
F = TypeVar("F", bound=Callable[..., Any])
_keys: Final = click.argument("key", nargs=-1, required=True, metavar="KEY...")


def _drives(key: tuple[str, ...]) -> list[Drive]:
    from .lookup import drives

    return drives(key)


def _report(as_json: bool, did: str, changed: int, noun: str = "drive") -> None:
    if as_json:
        json_lines([{"event": did.lower(), "count": changed}])
    else:
        click.echo(f"{did} {units.plural(changed, noun)}.")


@click.command()
@_keys
@json_option
def pause(key: tuple[str, ...], as_json: bool) -> None:
    """Leave the copies of drives where they are: none is made, moved or released. They are served."""
    open_farm()
    from ...registry.services import pause as pause_drives

    with database_failures():
        _report(as_json, "Paused", pause_drives(_drives(key), ACTOR))


@click.command()
@_keys
@json_option
def resume(key: tuple[str, ...], as_json: bool) -> None:
    """End a pause, or take back a removal that is not finished."""
    open_farm()
    from ...registry.services import resume as resume_drives

    with database_failures():
        _report(as_json, "Resumed", resume_drives(_drives(key), ACTOR))


@click.command()
@_keys
@json_option
def prove(key: tuple[str, ...], as_json: bool) -> None:
    """Have the complete copies of drives prove themselves now; `show KEY` has the result."""
    open_farm()
    from ...registry.services import reverify

    with database_failures():
        asked = reverify(_drives(key), ACTOR)
    if as_json:
        json_lines([{"event": "asked", "copies": asked}])
    elif asked:
        click.echo(f"Asked {asked:,} complete cop{'y' if asked == 1 else 'ies'} for proof.")
    else:
        click.echo("No copy is complete yet.")


@click.command()
@click.argument("key", metavar="KEY")
@click.argument("worker", nargs=-1, metavar="WORKER...")
@click.option("--none", "nowhere", is_flag=True, help="Remove its pins.")
@json_option
def pin(key: str, worker: tuple[str, ...], nowhere: bool, as_json: bool) -> None:
    """Always keep a copy of a drive on these workers, beside those that it is pinned to already."""
    if bool(worker) == nowhere:
        raise BadInput("name the workers, or give --none")
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.edits import add_pins, edit_drive
    from .lookup import worker as worker_named

    with database_failures():
        (drive,) = _drives((key,))
        try:
            if nowhere:
                changed = bool(edit_drive(drive, {"pinned_workers": []}, ACTOR))
            else:
                changed = add_pins(drive, [worker_named(name) for name in worker], ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
    _report(as_json, "Unpinned" if nowhere else "Pinned", int(changed))


@click.command()
@click.argument("key", nargs=-1, required=True, metavar="KEY...")
@click.option("--in", "lasts", default="", metavar="TIME", help="Remove them after this time, such as 30d.")
@click.option("--never", is_flag=True, help="Keep them until they are removed.")
@json_option
def expire(key: tuple[str, ...], lasts: str, never: bool, as_json: bool) -> None:
    """Set when drives are removed by themselves."""
    if bool(lasts) == never:
        raise BadInput("give --in TIME, or --never")
    try:
        seconds = units.parse_duration(lasts) if lasts else 0.0
    except ValueError as error:
        raise BadInput(f"--in: {error}") from None
    open_farm()
    at = None if never else datetime.now(UTC) + timedelta(seconds=seconds)
    with database_failures():
        _edit(key, {"expires_at": at}, "Changed", as_json)


@click.command()
@click.argument("number", type=click.IntRange(0, 9), metavar="0..9")
@_keys
@json_option
def priority(number: int, key: tuple[str, ...], as_json: bool) -> None:
    """Set the priority of drives: 0 goes first where there is not room for all."""
    open_farm()
    from ...registry.services import set_priority

    with database_failures():
        _report(as_json, "Changed", set_priority(_drives(key), number, ACTOR))


def _edit(key: tuple[str, ...], values: dict[str, Any], did: str, as_json: bool) -> None:
    from django.core.exceptions import ValidationError

    from ...registry.services.edits import edit_drive

    try:
        changed = sum(bool(edit_drive(drive, values, ACTOR)) for drive in _drives(key))
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from None
    _report(as_json, did, changed)
