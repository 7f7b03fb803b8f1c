"""docs/cli.md says what the commands can do; a command or an option that it leaves out fails here."""

from __future__ import annotations

import dataclasses
import re

import click
import pytest

from seederfarm.cli import main
from workers.engine.model.events import Event

from ...support.paths import ROOT

DOCS = (ROOT / "docs" / "cli.md").read_text()
LONE_PEER = ("seed", "ls", "cat", "get", "verify", "keygen")
GENERAL = {"--help", "--data", "--bootstrap", "--port", "--quiet", "--verbose"}
"""Described once for all commands."""


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", LONE_PEER)
def test_every_command_has_its_heading_and_all_its_options(name: str) -> None:
    headings = re.findall(r"^## (.+)$", DOCS, re.MULTILINE)
    (heading,) = [heading for heading in headings if name in heading.split(", ")]
    section = DOCS.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for parameter in command(name).params:
        if isinstance(parameter, click.Option) and not GENERAL & set(parameter.opts):
            assert any(f"{option}" in section for option in parameter.opts), parameter.opts


def test_options_of_all_commands_are_described() -> None:
    for option in ("--data", "--bootstrap", "--port", "-q", "-v"):
        assert f"`{option}" in DOCS


@pytest.mark.parametrize("event", Event.__args__)
def test_every_event_is_described_with_its_fields(event: type[Event]) -> None:
    (row,) = [line for line in DOCS.splitlines() if line.startswith(f"| `{event.event}` |")]
    for field in dataclasses.fields(event):
        assert f"`{field.name}`" in row
