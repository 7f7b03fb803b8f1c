"""The stages of a seed are those of the table in `docs/states.md`, in a running engine, too."""

from __future__ import annotations

from typing import Any

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.errors import StoreUnreadable
from workers.engine.model.events import Problem
from workers.engine.seeds.cold import Cold
from workers.engine.seeds.seed import Seed
from workers.engine.seeds.stage import TRANSITIONS, Stage, StageMachine, Step, after
from workers.engine.seeds.table import SeedSlot, SeedTable
from workers.engine.settings.key_list import SeedSpec

from ..fakes import WriterOfDrive
from ..farms import ColdFarm, put_away, scenario

pytestmark = pytest.mark.usefixtures("quick_stages")
Edge = tuple[Stage | None, Stage | None]
EDGES = {(stage, target) for stage, steps in TRANSITIONS.items() for target in steps.values()}


def test_every_stage_is_reached_and_can_be_left() -> None:
    reached, new = set[Stage | None](), {None}
    while new:
        reached |= new
        new = {target for stage in new for target in TRANSITIONS[stage].values()} - reached
    assert reached == set(TRANSITIONS) == {None, *Stage}
    assert all(Step.REMOVE in TRANSITIONS[stage] for stage in Stage)
    assert {step for steps in TRANSITIONS.values() for step in steps} == set(Step)


@pytest.mark.parametrize("stage", [None, *Stage])
def test_a_step_that_is_not_in_the_table_is_refused(stage: Stage | None) -> None:
    for step in Step:
        if step in TRANSITIONS[stage]:
            assert after(stage, step) is TRANSITIONS[stage][step]
        else:
            with pytest.raises(ValueError, match=step.value):
                after(stage, step)


def test_a_cold_seed_is_neither_advanced_nor_woken_twice() -> None:
    machine = StageMachine(woken=True)
    machine.step(idle=True, peers=0, now=0.0)
    assert machine.step(idle=True, peers=0, now=60.0) is Stage.COLD
    for idle in (False, True):
        with pytest.raises(ValueError, match="a seed that is cold"):
            machine.step(idle=idle, peers=0, now=1e6)
            machine.step(idle=idle, peers=0, now=2e6)
    machine.wake()
    assert machine.stage is Stage.RESTING
    with pytest.raises(ValueError, match="a seed that is resting"):
        machine.wake()


def _stage_of(slot: SeedSlot | None) -> Stage | None:
    if slot is None:
        return None
    return Stage.COLD if isinstance(slot.state, Cold) else slot.state.stage_machine.stage


def record_edges(patch: pytest.MonkeyPatch) -> set[Edge]:
    """The changes of stage that the engine makes from now on."""
    seen: set[Edge] = set()

    def watch(name: str) -> None:
        real = getattr(SeedTable, name)

        def watched(table: SeedTable, key: bytes, *given: Any) -> Any:
            before = _stage_of(table.get(key))
            result = real(table, key, *given)
            seen.add((before, _stage_of(table.get(key))))
            return result

        patch.setattr(SeedTable, name, watched)

    for name in ("add", "change", "remove"):
        watch(name)
    step = StageMachine.step

    def stepped(machine: StageMachine, **given: Any) -> Stage:
        before = machine.stage
        stage = step(machine, **given)
        seen.add((before, stage))
        return stage

    patch.setattr(StageMachine, "step", stepped)
    return seen


@scenario
async def test_an_engine_goes_every_way_of_the_table_and_no_other() -> None:
    with pytest.MonkeyPatch.context() as patch:
        seen = record_edges(patch)
        drive = WriterOfDrive()
        drive.put("/a", b"x" * 1_000)
        first = ColdFarm()
        await first.engine.start()
        theirs = await put_away(first, drive)
        drive.put("/b", b"y" * 1_000)
        await theirs.flush()
        for key in (drive.key, drive.blobs.key):
            theirs.get(key)
        connection = first.link(theirs)  # wakes it with news
        await first.until(lambda: first.synced(drive.key)[-1].version == drive.db.core.length)
        await first.until(lambda: _stage_of(first.engine._seeds.get(drive.key)) is Stage.RESTING)
        await first.engine.remove(drive.key)
        first.engine.add([SeedSpec(bytes(32)), SeedSpec(drive.key)])
        await first.engine.remove(bytes(32))
        connection.close()
        await first.until_cold(drive.key)
        await first.engine.remove(drive.key)
        first.store.flush()
        assert (None, Stage.COLD) in seen
        # Staying is no way of the table, except where something is restarted.
        assert {edge for edge in seen if edge[0] is not edge[1]} == {
            edge for edge in EDGES if edge[0] is not edge[1]
        }
        await theirs.close()
        await first.engine.stop()


@scenario
async def test_a_key_that_could_not_be_put_away_is_put_away_later() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.engine.engine.REPEAT_REVIEW", 0.05)
        real, refused = Seed.put_away, [0]

        def refuse(seed: Seed) -> Cold:
            if not refused[0] and seed.idle:
                refused[0] += 1
                return real(seed)  # the record that it makes when it begins to rest
            if refused[0] < 3:
                refused[0] += 1
                raise StoreUnreadable("cannot read")
            return real(seed)

        patch.setattr(Seed, "put_away", refuse)
        drive = WriterOfDrive()
        drive.put("/a", b"x" * 1_000)
        async with ColdFarm() as farm:
            theirs = await put_away(farm, drive)
            problems = [event for event in farm.events if isinstance(event, Problem)]
            assert [problem.code for problem in problems] == ["STORAGE_UNREADABLE"]
            assert refused[0] == 3
            reader = Corestore(memory_store())
            copy = reader.get(drive.key)
            copy.download()
            farm.link(reader)
            await copy.synced()
            await reader.close()
            await theirs.close()
