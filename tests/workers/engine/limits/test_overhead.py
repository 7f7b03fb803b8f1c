"""What blocks take beside their content counts: a writer can sign as many as the protocol can count."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hypercore.aio.cores.corestore import DATABASE_SLACK, Corestore
from hypercore.core import Core, Store, disk_store, memory_store
from hypercore.replication.ratelimit import BLOCK_OVERHEAD
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade
from workers.engine.model.events import Problem
from workers.engine.model.status import State
from workers.engine.settings.settings import LimitSettings

from ....support.endless_core import EndlessCore
from ..fakes import Writer
from .test_limits import Farm, quick  # noqa: F401 - a fixture that is used by itself


def copy_of(endless: EndlessCore, store: Store) -> Core:
    """Ours of an endless core: its head, and no block."""
    core = store.open_core(endless.key)
    assert core is not None
    core.apply(
        endless.answer(Request(id=1, fork=0, upgrade=RequestUpgrade(0, endless.length), manifest=True))
    )
    return core


def stored_bytes(store: Store) -> int:
    async def measure() -> int:
        return Corestore(store).stored_bytes()

    return asyncio.run(measure())


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 1 << 30], ids=["side by side", "far from each other"])
def test_what_empty_blocks_take_on_the_disk_is_counted(step: int, tmp_path: Path) -> None:
    """Far from each other, each block brings a piece of the tree of its own."""
    endless = EndlessCore(1 << 52)
    with disk_store(tmp_path) as store:
        core = copy_of(endless, store)
        for number in range(20_000 if step == 1 else 400):
            block = RequestBlock(number * step, core.missing_nodes(number * step))
            core.apply(endless.answer(Request(id=1, fork=0, block=block)))
        store.flush()
        counted, database = stored_bytes(store), store.database_bytes()
        assert database > 2_000_000
        assert database - DATABASE_SLACK <= counted <= 1.5 * database


def test_empty_blocks_fill_a_quota() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings(max_bytes=100 * BLOCK_OVERHEAD)) as farm:
            writer = Writer()
            writer.append(*[b""] * 500)
            other = farm.seed(writer)
            await farm.until(lambda: farm.state is State.HELD)
            assert 90 <= farm.have <= 100
            farm.engine.set_limits(replace(farm.limits.settings, max_bytes=600 * BLOCK_OVERHEAD))
            await farm.until(lambda: farm.state is State.SYNCED)
            await other.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_key_with_too_many_blocks_is_held_and_goes_on_when_more_are_allowed() -> None:
    async def scenario() -> None:
        async with Farm(LimitSettings()) as farm:
            farm.engine.set_limits(replace(farm.limits.settings, max_blocks=100))
            small, large = Writer(), Writer()
            small.append(*[b"x"] * 100)
            large.append(*[b"x"] * 60)
            others = [farm.seed(small), farm.seed(large)]

            def status(key: bytes):  # type: ignore[no-untyped-def]
                return next(seed for seed in farm.engine.status().seeds if seed.key == key)

            await farm.until(lambda: all(seed.state is State.SYNCED for seed in farm.engine.status().seeds))
            large.append(*[b"y"] * 5_000)
            await farm.until(lambda: status(large.key).state is State.TOO_LARGE)
            await asyncio.sleep(0.3)
            assert status(large.key).have_blocks < 5_000
            assert status(large.key).length == 5_060  # the writer is followed all the same
            assert status(small.key).state is State.SYNCED
            [problem] = [event for event in farm.events if isinstance(event, Problem)]
            assert (problem.key, problem.code) == (large.key, "TOO_MANY_BLOCKS")
            assert problem.message.startswith("it has 5,060 blocks, 100 may be")
            reader = Corestore(memory_store())
            farm.peer(reader)
            async with asyncio.timeout(10):
                async with reader.get(large.key) as session:
                    assert await session.get(3) == b"x"
            farm.engine.set_limits(replace(farm.limits.settings, max_blocks=None))
            await farm.until(lambda: status(large.key).state is State.SYNCED)
            for other in (*others, reader):
                await other.close()

    asyncio.run(scenario())
