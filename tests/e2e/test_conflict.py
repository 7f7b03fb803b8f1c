"""Two machines that write with one key: it is reported at each start, and what is here stays served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.dht.node import DhtNode
from hypercore.testing.cores import Writer, make_writer

from ..conftest import NewFarm, NewReader
from ..support.dialling import connect_when_known
from ..support.json_process import ProcessFailed
from ..support.published import read_core
from ..support.seed_process import SeedProcess

pytestmark = pytest.mark.interop

BLOCKS = [b"block %d " % number * 5_000 for number in range(40)]


@asynccontextmanager
async def connected(writer: Writer, farm: SeedProcess, bootstrap: list[str]) -> AsyncIterator[None]:
    """The writer's machine, connected to the farm."""
    us = bytes.fromhex(farm.wait_ready()["public_key"])
    async with DhtNode(bootstrap=bootstrap, host="127.0.0.1") as node:
        cores = Corestore(writer.store)
        cores.get(writer.core.key)
        cores.replicate(await connect_when_known(node, us))
        try:
            yield
        finally:
            await cores.close()


def play(writer: Writer, farm: SeedProcess, bootstrap: list[str], until: Callable[[], object]) -> None:
    async def scene() -> None:
        async with asyncio.timeout(60), connected(writer, farm, bootstrap):
            await asyncio.to_thread(until)

    asyncio.run(scene())


def wait_conflict(farm: SeedProcess, key: str) -> None:
    farm.wait_for(
        lambda event: (
            event.get("event") == "error" and event.get("code") == "CONFLICT" and event["key"] == key
        ),
        timeout=30,
        what="the conflict",
    )


def test_a_conflict_is_remembered_and_what_is_here_is_served(
    bootstrap: list[str], new_farm: NewFarm, new_reader: NewReader
) -> None:
    ours, theirs, later = (make_writer(BLOCKS[:30]) for _ in range(3))
    ours.append(*BLOCKS[30:])
    theirs.append(*[b"another machine %d" % number for number in range(20)])
    key = ours.core.key.hex()
    farm = new_farm(key)
    play(ours, farm, bootstrap, lambda: farm.wait_synced(key, 40))
    play(theirs, farm, bootstrap, lambda: wait_conflict(farm, key))
    made = {"key": key, "core": {"length": 40, "fork": 0}, "blobs": None}
    digests = [sha256(block).hexdigest() for block in BLOCKS]
    read_core(new_reader(), made, digests)
    farm.check_contract()
    farm.interrupt()

    # After a restart it is known before anybody has come, and what is here is served on
    again = new_farm(key)
    wait_conflict(again, key)
    read_core(new_reader(), made, digests)
    later.append(*BLOCKS[30:], b"an honest append of the first machine")

    def nothing_comes() -> None:
        with pytest.raises(ProcessFailed):
            again.wait_synced(key, 41, timeout=3)

    play(later, again, bootstrap, nothing_comes)
    assert max(event["length"] for event in again.of("core", key)) == 40
    again.check_contract()
