"""The distribution as `pip install` gives it: the wheels in an environment without Django and Celery."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from seederfarm.cli.common.extras import FARM, PACKAGES, WORKER, require
from seederfarm.installer.bundle import PIN_FILES, SHARED

from ...support.paths import ROOT

BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
HEAVY = ("django", "celery", "kombu", "sqlalchemy", "redis")


def built(source: Path, folders: tuple[str, ...], place: Path) -> Path:
    """The wheel of a distribution, made from a copy: building leaves files beside the sources."""
    copy = place / f"source-{source.name}"
    copy.mkdir()
    for name in folders:
        shutil.copytree(
            source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (source / name).exists():
            shutil.copy(source / name, copy / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(place)],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with both wheels, and of all other packages only those of base.txt."""
    place = tmp_path_factory.mktemp("distribution")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    (site,) = (place / "venv" / "lib").glob("python*/site-packages")
    for source, folders in (
        (ROOT, ("seederfarm", "dashboard", "workers", "farmwire", "requirements")),
        (ROOT / "hypercore-py", ("src",)),
    ):
        with zipfile.ZipFile(built(source, folders, place)) as wheel:
            wheel.extractall(site)
    base = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/base.txt").read_text(), re.MULTILINE))
    wanted = {name.lower().replace("_", "-") for name in base}
    for module, distributions in packages_distributions().items():
        if wanted & {name.lower().replace("_", "-") for name in distributions}:
            for found in (
                *Path(sys.prefix).glob(f"lib/python*/site-packages/{module}"),
                *Path(sys.prefix).glob(f"lib/python*/site-packages/{module}.*"),
            ):
                if not (site / found.name).exists():
                    (site / found.name).symlink_to(found)
    python = place / "venv" / "bin" / "python"
    missing = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    done = subprocess.run([python, "-c", missing, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "none of these is in the environment"
    return python


def seederfarm(python: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "seederfarm", *arguments],
        env={"SEEDERFARM_HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_templates_and_static_files_of_the_pages_are_in_the_wheel(installed: Path) -> None:
    (site,) = (installed.parents[1] / "lib").glob("python*/site-packages")
    for room, folders in (
        ("dashboard", ("templates", "static")),
        ("seederfarm/registry", ("templates", "static")),
    ):
        for folder in folders:
            files = {path.relative_to(ROOT) for path in (ROOT / room / folder).rglob("*") if path.is_file()}
            assert files and not {path for path in files if not (site / path).is_file()}


def test_a_lone_peer_needs_nothing_of_the_farm(installed: Path, tmp_path: Path) -> None:
    assert seederfarm(installed, tmp_path, "--version").stdout.startswith("seederfarm, version ")
    for command in ("seed", "publish", "ls", "cat", "get", "verify", "keygen"):
        shown = seederfarm(installed, tmp_path, command, "--help")
        assert shown.returncode == 0 and "Usage:" in shown.stdout, shown.stderr
    assert seederfarm(installed, tmp_path, "keygen").returncode == 0
    verified = seederfarm(
        installed, tmp_path, "ls", "ab" * 32, "--timeout", "0", "--bootstrap", "127.0.0.1:1"
    )
    assert verified.returncode == 1 and "Traceback" not in verified.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("up",), FARM),
        (("up", "-d"), FARM),
        (("init",), FARM),
        (("add", "ab" * 32), FARM),
        (("list",), FARM),
        (("show", "ab" * 32), FARM),
        (("status",), FARM),
        (("workers",), FARM),
        (("worker", "enroll"), FARM),
        (("sources",), FARM),
        (("sources", "follow"), FARM),
        (("fetch",), FARM),
        (("export",), FARM),
        (("shell",), FARM),
        (("worker", "run"), WORKER),
        (("worker", "join", "sfj1_x"), WORKER),
        (("worker", "doctor"), WORKER),
        (("doctor",), FARM),
    ],
)
def test_a_command_whose_packages_are_missing_says_so_in_one_line(
    installed: Path, tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    done = seederfarm(installed, tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"pip install 'seederfarm[{extra}]'" in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


def test_the_extras_bring_what_their_commands_import() -> None:
    """Each module of `PACKAGES` is of a distribution that the extra names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra: {re.split(r"[\[<>=;]", need)[0].strip().lower() for need in project[extra]}
        for extra in (WORKER, FARM)
    }
    named[FARM] |= named[WORKER]
    for extra, modules in PACKAGES.items():
        for module in modules:
            assert {name.lower() for name in packages_distributions()[module]} & named[extra], (extra, module)


REFUSE_OTHERS = """
import re, sys
from importlib.metadata import packages_distributions

known, wanted = packages_distributions(), set(sys.argv[1].split())

class Refuse:
    def find_spec(self, name, path=None, target=None):
        owners = {re.sub("[-_.]+", "-", owner).lower() for owner in known.get(name.partition(".")[0], ())}
        if owners and not owners & wanted:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
for module in sys.argv[2:]:
    __import__(module)
"""
"""Imports modules with the distributions of the first argument alone."""


def brought_by(needs: Iterable[str]) -> set[str]:
    """The distributions that pip installs for these requirements, in this environment."""
    found: set[str] = set()
    todo, seen = [(Requirement(need), "") for need in needs], set[tuple[str, str]]()
    while todo:
        need, extra = todo.pop()
        if need.marker is not None and not need.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(need.name)
        found.add(name)
        for wanted in {"", *need.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                try:
                    inner = requires(name) or []
                except PackageNotFoundError:  # of another platform, or not in the tests' environment
                    continue
                todo += [(Requirement(text), wanted) for text in inner]
    return found


@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        (WORKER, ("workers.agent.run", "workers.engine.process.main")),
        (FARM, ("seederfarm.asgi", "seederfarm.control.celery.app", "seederfarm.supervisor.programs.flower")),
    ],
)
def test_an_extra_is_enough_for_its_programs(extra: str, modules: tuple[str, ...], tmp_path: Path) -> None:
    """Of its packages and those that they need in turn: kombu, for one, needs `packaging` for Redis alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    library = tomllib.loads((ROOT / "hypercore-py" / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *library["dependencies"], *project["optional-dependencies"][extra]]
    if extra == FARM:
        needs += project["optional-dependencies"][WORKER]
    ours = {"hypercore-py", "seederfarm"}
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_OTHERS, " ".join(brought_by(needs) | ours), *modules],
        env={**os.environ, "SEEDERFARM_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_module_that_is_loaded_without_a_spec_counts_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("kombu")
    assert lazy.__spec__ is None  # as that of kombu, once it was imported
    monkeypatch.setitem(sys.modules, "kombu", lazy)
    require(WORKER)


def test_what_is_not_python_is_in_the_wheel(installed: Path) -> None:
    (site,) = (installed.parents[1] / "lib").glob("python*/site-packages")
    wanted = [
        path.relative_to(ROOT)
        for package in ("seederfarm", "workers", "farmwire")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".py")
    ]
    assert wanted and [str(path) for path in wanted if not (site / path).exists()] == []
    (pins,) = site.glob(f"seederfarm-*.data/data/{SHARED}")
    assert all((pins / name).is_file() for name in PIN_FILES), "the pins that /join/ hands out"
    modules = [
        path.relative_to(ROOT)
        for package in ("seederfarm", "workers", "farmwire")
        for path in (ROOT / package).rglob("*.py")
    ]
    assert [str(path) for path in modules if not (site / path).exists()] == []
