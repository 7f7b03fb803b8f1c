"""Every variable that the code reads is on the page of settings, and every one on the page is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seederfarm.settings import document

ROOT = Path(__file__).parents[2]
PACKAGES = ("hypercore-py/src", "farmwire", "workers", "seederfarm")
VARIABLE = re.compile(r"SEEDERFARM_[A-Z0-9_]*")
PUT_TOGETHER = {
    "seederfarm/settings/env.py": {"SEEDERFARM_"},
    "seederfarm/cli/farm/admin.py": {"SEEDERFARM_"},
    "seederfarm/settings/document.py": {"SEEDERFARM_"},
    "seederfarm/containers/example.py": {"SEEDERFARM_"},
}
"""Files that only cut the prefix off, or speak of it."""


def texts(source: str) -> Iterator[str]:
    """Every string of a module, parts of f-strings included, without its docstrings."""
    tree = ast.parse(source)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def named(source: str) -> set[str]:
    """The variables that its strings name. One that is put together (`f"SEEDERFARM_{x}"`) ends with `_`."""
    return {name for text in texts(source) for name in VARIABLE.findall(text)}


def test_a_name_is_found_however_it_is_read() -> None:
    assert named('os.environ["SEEDERFARM_ONE"]; get(environ, f"SEEDERFARM_{x}")\nTWO = "SEEDERFARM_TWO"') == {
        "SEEDERFARM_ONE",
        "SEEDERFARM_",
        "SEEDERFARM_TWO",
    }


@pytest.mark.slow
def test_every_variable_in_the_code_is_on_the_page() -> None:
    known = set(document.names())
    with_files = known | {f"{name}_FILE" for name in known}
    unknown = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            prefix = PUT_TOGETHER.get(str(path.relative_to(ROOT)), set())
            if found := named(path.read_text()) - with_files - prefix:
                unknown[str(path.relative_to(ROOT))] = found
    script = set(VARIABLE.findall((ROOT / "farm").read_text())) - with_files
    assert (unknown, script) == ({}, set()), "each needs a row in a table of settings"


def test_variables_are_read_through_the_tables() -> None:
    """`os.environ["SEEDERFARM_X"]` would be read in a grammar of its own."""
    direct = re.compile(r"environ(?:\.get\(|\.pop\(|\[)\s*[\"']SEEDERFARM_(?!HOME)[A-Z]")
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if direct.search(path.read_text()) and path.name != "scratch.py"
    ]
    assert found == []
