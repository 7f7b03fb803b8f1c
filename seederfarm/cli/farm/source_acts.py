"""`seederfarm sources add`, `edit`, `remove` and `read`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ..common.failures import BadInput, Failure
from ..common.options import DurationType
from .django_setup import database_failures, open_farm
from .output import json_lines, json_option, plain

if TYPE_CHECKING:
    from ...registry.models import Source

ACTOR: Final = "cli"
F = TypeVar("F", bound=Callable[..., Any])


def _options(function: F) -> F:
    """What `add` and `edit` take."""
    for option in (
        click.option("--every", type=DurationType(), default=None, metavar="TIME", help="Between readings."),
        click.option("--on/--off", "enabled", default=None, help="Whether it is read."),
        click.option("--mapping", default=None, help="JMESPath that turns the answer into keys."),
        click.option("--removals", "removals_url", default=None, metavar="URL", help="Lists keys to remove."),
        click.option("--tag", "tags", multiple=True, help="Of its keys; may be repeated."),
        click.option("--label", default=None, help="Of its keys."),
        click.option("--priority", type=click.IntRange(0, 9), default=None, help="Of its keys."),
        click.option(
            "--shrink", type=click.IntRange(1, 100), default=None, help="Percent that may go within a day."
        ),
    ):
        function = option(function)
    return function


def _given(values: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in values.items() if value is not None and value != ()}
    if "every" in found:
        found["every"] = round(found["every"])
    if "tags" in found:
        found["tags"] = list(found["tags"])
    return found


@click.command(name="add")
@click.argument("name", metavar="SOURCE")
@click.argument("kind", type=click.Choice(["http", "bee", "file"]))
@click.argument("location")
@_options
@json_option
def add_source(name: str, kind: str, location: str, as_json: bool, **options: Any) -> None:
    """Follow a list of keys: LOCATION is a URL, the key of a seed list, or a file."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.edits import add_source as add

    with database_failures():
        try:
            made = add(name, {"kind": kind, "location": location, **_given(options)}, ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
    _report(as_json, {"event": "added", "source": made.name}, f"Added {plain(name)}.")


@click.command(name="edit")
@click.argument("name", metavar="SOURCE")
@click.option("--location", default=None, help="A URL, a key, or a file.")
@_options
@json_option
def edit_source(name: str, as_json: bool, **options: Any) -> None:
    """Change a source; what is not given stays."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.edits import edit_source as edit

    with database_failures():
        try:
            changed = edit(_source(name), _given(options), ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
    words = f"Changed {', '.join(changed)} of {plain(name)}." if changed else "Nothing changed."
    _report(as_json, {"event": "changed", "source": name, "changed": changed}, words)


@click.command(name="remove")
@click.argument("name", metavar="SOURCE")
@json_option
def remove_source(name: str, as_json: bool) -> None:
    """Delete a source. Its drives stay, as if a person had added them."""
    open_farm()
    from ...registry.services.edits import remove_source as remove

    with database_failures():
        remove(_source(name), ACTOR)
    _report(as_json, {"event": "removed", "source": name}, f"Removed {plain(name)}; its drives stay.")


@click.command(name="read")
@click.argument("name", metavar="SOURCE")
@json_option
def read_source(name: str, as_json: bool) -> None:
    """Ask the running farm to read a source within seconds. `fetch` reads one in this process."""
    open_farm()
    from ...registry.services.edits import read_soon

    with database_failures():
        if not read_soon(_source(name), ACTOR):
            raise Failure(f"the source {name} is switched off")
    _report(as_json, {"event": "due", "source": name}, f"{plain(name)} is read within seconds.")


def _source(name: str) -> Source:
    """Raises BadInput for an unknown one."""
    from ...registry.models import Source

    found = Source.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(Source.objects.order_by("name").values_list("name", flat=True)[:10])
        raise BadInput(f"no source is called {name!r}; there {'are ' + known if known else 'is none yet'}")
    return found


def _report(as_json: bool, fields: dict[str, Any], text: str) -> None:
    if as_json:
        json_lines([fields])
    else:
        click.echo(text)


COMMANDS: Final = (add_source, edit_source, remove_source, read_source)
