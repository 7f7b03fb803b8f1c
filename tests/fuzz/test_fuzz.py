"""Each target a fixed number of times, the same inputs at every run. `./farm fuzz` goes on from there."""

from __future__ import annotations

from random import Random

import pytest

from .fuzzer import bent
from .machines import machines
from .target import Target, chunks, script
from .targets import targets
from .vectors import recorded

pytestmark = pytest.mark.slow

RUNS = 400
SLOW_RUNS = 150
"""Of state machines."""

SLOW = frozenset(target.name for target in machines())


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_whatever_comes_is_read_or_refused(target: Target) -> None:
    seeds = list(target.seeds())
    rng = Random(target.name)
    for seed in seeds[:50]:
        target.try_one(seed)
    for _ in range(SLOW_RUNS if target.name in SLOW else RUNS):
        target.try_one(bent(rng, seeds))


FOUND = {
    "udx stream, unproven": [
        bytes.fromhex(
            "1017ff01030000000000000000000000000000000000000000000000000000000000000000000000"
            "00002e000000000000fc000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000000000d2070000000040000000070000000040000000000000ff0103627965"
        ),  # probes of a window that is shut, to an address that has acknowledged nothing
    ],
}
"""Inputs that broke a target, found by guided runs."""


@pytest.mark.parametrize("target", [t for t in targets() if t.name in FOUND], ids=lambda target: target.name)
def test_what_was_found_is_fixed(target: Target) -> None:
    for data in FOUND[target.name]:
        target.try_one(data)


def test_there_are_seeds() -> None:
    assert len(recorded()) > 500
    for target in machines():
        assert any(len(list(chunks(seed))) > 1 for seed in target.seeds()), target.name


def test_scripts_are_read_as_they_were_written() -> None:
    pieces = [(3, b"abc"), (0, b""), (15, bytes(4000))]
    assert list(chunks(script(*pieces))) == pieces


def test_a_target_that_raises_anything_else_fails() -> None:
    def broken(data: bytes) -> None:
        raise IndexError

    with pytest.raises(IndexError):
        Target(name="broken", run=broken).try_one(b"")
