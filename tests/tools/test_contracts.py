"""Contracts of imports leave no package out."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_modules_of_every_package_have_an_order() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    ordered = {
        package
        for contract in config["contracts"]
        if contract.get("exhaustive")
        for package in contract["containers"]
    }
    found = set()
    for name in config["root_packages"]:
        root = ROOT / "hypercore-py/src" if name == "hypercore" else ROOT
        for marker in (root / name).rglob("__init__.py"):
            folder = marker.parent
            modules = [path for path in folder.iterdir() if (path / "__init__.py").exists()]
            modules += [path for path in folder.glob("*.py") if path != marker]
            if len(modules) > 1 and "migrations" not in folder.parts:
                found.add(".".join(folder.relative_to(root).parts))
    assert {"hypercore.aio.dht", "workers.engine.seeds", "seederfarm.control.reports"} < found
    assert found == ordered & found, sorted(found - ordered)
    assert not {package for package in ordered if not _exists(package)}


def _exists(package: str) -> bool:
    path = Path(*package.split("."))
    return any((root / path / "__init__.py").exists() for root in (ROOT, ROOT / "hypercore-py/src"))
