"""Many rows in one statement, on PostgreSQL and on SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from django.db import connection

T = TypeVar("T")
Columns = Sequence[tuple[str, str]]
"""Names and PostgreSQL types."""

BATCH: Final = 500
"""Rows per statement: SQLite accepts a few hundred parameters in an IN, and locks stay short."""
COPIED_FROM: Final = 2000
"""Rows from which a temporary table is cheaper."""


def rows_as_table(columns: Columns, rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """A table expression called `v`, and its parameters: `rows` as a table.

    One parameter for each column on PostgreSQL, a single one on SQLite: the statement is the same for any
    number of rows. Names and types come from our own code, never from a message.
    """
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
        names = ", ".join(name for name, _ in columns)
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        return f"unnest({arrays}) AS v({names})", values
    picks = ", ".join(f"json_extract(j.value, '$[{i}]') AS {name}" for i, (name, _) in enumerate(columns))
    text = json.dumps([[stored(value) for value in row] for row in rows])
    return f"(SELECT {picks} FROM json_each(%s) AS j) AS v", [text]


@contextmanager
def staged(columns: Columns, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """`rows_as_table` for very many rows: on PostgreSQL they are copied into a temporary table, whose size
    the planner knows. Use it in a transaction, one at a time."""
    if connection.vendor != "postgresql" or len(rows) < COPIED_FROM:
        yield rows_as_table(columns, rows)
        return
    assert connection.in_atomic_block
    with connection.cursor() as cursor:
        shape = ", ".join(f"{name} {kind}" for name, kind in columns)
        cursor.execute(f"CREATE TEMPORARY TABLE staged ({shape}) ON COMMIT DROP")
        with cursor.copy("COPY staged FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([kind for _, kind in columns])
            for row in rows:
                copy.write_row(row)
        cursor.execute("ANALYZE staged")
    yield "staged AS v", []
    execute("DROP TABLE staged", [])


def stored(value: Any) -> Any:
    """`value` as a parameter of a raw statement, with times and days as Django stores them."""
    if connection.vendor != "postgresql":
        if isinstance(value, datetime):
            return str(connection.ops.adapt_datetimefield_value(value))
        if isinstance(value, date):
            return value.isoformat()
    return value


def among(column: str, numbers: Sequence[int]) -> tuple[str, Any]:
    """A condition that a column has one of these numbers, and its one parameter."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::bigint[])", list(numbers)
    return f"{column} IN (SELECT value FROM json_each(%s))", json.dumps(list(numbers))


def execute(statement: str, parameters: Sequence[Any]) -> int:
    """Execute a statement. Returns the number of affected rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [stored(value) for value in parameters])
        return int(cursor.rowcount)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
