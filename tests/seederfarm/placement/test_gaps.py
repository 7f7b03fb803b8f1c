"""Plans for drives of which no copy has all blocks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from farmwire.gaps import CoreGaps, Holding
from seederfarm.placement.model import (
    ReplicaState,
    WorkerSpec,
    WorkerStatus,
)
from seederfarm.placement.plan import plan

from .specs import drive, released, with_status, workers

# --- copies with gaps


def with_blocks(worker: int, blocks: set[int], *, complete: bool, length: int = 8) -> ReplicaState:
    missing = [number for number in range(length) if number not in blocks]
    runs = [bound for number in missing for bound in (number, number + 1)]
    gaps = (CoreGaps(length=length, runs=_joined(runs)),) if missing else ()
    return ReplicaState(worker, complete, len(blocks), Holding(0, length, length, len(blocks), gaps))


def _joined(runs: list[int]) -> list[int]:
    joined: list[int] = []
    for at in runs:
        if joined and len(joined) % 2 == 0 and joined[-1] == at:
            joined.pop()
        else:
            joined.append(at)
    return joined


def test_a_surplus_with_blocks_that_no_other_has_stays() -> None:
    specs = workers("a", "b", "c")
    states = [
        with_blocks(0, {0, 1, 2, 3}, complete=True),
        with_blocks(1, {4, 5}, complete=True),
        with_blocks(2, {0, 1, 2, 3}, complete=True),
    ]
    assert released(plan([drive(1)], specs, {1: states})) in ([0], [2])
    assert released(plan([drive(1)], specs, {1: states[:2]})) == []


def test_a_drain_waits_for_the_blocks_and_not_for_completeness() -> None:
    specs = with_status(workers("a", "b"), 0, WorkerStatus.DRAINING)
    fuller, same, less = {0, 1, 2}, {0, 1}, {0}
    leaving = with_blocks(0, same, complete=False)
    for blocks, gone in ((fuller, [0]), (same, [0]), (less, [])):
        states = {1: [leaving, with_blocks(1, blocks, complete=False)]}
        assert released(plan([drive(1)], specs, states)) == gone


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.booleans()), min_size=1, max_size=5),
    st.lists(
        st.sampled_from([s for s in WorkerStatus if s is not WorkerStatus.RETIRED]), min_size=5, max_size=5
    ),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_no_release_takes_a_block_that_no_other_copy_has(
    copies: list[tuple[set[int], bool]], standings: list[WorkerStatus], low: int, more: int
) -> None:
    specs = [WorkerSpec(i, zone=str(i), status=what) for i, what in enumerate(standings)]
    states = [with_blocks(i, blocks, complete=done) for i, (blocks, done) in enumerate(copies)]
    gone = set(released(plan([drive(low, low + more)], specs, {1: states})))
    before = set[int]().union(*(blocks for blocks, _ in copies))
    after = set[int]().union(*(blocks for i, (blocks, _) in enumerate(copies) if i not in gone))
    assert after == before
