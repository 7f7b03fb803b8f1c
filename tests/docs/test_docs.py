"""What the documents say about the code is true of it, as far as that can be checked cheaply."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from ..support.paths import ROOT

LIBRARY = ROOT / "hypercore-py" / "src" / "hypercore"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "hypercore-py" / "README.md"]


def layers() -> list[str]:
    """The lines of the library's rooms, as import-linter enforces them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["hypercore"]]
    return list(found)


def rooms() -> set[str]:
    found = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").is_file()}
    return found | {path.stem for path in LIBRARY.glob("*.py") if path.stem != "__init__"}


@cache
def attributes() -> dict[str, set[str]]:
    """Class to its methods and attributes, those of classes that it is built on included (by name)."""
    own: dict[str, set[str]] = defaultdict(set)
    bases: dict[str, set[str]] = defaultdict(set)
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] |= {ast.unparse(base) for base in node.bases}
                own[node.name] |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                own[node.name] |= {item.name for item in node.body if isinstance(item, ast.AsyncFunctionDef)}
                own[node.name] |= {
                    item.attr
                    for item in ast.walk(node)
                    if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store)
                }
    for name in own:
        for base in bases[name]:
            own[name] |= own.get(base, set())
    return own


def test_the_lines_of_rooms_in_the_architecture_are_those_that_are_enforced() -> None:
    block = re.search(r"```\n(testing\n.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    assert block is not None
    assert block[1].splitlines() == layers()


def test_every_room_is_in_a_line_and_is_described() -> None:
    in_lines = {room for line in layers() for room in line.split(" | ")}
    assert in_lines == rooms() - {"_lazy", "_version"}
    text = ARCHITECTURE.read_text()
    assert {room for room in rooms() if f"`{room}`" not in text} == set()


def test_what_the_architecture_calls_exists() -> None:
    text = ARCHITECTURE.read_text()
    called = set(re.findall(r"\b([A-Z]\w+)\.(_?[a-z]\w*)\b", re.sub(r"\S+\.(md|py|toml)\b", "", text)))
    assert len(called) > 30
    known = attributes()
    assert {
        f"{name}.{attribute}" for name, attribute in called if attribute not in known.get(name, ())
    } == set()


def test_modules_that_the_architecture_names_exist() -> None:
    named = re.findall(r"`([a-z_]+/[a-z_]+\.py)`", ARCHITECTURE.read_text())
    assert (
        named
        and [name for name in named if not (LIBRARY / name).is_file() and not (ROOT / name).is_file()] == []
    )


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=lambda page: page.name)
def test_files_and_names_that_maintainers_are_sent_to_exist(page: Path) -> None:
    """Of each row that names a file, the names in backticks stand in one of the files in backticks."""
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    missing: list[str] = []
    checked = 0
    for row in rows:
        quoted = re.findall(r"`([^` ]+)`", row)
        paths = [ROOT / name for name in quoted if "/" in name and "*" not in name]
        missing += [str(path.relative_to(ROOT)) for path in paths if not path.exists()]
        text = "".join(path.read_text() for path in paths if path.is_file())
        names = [name for name in quoted if re.fullmatch(r"[A-Za-z_]\w*", name) and text]
        checked += len(paths) + len(names)
        missing += [name for name in names if name not in text and name != "match"]
    assert checked > 25
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles)
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text())
    pages = [(page.parent / name if name else page, anchor) for name, anchor in targets]
    assert [(str(path), anchor) for path, anchor in pages if anchor not in anchors(path)] == []


@pytest.mark.parametrize("tool", ["limits.py", "readme.py", "states.py"])
def test_generated_pages_are_current(tool: str) -> None:
    found = subprocess.run(
        [sys.executable, str(ROOT / "tools" / tool), "--check"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_a_bound_is_explained_on_request() -> None:
    command = [sys.executable, str(ROOT / "tools" / "limits.py"), "--list", "max_all_channels"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "aio.cores.corestore.MAX_ALL_CHANNELS  65,536\n" in found
    assert "Channels on all connections together" in found
    assert "MAX_DIRTY_BYTES" not in found


@pytest.mark.parametrize(
    ("tool", "page", "was", "now"),
    [
        ("limits.py", "docs/limits.md", "64 MiB", "65 MiB"),
        ("readme.py", "hypercore-py/README.md", "asyncio.run(", "asyncio.walk("),
    ],
)
def test_a_page_that_is_not_current_is_noticed_and_made_so(
    tool: str, page: str, was: str, now: str, tmp_path: Path
) -> None:
    """The tools work on the repository that they are in."""
    library = ("hypercore-py/README.md", "hypercore-py/examples", "hypercore-py/src")
    for part in ("tools", "docs", "workers", *library):
        place = tmp_path / part
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place)
        else:
            place.parent.mkdir()
            shutil.copy(ROOT / part, place)

    def run(*options: str) -> int:
        command = [sys.executable, str(tmp_path / "tools" / tool), *options]
        return subprocess.run(command, capture_output=True, check=False).returncode

    text = (tmp_path / page).read_text()
    assert was in text
    (tmp_path / page).write_text(text.replace(was, now))
    assert run("--check") == 1
    assert run() == 0
    assert (tmp_path / page).read_text() == text
    assert run("--check") == 0
