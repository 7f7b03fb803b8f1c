"""Pages of lists whose rows are not counted one by one."""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from django.db.models import QuerySet

MAX_COUNTED: Final = 10_000
"""Rows of a list that are counted and can be paged through. Ours."""


class Counted(Paginator):  # type: ignore[type-arg]
    """Pages of rows whose number is known."""

    def __init__(self, rows: QuerySet[Any, Any], each: int, count: int, *, more: bool = False) -> None:
        super().__init__(rows, each)
        self.count = count
        self.more = more
        """Whether there are rows beyond."""


def first_pages(rows: QuerySet[Any], each: int) -> Counted:
    """Return the pages of the first MAX_COUNTED rows."""
    found = rows.order_by()[: MAX_COUNTED + 1].count()
    return Counted(rows, each, min(found, MAX_COUNTED), more=found > MAX_COUNTED)
