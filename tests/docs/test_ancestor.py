"""The table of permanent-seeder's elements: its tests and addresses exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from django.urls import Resolver404, resolve

from ..dashboard.api.client import document
from ..support.paths import ROOT

PAGE = (ROOT / "docs" / "ancestor.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| there ")
]


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_has_three_cells() -> None:
    assert len(ROWS) > 35 and {len(row) for row in ROWS} == {3}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_a_test_that_there_is_or_says_that_it_is_not_here(row: list[str]) -> None:
    if row[1].startswith("–"):
        assert row[2] == "–"
        return
    path, _, name = row[2].strip("`").partition("::")
    assert name in names_in(path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_addresses_of_a_row_exist(row: list[str]) -> None:
    for address in re.findall(r"`(/[^`?]*)[^`]*`", row[1]):
        if address.startswith("/api/"):
            assert address in document()["paths"], address
            continue
        try:
            resolve(address.replace("KEY", "a" * 64))
        except Resolver404:
            pytest.fail(f"{address} is no address")


def test_every_operation_of_the_ancestor_is_in_the_table() -> None:
    named = set(re.findall(r"`(/api/v1/compat/[^`]+)`", PAGE))
    here = {path for path in document()["paths"] if path.startswith("/api/v1/compat/")}
    assert named == here
