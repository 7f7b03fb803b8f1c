"""Placement: examples first, then what holds for every farm."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seederfarm.placement import plan as module
from seederfarm.placement.model import (
    DriveSpec,
    Plan,
    ReleaseReason,
    ReplicaState,
    WorkerSpec,
    WorkerStatus,
)
from seederfarm.placement.plan import plan
from seederfarm.placement.pool import Pool

from .specs import GB, Farm, complete, drive, released, with_status, workers


def held(*ids: int, complete: bool = True) -> dict[int, list[ReplicaState]]:
    return {1: [ReplicaState(i, complete, 10) for i in ids]}


def assigned(result: Plan) -> list[int]:
    return sorted(move.worker for move in result.assign)


def test_a_new_drive_gets_its_maximum() -> None:
    assert len(plan([drive(2, 3)], workers("a", "b", "c", "d"), {}).assign) == 3


def test_a_drive_between_minimum_and_maximum_gets_more_copies_where_there_is_room() -> None:
    assert plan([drive(1, 3)], workers("a"), held(0)) == Plan([], [], [])
    assert assigned(plan([drive(1, 3)], workers("a", "b"), held(0))) == [1]
    result = plan([drive(1, 3)], workers("a", "a", "b", "c"), held(0))
    assert (assigned(result), result.release, result.unplaced) == ([2, 3], [], [])


def test_minima_go_before_copies_beyond_them() -> None:
    drives = [DriveSpec(1, 60 * GB, 1, 2, priority=0), DriveSpec(2, 60 * GB, priority=5)]
    specs = workers("a", "b")
    result = plan(drives, [specs[0]._replace(free_bytes=0), specs[1]], held(0))
    assert [(move.drive, move.worker) for move in result.assign] == [(2, 1)]
    assert result.unplaced == []


def test_a_worker_lost_lately_keeps_its_place_beyond_the_minimum() -> None:
    lost = with_status(workers("a", "b", "c"), 0, WorkerStatus.LOST)
    expected = [lost[0]._replace(expected=True), *lost[1:]]
    assert plan([drive(1, 2)], expected, held(0, 1)) == Plan([], [], [])
    assert assigned(plan([drive(1, 2)], lost, held(0, 1))) == [2]
    assert assigned(plan([drive(2, 2)], expected, held(0, 1))) == [2]  # below the minimum nothing waits


def test_a_copy_on_a_worker_that_takes_none_is_no_reason_to_look_no_further() -> None:
    specs = with_status(workers("a", "b"), 0, WorkerStatus.SILENT)
    assert assigned(plan([drive(1, 2)], specs, held(0))) == [1]


def test_a_plan_gives_up_on_copies_beyond_the_minimum_where_no_worker_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_FUTILE", 3)
    tried = 0

    def choose(*_: object) -> None:
        nonlocal tried
        tried += 1

    monkeypatch.setattr(Pool, "choose_slowly", choose)
    drives = [DriveSpec(i, 2 * GB, 1, 2) for i in range(10)]
    replicas = {i: [ReplicaState(0, complete=True)] for i in range(10)}
    specs = [spec._replace(free_bytes=0) for spec in workers("a")] + [WorkerSpec(1, free_bytes=GB)]
    monkeypatch.setattr(Pool, "roomiest", lambda _: 9 * GB)  # some have room, and have the drive already
    assert plan(drives, specs, replicas) == Plan([], [], [])
    assert tried == 3


def test_surplus_goes_down_to_the_maximum_and_no_further() -> None:
    assert len(plan([drive(1, 3)], workers("a", "b", "c", "d", "e"), held(0, 1, 2, 3, 4)).release) == 2


def test_copies_are_spread_over_zones_before_a_zone_has_two() -> None:
    specs = workers("a", "a", "a", "b", "c")
    assert {specs[w].zone for w in assigned(plan([drive(3)], specs, {}))} == {"a", "b", "c"}
    assert len(plan([drive(4)], specs, {}).assign) == 4


def test_the_zone_of_what_is_there_counts() -> None:
    assert assigned(plan([drive(2)], workers("a", "a", "a", "b"), held(0))) == [3]


def test_workers_fill_evenly_in_proportion_to_their_capacity() -> None:
    specs = [
        WorkerSpec(0, zone="a", free_bytes=100 * GB, capacity_bytes=100 * GB),
        WorkerSpec(1, zone="b", free_bytes=300 * GB, capacity_bytes=300 * GB),
    ]
    result = plan([DriveSpec(i, GB) for i in range(100)], specs, {})
    assert sum(move.worker == 1 for move in result.assign) in range(73, 78)


def test_a_heavier_worker_gets_more() -> None:
    specs = [w._replace(weight=1.0 + 2 * w.id) for w in workers("a", "b")]
    result = plan([DriveSpec(i, GB) for i in range(40)], specs, {})
    assert sum(move.worker == 1 for move in result.assign) in range(28, 33)


def test_a_worker_of_no_weight_gets_only_what_is_pinned_to_it() -> None:
    specs = [w._replace(weight=float(w.id)) for w in workers("a", "b")]
    result = plan([drive(2)], specs, {})
    assert assigned(result) == [1]
    assert "1 worker of weight 0" in result.unplaced[0].why
    assert assigned(plan([drive(1, pinned=frozenset({0}))], specs, {})) == [0]


def test_the_zone_of_a_copy_on_a_silent_worker_counts() -> None:
    specs = with_status(workers("a", "a", "a", "b"), 0, WorkerStatus.SILENT)
    assert assigned(plan([drive(2)], specs, held(0))) == [3]


def test_only_workers_with_the_tags_are_chosen() -> None:
    specs = [w._replace(tags=frozenset({"ssd"} if w.id == 2 else ())) for w in workers("a", "b", "c")]
    result = plan([drive(2, tags=frozenset({"ssd"}))], specs, {})
    assert assigned(result) == [2]
    assert "2 workers without the tag ssd" in result.unplaced[0].why


def test_pinned_workers_get_it_whatever_the_numbers_say() -> None:
    result = plan([drive(1, pinned=frozenset({1, 2}))], workers("a", "b", "c"), held(0))
    assert assigned(result) == [1, 2]
    assert released(result) == []


def test_a_pinned_copy_is_not_surplus() -> None:
    result = plan([drive(1, pinned=frozenset({1, 2}))], workers("a", "b", "c"), held(0, 1, 2))
    assert released(result) == [0]


def test_a_drive_that_fits_nowhere_says_why() -> None:
    result = plan([DriveSpec(1, 500 * GB, 2, 2)], workers("a", "b"), {})
    assert result.assign == []
    assert result.unplaced[0].missing == 2
    assert result.unplaced[0].why == (
        "needs 2 more copies with 500 GB free each, "
        "and finds 2 workers short of room (the roomiest has 100 GB)"
    )


def test_without_workers_it_says_so() -> None:
    assert "no worker yet" in plan([drive()], [], {}).unplaced[0].why


def test_what_matters_most_is_placed_first_where_there_is_not_room_for_all() -> None:
    drives = [DriveSpec(1, 60 * GB, priority=5), DriveSpec(2, 60 * GB, priority=0)]
    result = plan(drives, workers("a"), {})
    assert [move.drive for move in result.assign] == [2]
    assert [drive.drive for drive in result.unplaced] == [1]


def test_a_silent_worker_moves_nothing_and_is_given_nothing() -> None:
    specs = with_status(workers("a", "b", "c"), 0, WorkerStatus.SILENT)
    assert plan([drive(2)], specs, held(0, 1)) == Plan([], [], [])
    assert 0 not in assigned(plan([drive(2)], specs, {}))


def test_a_lost_worker_is_replaced_and_stays_assigned() -> None:
    specs = with_status(workers("a", "b", "c"), 0, WorkerStatus.LOST)
    result = plan([drive(2)], specs, held(0, 1))
    assert assigned(result) == [2]
    assert released(result) == []


def test_when_it_returns_the_surplus_goes_only_when_the_others_are_complete() -> None:
    specs = workers("a", "b", "c")
    states = {1: [ReplicaState(0, True), ReplicaState(1, True), ReplicaState(2, False)]}
    result = plan([drive(2)], specs, states)
    assert released(result) == [2]
    states = {1: [ReplicaState(0, True), ReplicaState(1, False), ReplicaState(2, False)]}
    assert released(plan([drive(2)], specs, states)) == []
    assert len(released(plan([drive(2)], specs, held(0, 1, 2)))) == 1


def test_a_draining_worker_is_released_when_enough_others_have_it() -> None:
    specs = with_status(workers("a", "b", "c"), 0, WorkerStatus.DRAINING)
    first = plan([drive(2)], specs, held(0, 1))
    assert (assigned(first), released(first)) == ([2], [])
    during = {1: [ReplicaState(0, True), ReplicaState(1, True), ReplicaState(2, False, 5)]}
    assert released(plan([drive(2)], specs, during)) == []
    after = plan([drive(2)], specs, held(0, 1, 2))
    assert [(move.worker, move.reason) for move in after.release] == [(0, ReleaseReason.DRAINED)]


def test_the_last_complete_copy_is_never_released() -> None:
    specs = with_status(workers("a", "b"), 0, WorkerStatus.DRAINING)
    states = {1: [ReplicaState(0, True), ReplicaState(1, False, 9)]}
    assert plan([drive(1)], specs, states).release == []


def test_a_complete_copy_on_a_silent_worker_is_not_relied_on() -> None:
    specs = with_status(workers("a", "b", "c"), 1, WorkerStatus.SILENT)
    assert plan([drive(1)], with_status(specs, 0, WorkerStatus.DRAINING), held(0, 1)).release == []


def test_a_removed_drive_is_released_everywhere() -> None:
    result = plan([drive(2, removing=True)], workers("a", "b"), held(0, 1))
    assert released(result) == [0, 1]
    assert {move.reason for move in result.release} == {ReleaseReason.REMOVED}


@pytest.mark.parametrize("known", [True, False])
def test_a_retired_or_forgotten_worker_loses_what_it_had(known: bool) -> None:
    specs = with_status(workers("a", "b", "c"), 0, WorkerStatus.RETIRED)
    result = plan([drive(2)], specs if known else specs[1:], held(0, 1))
    assert (assigned(result), released(result)) == ([2], [0])


# --- what always holds


COUNTS = (WorkerStatus.ACTIVE, WorkerStatus.SILENT)


tags = st.frozensets(st.sampled_from("xy"), max_size=2)


@st.composite
def farms(draw: st.DrawFn) -> Farm:
    count = draw(st.integers(0, 8))
    specs = [
        WorkerSpec(
            i,
            status=draw(st.sampled_from(WorkerStatus)),
            zone=draw(st.sampled_from("abc")),
            tags=draw(tags),
            free_bytes=draw(st.integers(0, 50)),
            capacity_bytes=draw(st.integers(50, 60)),
            expected=draw(st.booleans()),
            weight=draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])),
        )
        for i in range(count)
    ]
    drives, replicas = [], {}
    for i in range(draw(st.integers(0, 6))):
        low = draw(st.integers(1, 3))
        drives.append(
            DriveSpec(
                i,
                draw(st.integers(0, 30)),
                low,
                low + draw(st.integers(0, 2)),
                draw(st.integers(0, 9)),
                draw(st.frozensets(st.integers(0, 9), max_size=2)),
                draw(tags),
                draw(st.booleans()) and draw(st.booleans()),
            )
        )
        holders = draw(st.lists(st.integers(0, 9), unique=True, max_size=5))
        replicas[i] = [ReplicaState(w, draw(st.booleans()), draw(st.integers(0, 9))) for w in holders]
    return Farm(specs, drives, replicas)


def apply(farm: Farm, result: Plan) -> dict[int, list[ReplicaState]]:
    """What is desired after the plan was carried out; new replicas are empty."""
    after = {drive.id: {r.worker: r for r in farm.replicas.get(drive.id, [])} for drive in farm.drives}
    for move in result.release:
        del after[move.drive][move.worker]
    for new in result.assign:
        assert new.worker not in after[new.drive]  # never two on one worker
        after[new.drive][new.worker] = ReplicaState(new.worker, False)
    return {drive: list(states.values()) for drive, states in after.items()}


def active_complete(farm: Farm, states: list[ReplicaState]) -> int:
    active = {spec.id for spec in farm.specs if spec.status is WorkerStatus.ACTIVE}
    return sum(state.complete and state.worker in active for state in states)


@given(farms())
def test_no_release_takes_the_last_complete_copy_or_goes_below_the_minimum(farm: Farm) -> None:
    result = plan(farm.drives, farm.specs, farm.replicas)
    after = apply(farm, result)
    for one in farm.drives:
        if one.removing:
            assert after[one.id] == []
            continue
        before, now = complete(farm, farm.replicas[one.id]), complete(farm, after[one.id])
        assert now >= min(before, one.replicas_min)
        if before:
            assert now


@given(farms())
def test_new_replicas_go_where_they_may_and_fit(farm: Farm) -> None:
    result = plan(farm.drives, farm.specs, farm.replicas)
    by_id = {spec.id: spec for spec in farm.specs}
    drives = {one.id: one for one in farm.drives}
    used = dict.fromkeys(by_id, 0)
    for move in result.assign:
        worker, one = by_id[move.worker], drives[move.drive]
        assert worker.status is WorkerStatus.ACTIVE
        assert move.worker in one.pinned or one.tags <= worker.tags
        used[move.worker] += move.bytes
    assert all(used[spec.id] <= spec.free_bytes for spec in farm.specs)


@given(farms())
def test_a_plan_is_deterministic_and_does_not_depend_on_the_order_of_its_input(farm: Farm) -> None:
    backwards = {drive: list(reversed(states)) for drive, states in farm.replicas.items()}
    result = plan(farm.drives, farm.specs, farm.replicas)
    again = plan(list(reversed(farm.drives)), list(reversed(farm.specs)), backwards)
    assert (set(again.assign), set(again.unplaced)) == (set(result.assign), set(result.unplaced))
    assert set(again.release) == set(result.release)


@given(farms())
def test_a_farm_that_has_settled_stays_as_it_is(farm: Farm) -> None:
    """Everything new becomes complete; after that a plan or two change nothing any more."""
    for _ in range(3):
        result = plan(farm.drives, farm.specs, farm.replicas)
        room = {spec.id: spec.free_bytes for spec in farm.specs}
        for new in result.assign:
            room[new.worker] -= new.bytes
        after = apply(farm, result)
        finished = {d: [r._replace(complete=True) for r in states] for d, states in after.items()}
        farm = Farm([spec._replace(free_bytes=room[spec.id]) for spec in farm.specs], farm.drives, finished)
    result = plan(farm.drives, farm.specs, farm.replicas)
    assert (result.assign, result.release) == ([], [])


@given(farms(), st.integers(0, 7))
def test_a_worker_that_comes_and_goes_within_its_grace_moves_nothing(farm: Farm, flapping: int) -> None:
    farm = stable(farm)
    for status in (WorkerStatus.SILENT, WorkerStatus.ACTIVE):
        specs = [
            spec._replace(status=status)
            if spec.id == flapping and spec.status is WorkerStatus.ACTIVE
            else spec
            for spec in farm.specs
        ]
        result = plan(farm.drives, specs, farm.replicas)
        assert (result.assign, result.release) == ([], [])


def stable(farm: Farm) -> Farm:
    """Plans carried out and all copies complete, until there is nothing more to do."""
    for _ in range(4):
        farm = carried_out(farm, plan(farm.drives, farm.specs, farm.replicas))
        for number, states in farm.replicas.items():
            farm.replicas[number] = [state._replace(complete=True) for state in states]
    return farm


def carried_out(farm: Farm, result: Plan) -> Farm:
    room = {spec.id: spec.free_bytes for spec in farm.specs}
    for move in result.assign:
        room[move.worker] -= move.bytes
    specs = [spec._replace(free_bytes=room[spec.id]) for spec in farm.specs]
    return Farm(specs, farm.drives, apply(farm, result))


@pytest.mark.slow
@settings(max_examples=100)
@given(farms(), st.randoms(use_true_random=False))
def test_whatever_happens_to_workers_and_wishes_what_is_needed_stays(farm: Farm, rng: Random) -> None:
    """The life of a farm: drains, losses, returns, retirements, pins and numbers that change, copies that
    make progress or break; a plan after each. What holds for one plan holds for all that follow each other.
    """
    for _ in range(8):
        happen(farm, rng)
        result = plan(farm.drives, farm.specs, farm.replicas)
        check_causes(farm, result)
        after = carried_out(farm, result)
        for one in farm.drives:
            if not one.removing:
                before, now = complete(farm, farm.replicas[one.id]), complete(farm, after.replicas[one.id])
                assert now >= min(before, one.replicas_min)
                assert now or not before
        farm = after
        # No churn without a cause: carrying it out gives rise to no more than what a pin put off.
        farm = carried_out(farm, plan(farm.drives, farm.specs, farm.replicas))
        again = plan(farm.drives, farm.specs, farm.replicas)
        assert (again.assign, again.release) == ([], [])
    check_stable(stable(farm))


def check_causes(farm: Farm, result: Plan) -> None:
    """No churn without a cause: each move has the one that it names."""
    by_id = {spec.id: spec for spec in farm.specs}
    wishes = {one.id: one for one in farm.drives}
    counted = {
        drive: sum(by_id[s.worker].status in COUNTS for s in states if s.worker in by_id)
        for drive, states in farm.replicas.items()
    }
    for made in result.assign:
        one = wishes[made.drive]
        assert counted[one.id] < one.replicas_max or made.worker in one.pinned
    surplus: Counter[int] = Counter()
    for gone in result.release:
        one, worker = wishes[gone.drive], by_id.get(gone.worker)
        match gone.reason:
            case ReleaseReason.REMOVED:
                assert one.removing
            case ReleaseReason.RETIRED:
                assert worker is None or worker.status is WorkerStatus.RETIRED
            case ReleaseReason.DRAINED:
                assert worker is not None and worker.status is WorkerStatus.DRAINING
            case ReleaseReason.SURPLUS:
                surplus[one.id] += 1
                assert gone.worker not in one.pinned
    assert all(counted[drive] - gone >= wishes[drive].replicas_max for drive, gone in surplus.items())


def happen(farm: Farm, rng: Random) -> None:
    if farm.specs:
        at = rng.randrange(len(farm.specs))
        farm.specs[at] = farm.specs[at]._replace(status=rng.choice(list(WorkerStatus)))
    if farm.drives:
        at = rng.randrange(len(farm.drives))
        low = rng.randint(1, 3)
        pinned = frozenset(rng.sample(range(8), rng.choice([0, 0, 1, 2])))
        wishes = {"replicas_min": low, "replicas_max": low + rng.randint(0, 2), "pinned": pinned}
        farm.drives[at] = farm.drives[at]._replace(**wishes)
    for number, states in farm.replicas.items():
        farm.replicas[number] = [
            state._replace(complete=rng.random() < (0.95 if state.complete else 0.4)) for state in states
        ]


def check_stable(farm: Farm) -> None:
    """Everything complete and nothing to do: the numbers are what was asked for, as far as there is room."""
    by_id = {spec.id: spec for spec in farm.specs}
    unplaced = {item.drive for item in plan(farm.drives, farm.specs, farm.replicas).unplaced}
    for one in farm.drives:
        counted = [state.worker for state in farm.replicas[one.id] if by_id[state.worker].status in COUNTS]
        active = [worker for worker in counted if by_id[worker].status is WorkerStatus.ACTIVE]
        if one.removing:
            assert farm.replicas[one.id] == []
            continue
        if one.id not in unplaced:
            assert len(counted) >= one.replicas_min
            wanted = {pin for pin in one.pinned if pin in by_id and by_id[pin].status is WorkerStatus.ACTIVE}
            assert wanted <= set(counted)
        if len(active) > max(one.replicas_max, one.replicas_min):  # more than that: each is needed, or pinned
            assert set(active) - one.pinned == set() or len(active) - 1 < one.replicas_min
        if len(active) >= one.replicas_min:  # a drain comes to its end
            assert not any(by_id[s.worker].status is WorkerStatus.DRAINING for s in farm.replicas[one.id])


@settings(max_examples=50)
@given(farms())
def test_a_shortfall_is_explained_and_nothing_else_is(farm: Farm) -> None:
    result = plan(farm.drives, farm.specs, farm.replicas)
    after = apply(farm, result)
    counts = {s.id for s in farm.specs if s.status in (WorkerStatus.ACTIVE, WorkerStatus.SILENT)}
    short = {
        one.id
        for one in farm.drives
        if not one.removing and sum(r.worker in counts for r in after[one.id]) < one.replicas_min
    }
    pinned_short = {entry.drive for entry in result.unplaced if entry.why.startswith("pinned")}
    assert short <= {entry.drive for entry in result.unplaced}
    assert {entry.drive for entry in result.unplaced} <= short | pinned_short


def test_the_quick_search_finds_room_in_every_corner() -> None:
    """Many small workers that are emptier in proportion hide a big one with the only room."""
    small = [WorkerSpec(i, zone=f"z{i % 30}", free_bytes=5, capacity_bytes=5) for i in range(300)]
    big = WorkerSpec(999, zone="z1", free_bytes=50, capacity_bytes=5000)
    assert assigned(plan([DriveSpec(1, 40)], [*small, big], {})) == [999]
