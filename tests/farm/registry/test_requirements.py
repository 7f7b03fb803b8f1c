from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[3] / "requirements"


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        line = line.split("#")[0].split(";")[0].strip()
        if line:
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert match is not None, f"{name}.txt: {line} is not pinned"
            found[canonicalize_name(match[1])] = match[2]
    return found


def test_what_two_files_name_is_pinned_to_one_version() -> None:
    versions: dict[str, dict[str, str]] = {}
    for path in FOLDER.glob("*.txt"):
        for package, version in pins(path.stem).items():
            versions.setdefault(package, {})[path.stem] = version
    assert {package: where for package, where in versions.items() if len(set(where.values())) > 1} == {}


@pytest.mark.parametrize(
    "package", ["celery", "django", "django-unfold", "psycopg", "flower", "httpcore", "uvicorn"]
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
