from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..support.paths import ROOT

FOLDER = ROOT / "requirements"


HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def lines(name: str) -> list[list[str]]:
    """Every requirement as its pin and its hashes."""
    text = re.sub(r"\\\n", " ", (FOLDER / f"{name}.txt").read_text())
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            hashes = HASH.findall(line)
            found.append([HASH.sub("", line).split(";")[0].strip(), *hashes])
    return found


def pins(name: str) -> dict[str, str]:
    found = {}
    for pin, *_ in lines(name):
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)", pin)
        assert match is not None, f"{name}.txt: {pin} is not pinned"
        found[canonicalize_name(match[1])] = match[2]
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_every_pin_has_the_hashes_of_its_files_and_names_no_host(path: Path) -> None:
    """`python tools/pins.py` writes them; ./farm installs nothing else."""
    text = path.read_text()
    assert "://" not in text and "index-url" not in text
    found = lines(path.stem)
    assert len(found) > 10
    assert [pin for pin, *hashes in found if not hashes] == []


def test_the_farm_installs_pins_by_their_hashes_alone() -> None:
    script = (FOLDER.parent / "farm").read_text()
    installs = [line for line in script.splitlines() if '-r "$here/' in line]
    assert installs and all("--require-hashes --no-deps" in line for line in installs)


def test_what_two_files_name_is_pinned_to_one_version() -> None:
    versions: dict[str, dict[str, str]] = {}
    for path in FOLDER.glob("*.txt"):
        for package, version in pins(path.stem).items():
            versions.setdefault(package, {})[path.stem] = version
    assert {package: where for package, where in versions.items() if len(set(where.values())) > 1} == {}


@pytest.mark.parametrize(
    "package",
    ["celery", "django", "django-ninja", "django-unfold", "psycopg", "flower", "httpcore", "uvicorn"],
)
def test_what_the_control_plane_needs_in_turn_is_pinned_too(package: str) -> None:
    known = pins("base") | pins("control")
    missing, todo, seen = set(), [package], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for text in requires(name) or []:
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            needed = canonicalize_name(need.name)
            if needed not in known:
                missing.add(needed)
            elif not need.specifier.contains(known[needed], prereleases=True):
                missing.add(f"{needed} {need.specifier}")
            else:
                todo.append(needed)
    assert missing == set()
