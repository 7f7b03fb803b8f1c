"""Prints what checks found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import click

from hypercore.printable import json_text, visible
from workers.doctor.finding import Finding, State

MARKS: Final[Mapping[State, tuple[str, str]]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
}


def show(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print each as it comes. Raises Exit with status 1 at the end if there is a problem."""
    problems = warnings = 0
    for finding in findings:
        problems += finding.state == "problem"
        warnings += finding.state == "warning"
        if as_json:
            click.echo(json_text(finding._asdict()))
            continue
        mark, colour = MARKS[finding.state]
        click.echo(f"{click.style(f'{mark:8}', fg=colour)} {finding.check:10} {visible(finding.text)}")
        if finding.hint:
            click.echo(f"{'':20}→ {visible(finding.hint)}")
    if not as_json:
        click.echo(_summary(problems, warnings))
    if problems:
        raise click.exceptions.Exit(1)


def _summary(problems: int, warnings: int) -> str:
    if problems:
        return f"{problems} to mend."
    return "Nothing is wrong." if not warnings else "It works; see the warnings."
