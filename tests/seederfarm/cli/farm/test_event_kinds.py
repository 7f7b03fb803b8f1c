"""The list of kinds of events has all that the code records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from seederfarm.cli.farm.event_kinds import EVENT_KINDS, listed

from ....support.paths import ROOT

KIND = re.compile(r"[a-z]+\.[a-z_]+")


def recorded(path: Path, *names: str) -> Iterator[str]:
    """Texts that are arguments of calls of these names in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".", 1)[-1] not in names:
            continue
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def test_every_kind_that_the_farm_records_is_listed() -> None:
    names = ("Event", "EventRow", "_event", "record_event", "objects.create")
    files = [*(ROOT / "seederfarm").rglob("*.py")]
    found = {kind for path in files for kind in recorded(path, *names) if KIND.fullmatch(kind)}
    assert {"worker.retired", "source.failed", "drive.proof", "worker.refused", "worker.lost"} <= found
    assert found <= EVENT_KINDS


def test_every_notice_of_a_worker_and_code_of_an_engine_is_listed() -> None:
    path = ROOT / "workers" / "agent" / "agent.py"
    notices = {text for text in recorded(path, "reports.record_event", "reports.record_repeated_event")}
    codes = (ROOT / "docs" / "cli.md").read_text().partition("| code of `error` |")[2].partition("\n\n")[0]
    rows = [line for line in codes.splitlines() if "from `publish`" not in line]
    errors = {code.lower() for line in rows for code in re.findall(r"`([A-Z_]+)`", line)}
    assert "engine_hung" in notices or "engine_ended" in notices
    assert "conflict" in errors
    found = {text for text in notices if re.fullmatch("[a-z_]+", text)} | errors
    assert {f"engine.{code}" for code in found} <= EVENT_KINDS


def test_kinds_are_listed_on_a_line_for_each_first_word() -> None:
    assert listed(["worker.lost", "drive.proof", "worker.back"]) == "drive.proof\nworker.back, worker.lost"
