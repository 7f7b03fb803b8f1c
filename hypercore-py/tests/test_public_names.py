"""What `import hypercore` and `import hypercore.aio` give, and what they cost."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hypercore
import hypercore.aio

LAZY = [hypercore, hypercore.aio]


def source(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text())


def relative(module: str | None, level: int) -> str:
    return "." * level + (module or "")


def names_for_type_checkers(module: ModuleType) -> dict[str, str]:
    """Name to home, by the imports below `if TYPE_CHECKING`."""
    (block,) = [node for node in source(module).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: relative(node.module, node.level) for node in imports for alias in node.names}


def names_at_run_time(module: ModuleType) -> dict[str, str]:
    """Name to home, by the table given to `lazy_names`."""
    (table,) = [node for node in ast.walk(source(module)) if isinstance(node, ast.Dict)]
    return {name: home for home, names in ast.literal_eval(table).items() for name in names}


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_type_checkers_the_import_table_and_all_agree(module: ModuleType) -> None:
    assert names_for_type_checkers(module) == names_at_run_time(module)
    assert module.__all__ == sorted(names_at_run_time(module))


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_every_public_name_is_that_of_its_home(module: ModuleType) -> None:
    for name, home in names_at_run_time(module).items():
        assert getattr(module, name) is getattr(importlib.import_module(home, module.__name__), name)
        assert name in dir(module)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hypercore' has no attribute 'Bea'"):
        hypercore.Bea  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from hypercore import Bea  # type: ignore[attr-defined]  # noqa: F401


def test_a_name_is_looked_up_once() -> None:
    assert run("import hypercore; hypercore.KeyPair; print('KeyPair' in vars(hypercore))") == "True\n"


def test_importing_the_packages_loads_nothing_of_weight() -> None:
    loaded = run(
        "import sys; before = set(sys.modules); import hypercore.aio; print(*set(sys.modules) - before)"
    ).split()
    assert {name for name in loaded if name.startswith("hypercore")} == {
        "hypercore",
        "hypercore._lazy",
        "hypercore.aio",
    }
    assert not {"asyncio", "cffi", "nacl", "socket", "sqlite3"} & set(loaded)


def test_everything_outside_of_aio_is_loaded_without_an_event_loop() -> None:
    """The event loop is the shell's; two modules of `testing` run shells."""
    code = """
import importlib, pkgutil, sys, hypercore
shells = ("hypercore.aio", "hypercore.testing.connections", "hypercore.testing.testnet")
for module in pkgutil.walk_packages(hypercore.__path__, "hypercore."):
    if not module.name.startswith(shells):
        importlib.import_module(module.name)
print("asyncio" in sys.modules, "hypercore.replication.replicator" in sys.modules)
"""
    assert run(code) == "False True\n"


def test_cores_load_nothing_of_the_network() -> None:
    code = """
import importlib, pkgutil, sys, hypercore.aio.cores
for module in pkgutil.walk_packages(hypercore.aio.cores.__path__, "hypercore.aio.cores."):
    importlib.import_module(module.name)
print(*sys.modules)
"""
    loaded = set(run(code).split())
    rooms = {"dht", "noise", "secretstream", "swarm", "udx", "aio.dht", "aio.net", "aio.swarm"}
    assert "hypercore.aio.cores.corestore" in loaded
    assert not {f"hypercore.{room}" for room in rooms} & loaded


def test_a_star_import_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from hypercore import *", namespace)
    assert set(hypercore.__all__) <= set(namespace)


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*|unknown", hypercore.__version__)
