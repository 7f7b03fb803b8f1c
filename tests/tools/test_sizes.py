"""The check that no module is too long to read."""

from __future__ import annotations

from pathlib import Path

from tools import sizes


def test_a_module_over_the_limit_is_named_wherever_it_is(tmp_path: Path) -> None:
    for name, lines in (
        ("workers/engine/long.py", 501),
        ("workers/engine/full.py", 500),
        ("hypercore-py/tests/udx/test_long.py", 900),
        ("seederfarm/registry/migrations/0001_initial.py", 2_000),
        ("tests/peers/node_modules/gyp/long.py", 2_000),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n" * lines)
    assert sizes.too_long(tmp_path) == [
        (900, "hypercore-py/tests/udx/test_long.py"),
        (501, "workers/engine/long.py"),
    ]


def test_the_modules_of_this_repository_are_seen() -> None:
    names = {path.name for path in sizes.modules()}
    assert {"replicator.py", "sizes.py", "test_sizes.py", "settings.py"} <= names
