#!/usr/bin/env python3
"""Writes docs/states.md: the state machines that are tables in the source, drawn.

    python tools/states.py             write the page
    python tools/states.py --check     exit with 1 if it is not current

A table maps each state to the events that lead on from it, and each event to the state that it leads to, or
several; or it maps each pair of state and event to a state. None is the state before and after all. To have
another one drawn, add it to MACHINES.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
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
happen. An arrow from or to a box stands for one of each state in it.
"""


class Machine(NamedTuple):
    title: str
    table: str
    """Module and name."""
    what: str
    groups: str = ""
    """Module and name of a mapping: a name to the states that are drawn in a box of that name."""


MACHINES = (
    Machine(
        "State of a worker",
        "seederfarm.registry.worker_states:TRANSITIONS",
        "Changed by operators, in the admin or with `worker drain` and `worker retire`.",
    ),
    Machine(
        "State of a replica",
        "seederfarm.registry.replica_states:TRANSITIONS",
        "A copy on a worker, as control assigns it and the worker reports it. "
        "A released one is deleted when it is reported as removed.",
        groups="seederfarm.registry.replica_states:GROUPS",
    ),
    Machine(
        "Channel of a connection",
        "hypercore.mux.channel:TRANSITIONS",
        "A core, or another protocol, within a connection, on our side.",
    ),
    Machine(
        "Handshake with a client",
        "hypercore.dht.sessions:TRANSITIONS",
        "A client's handshake at a server of the DHT.",
    ),
    Machine(
        "Flush of a store",
        "hypercore.core.store:TRANSITIONS",
        "One thread writes it, and that of the store prepares, finishes and abandons it.",
    ),
    Machine(
        "Stage of a seed",
        "workers.engine.seeds.stage:TRANSITIONS",
        "What an engine keeps in memory of a key, and the peers with which it replicates it.",
    ),
)


def named_in(place: str) -> Any:
    """The value of MODULE:NAME."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def table_of(machine: Machine) -> Mapping[Any, Mapping[Any, Any]]:
    """The table, by state and event."""
    nested: dict[Any, dict[Any, Any]] = {}
    for state, value in named_in(machine.table).items():
        if isinstance(state, tuple):
            nested.setdefault(state[0], {})[state[1]] = value
        else:
            nested[state] = value
    return nested


def arrows(table: Mapping[Any, Mapping[Any, Any]]) -> Iterator[tuple[str, str, str]]:
    """From, event and to. Of what changes nothing there is none."""
    for state, events in table.items():
        for event, after in events.items():
            for target in after if isinstance(after, tuple) else (after,):
                if target != state:
                    yield _named(state), _text(event), _named(target)


def grouped(
    found: Sequence[tuple[str, str, str]], groups: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, str, str]]:
    """The same with one arrow from a group for those that leave every state of it by the same event, and
    either reach every state of one group together, or the same state each."""
    group_of = {state: name for name, states in groups.items() for state in states}
    pairs: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for start, event, end in found:
        place = (group_of.get(start, start), event, group_of.get(end, end))
        pairs.setdefault(place, []).append((start, end))
    for (first, event, last), between in pairs.items():
        lefts, ends = {start for start, _ in between}, {end for _, end in between}
        if lefts >= set(groups.get(first, [first])) and ends >= set(groups.get(last, [last])):
            yield first, event, last
            continue
        for end in dict.fromkeys(end for _, end in between):
            starts = dict.fromkeys(start for start, other in between if other == end)
            whole = set(starts) >= set(groups.get(first, [first]))
            yield from ((start, event, end) for start in ([first] if whole else starts))


def drawn(machine: Machine) -> Iterator[str]:
    yield f"## {machine.title}\n"
    yield f"{machine.what} Source: `{machine.table.replace(':', '.')}`.\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    boxes = named_in(machine.groups) if machine.groups else {}
    groups = {name: [_named(state) for state in states] for name, states in boxes.items()}
    for name, states in groups.items():
        yield f"    state {name} {{"
        yield from (f"        {state}" for state in states)
        yield "    }"
    events: dict[tuple[str, str], list[str]] = {}
    for start, event, end in grouped(list(arrows(table_of(machine))), groups):
        events.setdefault((start, end), []).append(event)
    for (start, end), names in events.items():
        yield f"    {start} --> {end}: {', '.join(names)}"
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
