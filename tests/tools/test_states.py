"""Diagrams of state machines: what is drawn as one arrow, and what is not."""

from __future__ import annotations

from enum import Enum

import pytest

from tools import states


class Door(Enum):
    OPEN = "open"
    SHUT = "shut"


def test_what_changes_nothing_has_no_arrow_and_none_is_the_beginning_and_the_end() -> None:
    table = {None: {"build": Door.SHUT}, Door.SHUT: {"knock": Door.SHUT, "break in": (Door.OPEN, None)}}
    assert list(states.arrows(table)) == [
        ("[*]", "build", "shut"),
        ("shut", "break in", "open"),
        ("shut", "break in", "[*]"),
    ]


GROUPS = {"g": ["a", "b"], "h": ["x", "y"]}


@pytest.mark.parametrize(
    ("found", "drawn"),
    [
        # from each to its own
        ([("a", "e", "x"), ("b", "e", "y")], [("g", "e", "h")]),
        # among each other
        ([("a", "e", "b"), ("b", "e", "a")], [("g", "e", "g")]),
        # all to one
        ([("a", "e", "x"), ("b", "e", "x")], [("g", "e", "x")]),
        ([("a", "e", "z"), ("b", "e", "z")], [("g", "e", "z")]),
        # some do not
        ([("a", "e", "x")], [("a", "e", "x")]),
        ([("a", "e", "x"), ("b", "f", "y")], [("a", "e", "x"), ("b", "f", "y")]),
        # from one to each
        ([("z", "e", "x"), ("z", "e", "y")], [("z", "e", "h")]),
        ([("z", "e", "x")], [("z", "e", "x")]),
    ],
)
def test_an_arrow_of_a_group_stands_for_one_of_each_of_its_states(
    found: list[tuple[str, str, str]], drawn: list[tuple[str, str, str]]
) -> None:
    assert list(states.grouped(found, GROUPS)) == drawn


@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.title)
def test_no_state_of_a_table_is_left_out(machine: states.Machine) -> None:
    text = "\n".join(states.drawn(machine))
    table = states.table_of(machine)
    assert {states._named(state) for state in table} - set(text.replace(":", " ").split()) == set()
