"""Lists of millions of rows: what a page costs does not depend on how many there are.

A page is chosen first, by primary keys alone; joins, and numbers that take a query for each row, are made for
the rows of the page. Without a condition the database estimates how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

ESTIMATED_FROM: Final = 100_000
"""Rows from which on a list without conditions says how many it has as the database estimates it."""


class PageFirst(ChangeList):  # type: ignore[misc]
    """Chooses the rows of a page, then loads them as `ModelAdmin.get_queryset` says."""

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
    """Counts what has a condition; of what has none, only if it is small."""

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
