"""Output of the farm's commands: rich tables for people, one JSON object a line for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.text import Text

from hypercore.printable import json_text, visible
from workers import units

from .tables import Grid, lines_of

F = TypeVar("F", bound=Callable[..., Any])

MAX_LISTED_ERRORS: Final = 10
"""Malformed lines of a file that are shown one by one."""


def json_option(function: F) -> F:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(function)


def table_of(*columns: str, keys: Sequence[str] = (), spare: Sequence[str] = ()) -> Grid:
    """A table without lines. Columns whose name begins with `#` are numbers. A terminal that is too narrow
    shows those named in `keys` shortened, and leaves out those in `spare`, the first one first."""
    return Grid(columns, keys=keys, spare=spare)


def rows(grid: Grid) -> None:
    """Print a table, with dim headings: as wide as the terminal, or for a file or a pipe."""
    console = Console()
    heading, *lines = lines_of(grid, console.width if console.is_terminal else None)
    click.echo("\n".join((click.style(heading, dim=True), *lines)))


def plain(text: object) -> Text:
    """Text of others, without markup and control characters."""
    return Text(visible(text))


def json_lines(items: Iterable[Mapping[str, Any]]) -> None:
    """Print each item as one line of JSON. Dates are ISO 8601, sets are lists."""
    for item in items:
        click.echo(json_text(item, default=_other))


def _other(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def ago(at: datetime | None, now: datetime) -> str:
    """`just now`, `5 min ago`, `3 days ago`, `never`."""
    return "never" if at is None else units.format_age((now - at).total_seconds())


def complete_of(complete: int, wanted: int) -> str:
    """How many copies are complete, of how many that the farm makes: `1 of 2`."""
    return f"{complete:,} of {wanted:,}" if complete <= wanted else f"{complete:,}, {wanted:,} wanted"


def copies_of(complete: int, low: int, high: int) -> str:
    """The same as a sentence, with how many would do."""
    if complete > high:
        return f"{complete} complete, {high} wanted"
    enough = "" if low == high else f" ({low} {'is' if low == 1 else 'are'} enough to be safe)"
    return f"{complete} of {high} complete{enough}"
