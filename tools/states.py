#!/usr/bin/env python3
"""Writes docs/states.md: the state machines that are tables in the source, drawn.

    python tools/states.py             write the page
    python tools/states.py --check     exit with 1 if it is not current

A table maps each state to the events that lead on from it, and each event to the state that it leads to, or
several. To have another one drawn, add it to MACHINES.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT, ROOT / "hypercore-py" / "src")
PAGE = ROOT / "docs" / "states.md"

HEAD = """\
# State machines

Drawn by `python tools/states.py` from the tables in the source: change those. What is not drawn does not
happen.
"""


class Machine(NamedTuple):
    title: str
    table: str
    """Module and name."""
    what: str


MACHINES = (
    Machine(
        "State of a worker",
        "seederfarm.registry.worker_states:TRANSITIONS",
        "What an operator makes of a worker, in the admin or with `worker` and `workers`.",
    ),
)


def table_of(machine: Machine) -> Mapping[Any, Mapping[Any, Any]]:
    module, _, name = machine.table.partition(":")
    found: Mapping[Any, Mapping[Any, Any]] = getattr(import_module(module), name)
    return found


def arrows(table: Mapping[Any, Mapping[Any, Any]]) -> Iterator[tuple[str, str, str]]:
    """From, to, and the events that lead there. Of what changes nothing there is none."""
    for state, events in table.items():
        leads: dict[str, list[str]] = {}
        for event, after in events.items():
            for target in after if isinstance(after, tuple) else (after,):
                leads.setdefault(_named(target), []).append(_text(event))
        for target, names in leads.items():
            if target != _named(state):
                yield _named(state), target, ", ".join(names)


def drawn(machine: Machine) -> Iterator[str]:
    yield f"## {machine.title}\n"
    yield f"{machine.what} Source: `{machine.table.replace(':', '.')}`.\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    for start, end, events in arrows(table_of(machine)):
        yield f"    {start} --> {end}: {events}"
    yield "```\n"


def _named(state: object) -> str:
    """A state as Mermaid takes it; `[*]` is its beginning and end."""
    return "[*]" if state is None else _text(state).replace(" ", "_")


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    return str(value)


def page() -> str:
    lines = [HEAD]
    for machine in MACHINES:
        lines += drawn(machine)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> None:
    sys.path[:0] = map(str, SOURCES)
    if list(arguments) == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/states.md is not what the source says: run `python tools/states.py`")
    elif not arguments:
        PAGE.write_text(page())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
