"""A farm that is attacked beside an innocent publisher and reader."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from hypercore.dht.address import Address

from ..support.node import Publisher, Reader, Testnet
from ..support.seed_process import SeedProcess

BLOCKS = 600
BLOCK_BYTES = 60_000
FAR = 2**53 - 2
"""About the largest block number that the protocol can say."""

GROWTH_MB = 60
"""What an attack may add to our resident memory: windows and caches of a connection, and what the allocator
keeps. Each of them could add hundreds."""

MAX_STALL_MS = 100
"""How long the engine may work for one peer, or for all, before others have their turn."""

FILES = 20
"""Files and sockets that may be open more than before."""


class Scene(NamedTuple):
    """The engine, and the innocent."""

    bootstrap: list[str]
    farm: SeedProcess
    publisher: Publisher
    reader: Reader
    key: bytes

    @property
    def us(self) -> bytes:
        return bytes.fromhex(self.farm.wait_ready()["public_key"])

    @property
    def at(self) -> Address:
        return Address("127.0.0.1", int(self.farm.wait_ready()["port"]))

    def memory(self) -> float:
        """MB of the engine that are resident."""
        status = Path(f"/proc/{self.farm.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.farm.pid}/fd"))  # noqa: PTH208 - nothing of them but their number

    def longest_stall(self, since: int) -> float:
        """Milliseconds of its own work for which the engine did nothing else, since that position of its
        events until now."""
        now = self.farm.position()
        self.farm.wait_for(
            lambda event: event.get("event") == "stats", timeout=15, since=now, what="stats after the attack"
        )
        return max(event["max_busy_ms"] for event in self.farm.events[since:] if event["event"] == "stats")

    def serves(self) -> None:
        """What is appended now reaches the reader through us."""
        since = self.reader.position()
        length = self.publisher.append("thing", [("news", 1_000)])["core"]["length"]
        self.reader.wait_newest(length, since=since, timeout=30)


@pytest.fixture(scope="module")
def scene(testnet: Testnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    bootstrap, folder = testnet.bootstrap, tmp_path_factory.mktemp("hostile")
    with ExitStack() as stack:
        publisher = Publisher(folder / "publisher", bootstrap)
        stack.callback(publisher.dispose)
        publisher.make("thing", "core")
        made = publisher.append("thing", [(f"block {i}", BLOCK_BYTES) for i in range(BLOCKS)])
        farm = SeedProcess(folder / "farm", bootstrap, made["key"])
        stack.callback(farm.dispose)
        farm.wait_ready()
        # Neither the publisher nor the reader is announced: the two meet us alone
        publisher.ask("join", name="thing", server=False)
        farm.wait_synced(made["key"], BLOCKS)
        reader = Reader(folder / "reader", bootstrap)
        stack.callback(reader.dispose)
        reader.open("thing", made["key"], "core")
        reader.complete("thing", made)
        yield Scene(bootstrap, farm, publisher, reader, bytes.fromhex(made["key"]))


@pytest.fixture
def attack(scene: Scene) -> Iterator[Callable[[Callable[[], Awaitable[None]]], None]]:
    """Runs an attack; the innocent are asked behind it, and what it cost us is looked at."""
    scene.serves()
    memory, files, since = scene.memory(), scene.files(), scene.farm.position()

    def run(act: Callable[[], Awaitable[None]]) -> None:
        async def acting() -> None:
            async with asyncio.timeout(60):
                await act()

        asyncio.run(acting())

    yield run
    scene.serves()
    assert scene.memory() - memory < GROWTH_MB
    assert scene.files() - files < FILES
    assert scene.longest_stall(since) < MAX_STALL_MS
    scene.farm.check_contract()


Attack = Callable[[Callable[[], Awaitable[None]]], None]
