"""Commands in the documents exist and have the options that they are written with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from seederfarm.cli import main

from ..support.paths import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
SCRIPT = ("test", "lint", "fuzz", "bench", "screenshots")
"""What `./farm` does itself. Options after these belong to pytest, fuzz and the benchmarks."""


def written(text: str) -> Iterator[str]:
    """Command lines in fenced blocks and between backticks, without their comments."""
    fenced = re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in fenced:
        yield from re.split(r"\n(?! {4,}\[)", block)
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        yield from re.findall(r"`([^`]+)`", line)


def commands(text: str) -> list[str]:
    stripped = (re.sub(r"\s+#.*", "", line).strip() for line in written(text))
    return [line for line in stripped if re.match(r"(\./farm|seederfarm) [a-z]", line)]


def problems(line: str) -> list[str]:
    """Words of this command line that no command has."""
    words = re.sub(r"[\[\]|…]|\.\.\.", " ", line).split()[1:]
    if words[0] in SCRIPT:
        return []
    found: click.Command = main
    while words and isinstance(found, click.Group) and re.fullmatch(r"[a-z-]+", words[0]):
        name = words.pop(0)
        inner = found.get_command(click.Context(found), name)
        if inner is None:
            return [name]
        found = inner
    known = {option for parameter in found.params for option in parameter.opts} | {"--help", "-h"}
    return [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    assert {line: wrong for line in commands(page.read_text()) if (wrong := problems(line))} == {}


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    text = "Say `./farm add KEY --wait`.\n```sh\n./farm up -d   # all of it\nls\n```\n"
    assert commands(text) == ["./farm up -d", "./farm add KEY --wait"]
    assert sum(len(commands(page.read_text())) for page in PAGES) > 40


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("./farm add KEY --wiat", ["--wiat"]),
        ("./farm wroker run", ["wroker"]),
        ("./farm worker leave NAME", ["leave"]),
        ("seederfarm seed KEY [--up RATE] [--forks follow|quarantine]...", []),
        ("./farm test --fast", []),
    ],
)
def test_a_wrong_command_is_noticed(line: str, wrong: list[str]) -> None:
    assert problems(line) == wrong
