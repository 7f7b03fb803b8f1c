"""Drives that mean harm by what is in them, given to an engine beside an innocent drive.

An official publisher and an official reader use the engine meanwhile. After each attack what the publisher
appends must still reach the reader through the engine, whose memory must be about what it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.dht.node import DhtNode
from hypercore.core import Store
from hypercore.drive.blockmap import MapEntry, encode_block_map
from hypercore.mux import Channel
from hypercore.wire.control import Range, Sync, Want
from hypercore.wire.registry import Message
from hypercore.wire.request import Request

from ...support.attacker import meet
from ...support.content import File, listing
from ...support.dialling import connect_when_known
from ...support.endless_core import EndlessCore
from ...support.engine import EngineChild
from ...support.node import Publisher, Reader, Testnet
from ...workers.engine.fakes import WriterOfDrive

pytestmark = pytest.mark.interop

GROWTH_MB = 60
"""What an attack may add to the engine's resident memory."""

STALL = 6.0
"""Seconds between two `engine` lines, which come every two: the loop stood still for the rest."""

NEWS_TIMEOUT = 20
FILES = [File(path=f"/{number}.bin", size=200_000) for number in range(10)]


@dataclass
class Scene:
    """The engine, and the innocent."""

    bootstrap: list[str]
    data: Path
    child: EngineChild
    publisher: Publisher
    reader: Reader
    live: str
    """A core that the reader follows."""
    drive: dict[str, Any]
    """A drive that is complete, and whose publisher is gone: the engine has the last copy."""
    processes: ExitStack

    @property
    def us(self) -> bytes:
        return bytes.fromhex(self.child.wait_event("ready")["public_key"])

    def memory(self, name: str = "VmRSS") -> float:
        """MB of the engine that are resident; with VmHWM, at most since `reset_peak`."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1024

    def reset_peak(self) -> None:
        """Linux: proc(5), clear_refs."""
        Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def disk(self) -> int:
        """Bytes that the data directory takes."""
        return sum(path.stat().st_blocks * 512 for path in self.data.rglob("*") if path.is_file())

    def restart(self, *hostile: str, drop: tuple[str, ...]) -> None:
        """Stop the engine and start it again; these are the first it hears of keys."""
        self.child.send("stop")
        assert self.child.wait(20) == 0, self.child.describe()
        self.child = EngineChild(self.data, self.bootstrap)
        self.processes.callback(self.child.dispose)
        self.seed(*hostile, drop=drop)

    def serves(self, timeout: float = NEWS_TIMEOUT) -> None:
        """What is appended now reaches the reader through the engine."""
        since = self.reader.position()
        length = self.publisher.append("live", [("news", 1_000)])["core"]["length"]
        self.reader.wait_newest(length, since=since, timeout=timeout)

    def seed(self, *hostile: str, drop: tuple[str, ...] = ()) -> None:
        self.child.sync(self.live, self.drive["key"], *hostile, drop=drop)

    def longest_stall(self, since: int) -> float:
        """Seconds between two `engine` lines, at most."""
        at = [event["at"] for event in self.child.events[since:] if event.get("event") == "engine"]
        return max((after - before for before, after in pairwise(at)), default=0.0)

    @asynccontextmanager
    async def attacker(self, store: Store, *keys: bytes) -> AsyncIterator[None]:
        """A peer that serves these cores to the engine."""
        async with DhtNode(bootstrap=self.bootstrap, host="127.0.0.1") as node:
            cores = Corestore(store)
            for key in keys:
                cores.get(key)
            cores.replicate(await connect_when_known(node, self.us))
            try:
                yield
            finally:
                await cores.close()


@pytest.fixture(scope="module")
def scene(testnet: Testnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    bootstrap, folder = testnet.bootstrap, tmp_path_factory.mktemp("hostile-content")
    with ExitStack() as stack:
        publisher = Publisher(folder / "publisher", bootstrap)
        stack.callback(publisher.dispose)
        publisher.make("live", "core")
        live = publisher.append("live", [(f"block {number}", 10_000) for number in range(20)])
        gone = Publisher(folder / "gone", bootstrap)
        stack.callback(gone.dispose)
        gone.make("drive", "drive")
        gone.put_all("drive", FILES)
        drive = gone.ask("describe", name="drive")
        child = EngineChild(folder / "engine", bootstrap)
        stack.callback(child.dispose)
        child.wait_event("ready")
        child.sync(live["key"], drive["key"])
        publisher.ask("join", name="live", server=False)
        gone.ask("join", name="drive", server=False)
        child.wait_status(live["key"], "complete")
        child.wait_status(drive["key"], "complete")
        gone.stop()
        reader = Reader(folder / "reader", bootstrap)
        stack.callback(reader.dispose)
        reader.open("live", live["key"], "core")
        reader.complete("live", live)
        yield Scene(bootstrap, folder / "engine", child, publisher, reader, live["key"], drive, stack)


Attack = Callable[[Callable[[], Any]], None]


@pytest.fixture
def attack(scene: Scene) -> Iterator[Attack]:
    """Runs an attack; the innocent are asked behind it, and what it cost the engine is looked at."""
    scene.serves()
    memory, since, child = scene.memory(), len(scene.child.events), scene.child
    scene.reset_peak()

    def run(act: Callable[[], Any]) -> None:
        async def acting() -> None:
            async with asyncio.timeout(90):
                await act()

        asyncio.run(acting())

    yield run
    scene.child.send("configure", quota_bytes=None, max_blocks=1 << 25)
    scene.seed()
    scene.serves()
    if scene.child is child:
        assert scene.memory("VmHWM") - memory < GROWTH_MB
        assert scene.longest_stall(since) < STALL


def test_a_header_that_names_the_blobs_of_an_innocent_drive_deletes_nothing(
    scene: Scene, attack: Attack, tmp_path: Path
) -> None:
    """The hostile drive is seeded and complete. Its removal reaches the engine with the first keys that it
    hears of after a restart, when nothing has been opened yet. The innocent drive is whole afterwards."""
    hostile = WriterOfDrive(content_feed=bytes.fromhex(scene.drive["blobs"]["key"]))
    hostile.store.flush()
    key = hostile.key.hex()

    async def act() -> None:
        async with scene.attacker(hostile.store, hostile.key):
            scene.seed(key)
            await asyncio.to_thread(scene.child.wait_status, key, "complete")
            await asyncio.to_thread(scene.serves)

    attack(act)
    scene.restart(drop=(key,))  # in this thread: the engine ends with the thread that started it
    scene.child.wait_event("dropped", key=key)
    scene.serves(60)  # they find the engine again
    reader = Reader(tmp_path / "reader", scene.bootstrap)
    try:
        reader.open("drive", scene.drive["key"], "drive")
        reader.complete("drive", scene.drive)
        assert reader.ask("files", name="drive")["files"] == listing(FILES)
    finally:
        reader.dispose()
    scene.child.send("prove", id="a2", key=scene.drive["key"], core=scene.drive["blobs"]["key"], blocks=[0])
    assert scene.child.wait_event("proof", id="a2")["proofs"][0]["data"]


def mapped() -> WriterOfDrive:
    """Its title would be 1.5 GB of content, by a map of 9 KB."""
    drive = WriterOfDrive()
    drive.blobs.append([bytes(1 << 20)], drive.db.key_pair)
    for path in ("/package.json", "/index.json"):
        drive.put(path, *encode_block_map([MapEntry(0, 1 << 20)] * 1_500), block_map=True)
    return drive


def test_a_drive_that_is_expensive_to_name_costs_next_to_nothing(scene: Scene, attack: Attack) -> None:
    hostile = mapped()
    hostile.store.flush()
    key = hostile.key.hex()

    async def act() -> None:
        async with scene.attacker(hostile.store, hostile.key, hostile.blobs.key):
            scene.seed(key)
            await asyncio.to_thread(scene.child.wait_status, key, "complete", timeout=60)
            for _ in range(3):
                await asyncio.sleep(1)
                await asyncio.to_thread(scene.serves)
        scene.seed(drop=(key,))
        await asyncio.to_thread(scene.child.wait_event, "dropped", key=key)

    attack(act)


@asynccontextmanager
async def endless_peer(scene: Scene, endless: EndlessCore, step: int = 1) -> AsyncIterator[list[int]]:
    """A peer that has every `step`th block of an endless core. Gives the blocks that it was asked for."""
    asked: list[int] = []
    async with meet(scene.bootstrap, scene.us) as peer:

        def answer(channel: Channel, reported: Message) -> None:
            if isinstance(reported, Request):
                if reported.block is not None:
                    asked.append(reported.block.index)
                channel.send_frame(endless.answer(reported))
            elif isinstance(reported, Want) and step > 1:
                for block in range(-(-reported.start // step) * step, reported.start + reported.length, step):
                    channel.send_frame(Range(start=block, length=1))

        peer.on_message = answer
        talk = peer.open(endless.key)
        await talk.opened.wait()
        talk.send(Sync(fork=0, length=endless.length, remote_length=0, can_upgrade=True, has_manifest=True))
        if step == 1:
            talk.send(Range(start=0, length=endless.length))
        yield asked


def test_a_core_of_two_to_the_52_blocks_is_held_at_once(scene: Scene, attack: Attack) -> None:
    endless = EndlessCore(1 << 52)
    key = endless.key.hex()

    async def act() -> None:
        scene.seed(key)
        async with endless_peer(scene, endless) as asked:
            notified = await asyncio.to_thread(
                scene.child.wait_event, "error", key=key, code="TOO_MANY_BLOCKS"
            )
            assert notified["message"].startswith("it has 4,503,599,627,370,496 blocks, 33,554,432 may be")
            await asyncio.sleep(1)
            before = len(asked)
            await asyncio.sleep(2)
            assert len(asked) == before < 50_000
            await asyncio.to_thread(scene.serves)
        status = await asyncio.to_thread(scene.child.wait_status, key, "error")
        assert status["error"].startswith("TOO_MANY_BLOCKS")
        scene.seed(drop=(key,))
        await asyncio.to_thread(scene.child.wait_event, "dropped", key=key)

    attack(act)


@pytest.mark.parametrize("step", [1, 1 << 16], ids=["side by side", "far from each other"])
def test_empty_blocks_without_end_stop_at_the_quota(scene: Scene, attack: Attack, step: int) -> None:
    """Their content is nothing, and each takes 140 bytes; or 30 kB of tree, if it lies far from others."""
    endless = EndlessCore(1 << 52, seed=bytes([step % 251]) * 32)
    key, room = endless.key.hex(), 3_000_000

    async def act() -> None:
        before = scene.disk()
        stored = sum(file.size for file in FILES) + 400_000
        scene.child.send("configure", quota_bytes=stored + room, headroom_bytes=0, max_blocks=None)
        since = len(scene.child.events)
        scene.seed(key)
        async with endless_peer(scene, endless, step) as asked:
            await asyncio.to_thread(scene.child.wait_event, "error", code="NO_ROOM", since=since, timeout=60)
            await asyncio.sleep(1)
            seen, disk = len(asked), scene.disk()
            await asyncio.sleep(2)
            assert len(asked) - seen < 100
            assert scene.disk() - disk < 1 << 20
        # What had been asked for by the next look (1 s), and the log of the database, come on top
        assert scene.disk() - before < room + (32 << 20)
        scene.seed(drop=(key,))
        await asyncio.to_thread(scene.child.wait_event, "dropped", key=key)

    started = time.monotonic()
    attack(act)
    assert time.monotonic() - started < 80
