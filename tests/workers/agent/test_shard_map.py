"""Which engine keeps which key, when the number of engines changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from farmwire.assignment import Assignment, AssignmentEntry
from workers.agent.shard_map import ShardMap
from workers.state import State

KEYS = [f"{number:064x}" for number in range(12)]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path)
    yield state
    state.close()


def homes(state: State, shards: int) -> ShardMap:
    return ShardMap(state, shards)


def wanted(state: State, version: int, *keys: str) -> None:
    assert state.replace_assignment(
        Assignment(version=version, entries=[AssignmentEntry(key=k) for k in keys]), 1.0
    )


def where(found: ShardMap, *keys: str) -> list[int]:
    return [found.of(key) for key in keys]


def test_keys_are_spread_evenly_and_stay_when_there_are_more_engines(state: State) -> None:
    wanted(state, 1, *KEYS[:6])
    two = homes(state, 2)
    before = where(two, *KEYS[:6])
    assert Counter(before) == {0: 3, 1: 3}
    four = homes(state, 4)
    assert where(four, *KEYS[:6]) == before
    assert four.engines == [0, 1, 2, 3]
    four.place(KEYS)
    assert Counter(where(four, *KEYS)) == {0: 3, 1: 3, 2: 3, 3: 3}


def test_with_fewer_engines_those_that_have_keys_run_on_and_get_no_new_ones(state: State) -> None:
    wanted(state, 1, *KEYS[:4])
    homes(state, 4)
    wanted(state, 2, *KEYS[1:4])  # of engine 0 nothing is left, but it is still to be deleted
    one = homes(state, 1)
    assert one.engines == [0, 1, 2, 3]
    one.place(KEYS)
    assert set(where(one, *KEYS[4:])) == {0}
    assert where(one, *KEYS[1:4]) == [1, 2, 3]


def test_an_engine_without_keys_ends_with_the_next_start(state: State) -> None:
    wanted(state, 1, *KEYS[:2])
    first = homes(state, 2)
    wanted(state, 2, KEYS[0])
    assert homes(state, 1).engines == [0, 1]
    state.removed(KEYS[1])
    first.removed(KEYS[1])
    assert homes(state, 1).engines == [0]


def test_a_key_that_is_wanted_again_while_it_is_removed_stays_where_it_was(state: State) -> None:
    wanted(state, 1, *KEYS[:2])
    found = homes(state, 2)
    assert found.of(KEYS[1]) == 1
    found.removed(KEYS[1])
    assert homes(state, 2).of(KEYS[1]) == 1


def test_a_home_of_another_farm_whose_engine_does_not_run_is_given_up(state: State) -> None:
    state.set_homes({KEYS[0]: 5})
    found = homes(state, 2)
    assert found.engines == [0, 1]
    found.place(KEYS[:1])
    assert found.of(KEYS[0]) == 0
    assert homes(state, 2).of(KEYS[0]) == 0
