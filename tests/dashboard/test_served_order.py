"""Drives in the order of what they have served: read from an index, as their number grows without bound."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from seederfarm.registry.models import Drive

from ..seederfarm.registry.factories import make_drive, make_user
from ..support.databases import FarmDatabase
from .api.client import ApiClient
from .api.conftest import token_for

FIRST = 'SELECT "registry_drive"."served_bytes"'
"""How a query begins whose order is called that of its first column."""
SERVED = {"never, first": 0, "some": 700, "never, last": 0, "most": 9 * 10**12, "as much": 700}


@pytest.fixture
def anna(database: FarmDatabase) -> User:
    for name, size in SERVED.items():
        make_drive(name, label=name, served_bytes=size)
    return make_user("anna")


@pytest.fixture
def by_index(anna: User) -> None:
    """PostgreSQL sorts a table of few rows unless that is forbidden; then it sorts where it must."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")


def plans_of(queries: CaptureQueriesContext) -> list[str]:
    """How the database finds the first rows in the order of `served_bytes`."""
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    found = []
    for query in queries.captured_queries:
        text = str(query["sql"])
        selected, _, order = text.partition(" ORDER BY ")
        if '"served_bytes" ' in order or (order.startswith("1 ") and FIRST in selected):
            with connection.cursor() as cursor:
                cursor.execute(f"{explain} {text.replace('%', '%%')}")
                found.append("\n".join(str(row) for row in cursor.fetchall()))
    return found


def assert_by_index(queries: CaptureQueriesContext) -> None:
    (plan,) = plans_of(queries)
    assert "drive_served" in plan, plan
    assert "Sort" not in plan and "TEMP B-TREE" not in plan, plan


@pytest.mark.usefixtures("by_index")
@pytest.mark.parametrize("sort", ["served", "-served"])
def test_the_page_reads_its_rows_from_an_index(anna: User, sort: str) -> None:
    client = Client()
    client.force_login(anna)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/drives/?sort={sort}&page=1").status_code == 200
    assert_by_index(queries)


@pytest.mark.usefixtures("by_index")
@pytest.mark.parametrize("sort", ["served", "-served"])
def test_the_api_reads_any_page_from_an_index(anna: User, sort: str) -> None:
    reader = ApiClient(token_for(anna, "read"))
    first = reader.get("drives", sort=sort, limit=2)
    with CaptureQueriesContext(connection) as queries:
        reader.get("drives", sort=sort, limit=2, cursor=first["next"])
    assert_by_index(queries)


@pytest.mark.usefixtures("by_index")
def test_an_order_without_an_index_is_sorted() -> None:
    """What the tests above would see without it."""
    rows: QuerySet[Any] = Drive.objects.order_by("served_bytes", "files")
    with CaptureQueriesContext(connection) as queries:
        list(rows)
    (plan,) = plans_of(queries)
    assert "Sort" in plan or "TEMP B-TREE" in plan, plan


def test_the_most_read_come_first_or_those_that_were_never_read_the_longest(anna: User) -> None:
    client, reader = Client(), ApiClient(token_for(anna, "read"))
    client.force_login(anna)
    names_up = ["never, first", "never, last", "some", "as much", "most"]
    for sort, names in (("served", names_up), ("-served", names_up[::-1])):
        shown = client.get(f"/drives/?sort={sort}").context["list"].page.object_list
        assert [drive.label for drive in shown] == names
        assert [item["label"] for item in reader.get("drives", sort=sort)["items"]] == names
