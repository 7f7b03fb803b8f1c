"""What one core does to a connection must not cost the other cores of that peer anything."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from hypercore.crypto import KeyPair
from hypercore.errors import HypercoreError
from hypercore.mux import Channel
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.wire.control import Range, Sync
from hypercore.wire.registry import Message
from hypercore.wire.request import Request

from ..support.attacker import meet
from ..support.content import File
from ..support.node import Publisher, Reader
from ..support.seed_process import SeedProcess
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

BLOCKS = 64
"""Of the core that makes trouble."""
DRIVE_BYTES = 20_000_000
"""Of the drive beside it."""


def poisoned(publisher: Publisher, start: int, end: int) -> str:
    """A core of 64 blocks, cleared from an odd block on: the official publisher has no proof of what is left
    of it, and ends the connection when it is asked."""
    publisher.make("poisoned", "core")
    made = publisher.append("poisoned", [(f"block {i}", 1_000) for i in range(BLOCKS)])
    publisher.ask("clear", name="poisoned", start=start, end=end)
    publisher.ask("join", name="poisoned")
    return str(made["key"])


def drive(publisher: Publisher) -> dict[str, object]:
    publisher.make("drive", "drive")
    publisher.put_all(
        "drive", [File(path=f"/{i}.bin", size=4_000_000) for i in range(DRIVE_BYTES // 4_000_000)]
    )
    made = publisher.ask("describe", name="drive")
    publisher.ask("join", name="drive")
    return made


def blocks_here(farm: SeedProcess, key: str) -> int:
    return max((event["have_blocks"] for event in farm.of("progress", key)), default=0)


@pytest.mark.parametrize(
    ("start", "end", "unprovable"),
    [(21, 30, 1), (19, 31, 3), (7, 9, 7), (20, 31, 0)],
    ids=["one level", "two levels", "from the beginning", "even: none"],
)
def test_blocks_that_the_publisher_cannot_prove_cost_only_themselves(
    start: int,
    end: int,
    unprovable: int,
    publisher: Publisher,
    bootstrap: list[str],
    tmp_path: Path,
    processes: ExitStack,
) -> None:
    key = poisoned(publisher, start, end)
    made = drive(publisher)
    reader = Reader(tmp_path / "reader", bootstrap)
    processes.callback(reader.dispose)
    began = time.monotonic()
    reader.open("drive", str(made["key"]), "drive")
    reader.complete("drive", made)
    official = time.monotonic() - began

    farm = SeedProcess(tmp_path / "farm", bootstrap, key, str(made["key"]), "-vv")
    processes.callback(farm.dispose)
    farm.wait_ready()
    began = time.monotonic()
    farm.wait_synced(str(made["key"]), timeout=30)
    assert time.monotonic() - began < 2 * official + 1

    there = BLOCKS - (end - start) - unprovable
    eventually(lambda: blocks_here(farm, key) == there, timeout=20, what=f"{there} blocks of the core")
    if unprovable:
        farm.wait_for(
            lambda event: (
                event.get("event") == "error" and event["code"] == "PEER_BACKOFF" and event["key"] == key
            ),
            timeout=20,
            what="the back-off",
        )
    # And the publisher is followed further on, with both
    publisher.put_all("drive", [File(path="/news.bin", size=10_000)])
    version = publisher.ask("describe", name="drive")["core"]["length"]
    farm.wait_synced(str(made["key"]), version, timeout=30)
    publisher.append("poisoned", [("news", 500)])
    eventually(lambda: blocks_here(farm, key) == there + 1, timeout=20, what="the new block")

    # What nobody can prove is what nobody has: the copy is as full as it can be
    farm.wait_synced(key, BLOCKS + 1, timeout=40)

    ends = [event for event in farm.of("peer", key) if event["state"] == "close"]
    assert len(ends) == min(unprovable, 1)
    course = farm.stderr
    assert "channel open" in course
    assert ("connection with" in course) is bool(unprovable)


def test_a_core_of_which_nothing_can_be_asked_does_not_starve_another(
    bootstrap: list[str], tmp_path: Path, processes: ExitStack
) -> None:
    """A peer that ends the connection whenever it is asked for anything of one core, and serves another."""
    deadly, served = (
        make_writer(sample_blocks(50), seed=1).core,
        make_writer([bytes([number]) * 50_000 for number in range(200)], seed=2).core,
    )
    farm = SeedProcess(tmp_path / "farm", bootstrap, deadly.key.hex(), served.key.hex())
    processes.callback(farm.dispose)
    us = bytes.fromhex(farm.wait_ready()["public_key"])
    identity = KeyPair.from_seed(os.urandom(32))
    killed: list[float] = []

    async def one_connection() -> None:
        async with meet(bootstrap, us, identity=identity) as peer:

            def answer(channel: Channel, reported: Message) -> None:
                if not isinstance(reported, Request) or peer.closed.is_set():
                    return
                if channel.id == deadly.discovery_key:
                    killed.append(time.monotonic())
                    peer.connection.destroy()
                else:
                    channel.send_frame(served.prove(reported))

            peer.on_message = answer
            for core in (deadly, served):
                length = core.length
                claim = Sync(fork=0, length=length, remote_length=0, can_upgrade=True, has_manifest=True)
                peer.open(core.key).send(claim, Range(start=0, length=length))
            await peer.closed.wait()

    async def serve() -> None:
        while True:
            with suppress(HypercoreError):
                await one_connection()
            await asyncio.sleep(0.3)

    async def run() -> None:
        serving = asyncio.create_task(serve())
        began = time.monotonic()
        await asyncio.to_thread(farm.wait_synced, served.key.hex(), timeout=30)
        assert time.monotonic() - began < 10
        await asyncio.sleep(max(0.0, began + 15 - time.monotonic()))
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(run())
    assert 1 < len(killed) < 6
    (problem,) = [event for event in farm.of("error") if event["code"] == "PEER_BACKOFF"]
    assert problem["key"] == deadly.key.hex()
    assert "its head" in problem["message"]
