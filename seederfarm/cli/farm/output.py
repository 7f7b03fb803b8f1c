"""Output of the farm's commands: rich tables for people, one JSON object a line for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hypercore.printable import json_text, visible
from workers import units

F = TypeVar("F", bound=Callable[..., Any])

NARROWEST = 160
"""Columns of a table in a file or a pipe."""
MAX_LISTED_ERRORS: Final = 10
"""Malformed lines of a file that are shown one by one."""


def json_option(function: F) -> F:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(function)


def table_of(*columns: str) -> Table:
    """A table without lines, with dim headings. Columns whose name begins with `#` are numbers."""
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        number = column.startswith("#")
        grid.add_column(column.lstrip("#"), justify="right" if number else "left", overflow="fold")
    return grid


def rows(grid: Table) -> None:
    """Print a table as wide as the terminal; in a file or a pipe, NARROWEST columns wide."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=NARROWEST)
    console.print(grid)


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


def span(minimum: int, maximum: int) -> str:
    """`2`, `2–3`."""
    return str(minimum) if minimum == maximum else f"{minimum}–{maximum}"
