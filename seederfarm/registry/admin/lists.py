"""Lists of millions of rows, at a cost per page that does not depend on their number.

A page is chosen by primary keys alone; joins and per-row queries are made for its rows only. Without a
condition the database estimates the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

ESTIMATED_FROM: Final = 100_000
"""Rows from which on a list without conditions shows the database's estimate."""


class PageFirst(ChangeList):  # type: ignore[misc]
    """Chooses the rows of a page, then loads them with `ModelAdmin.get_queryset`."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        page: Any = self.result_list
        keys = list(page.values_list("pk", flat=True))
        found = self.apply_select_related(self.root_queryset).in_bulk(keys)
        self.result_list = [found[key] for key in keys if key in found]


if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:  # generic for the type checker only
    _Paginator = Paginator


class Estimating(_Paginator):
    """Counts lists with a condition, and those without if they are small."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        if connection.vendor != "postgresql" or rows.query.where or rows.query.distinct:
            return super().count
        with connection.cursor() as cursor:
            table = rows.model._meta.db_table
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
            (estimate,) = cursor.fetchone()
        return int(estimate) if estimate >= ESTIMATED_FROM else super().count
