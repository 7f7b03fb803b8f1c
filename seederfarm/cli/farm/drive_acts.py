"""`seederfarm pause`, `resume`, `prove`, `pin`, `expire`, `priority`: acts on registered drives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hypercore.printable import visible
from workers import units

from ..common.failures import BadInput
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain

if TYPE_CHECKING:
    from ...registry.models import Drive

ACTOR: Final = "cli"
MAX_LIFETIME: Final = timedelta(days=36500)
EXPECTED: Final = "--in: expected a time with its unit, up to 100 years, such as 15m, 12h, 30d or 4w"
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
    """Request proofs of the complete copies of drives now, once in five minutes for each drive.

    `show KEY` has the result.
    """
    open_farm()
    from ...registry.services import reverify

    with database_failures():
        done = reverify(_drives(key), ACTOR)
    if as_json:
        json_lines([{"event": "asked", "copies": done.copies, "skipped": done.skipped, "wait": done.wait}])
    else:
        click.echo(visible(done.sentence))


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
@click.option("--in", "lasts", default="", metavar="TIME", help="Remove them after this time: 30d, 12h, 15m.")
@click.option("--never", is_flag=True, help="Keep them until they are removed.")
@json_option
def expire(key: tuple[str, ...], lasts: str, never: bool, as_json: bool) -> None:
    """Set when drives are removed by themselves. The last copy of one is kept, as by `remove`."""
    if bool(lasts) == never:
        raise BadInput("give --in TIME, or --never")
    at = None if never else datetime.now(UTC) + _lifetime(lasts)
    open_farm()
    with database_failures():
        found = _drives(key)
        changed = _edit(found, {"expires_at": at})
    if as_json:
        json_lines([{"event": "changed", "count": changed, "expires_at": at and at.isoformat()}])
        return
    which = plain(found[0]) if len(found) == 1 else units.plural(len(found), "drive")
    verb = "is" if len(found) == 1 else "are"
    click.echo(f"{which} {verb} removed on {at:%Y-%m-%d %H:%M} UTC." if at else f"{which} {verb} kept.")


def _lifetime(text: str) -> timedelta:
    """The time until a drive is removed. A number alone is refused: `1` meant as a day would be a second."""
    try:
        if text.strip()[-1:].isdigit():
            raise ValueError("a number needs its unit")
        lasts = timedelta(seconds=units.parse_duration(text))
    except (ValueError, OverflowError):
        raise BadInput(EXPECTED) from None
    if not timedelta(0) < lasts <= MAX_LIFETIME:
        raise BadInput(EXPECTED)
    return lasts


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


def _edit(found: Iterable[Drive], values: dict[str, Any]) -> int:
    """Returns the number of drives that changed."""
    from django.core.exceptions import ValidationError

    from ...registry.services.edits import edit_drive

    try:
        return sum(bool(edit_drive(drive, values, ACTOR)) for drive in found)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from None
