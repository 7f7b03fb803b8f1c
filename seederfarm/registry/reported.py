"""Columns of a copy that hold what its worker reports, by the fields of `farmwire.report.ReplicaFacts`.

A new field of the report is stored by giving `Replica` a column of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from django.db import models

from farmwire.gaps import to_text
from farmwire.report import ReplicaFacts

from .models import Replica

COLUMN_OF: Final = {"blocks": "total_blocks", "bytes": "total_bytes"}
"""Columns whose name is not that of the field."""

OF_THE_DRIVE: Final = frozenset({"title", "writer_seen_at", "files", "file_bytes", "files_version"})
"""Fields that are no facts about the copy: they are kept with the drive."""

KEPT: Final = frozenset({"length", "fork", "blocks", "bytes", "peers"})
"""Fields that a copy keeps when it is assigned again before it was removed. The others begin anew."""

_SMALL: Final = 2**31 - 1
"""Largest value of a PositiveIntegerField."""


class Column(NamedTuple):
    """A column of `registry_replica` that is stored from a report."""

    name: str
    field: str
    """Of the report."""
    sql_type: str
    value: Callable[[ReplicaFacts], object]
    """The value to store."""
    default: str
    """SQL of the value of a copy that was not reported yet."""


def _column(field: str) -> Column:
    name = COLUMN_OF.get(field, field)
    kind = Replica._meta.get_field(name)
    assert isinstance(kind, models.Field)
    if isinstance(kind, models.PositiveBigIntegerField):
        return Column(name, field, "bigint", lambda facts: getattr(facts, field), "0")
    if isinstance(kind, models.PositiveIntegerField):
        return Column(name, field, "bigint", lambda facts: min(getattr(facts, field), _SMALL), "0")
    if field == "gaps":
        return Column(name, field, "text", lambda facts: to_text(facts.gaps), "''")
    if isinstance(kind, models.CharField | models.TextField):
        return Column(name, field, "text", lambda facts: getattr(facts, field), "''")
    raise TypeError(f"columns of the type of {name} cannot be stored")


COLUMNS: Final = tuple(
    _column(field) for field in ReplicaFacts.__struct_fields__ if field not in OF_THE_DRIVE
)
"""Every field of the report that is stored with the copy."""

RESET: Final = tuple(column for column in COLUMNS if column.field not in KEPT)
