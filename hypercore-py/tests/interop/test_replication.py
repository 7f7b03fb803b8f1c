"""Our replicator between official hypercores, over bridged secret streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from hypercore.core import Core, memory_store
from hypercore.crypto import KeyPair
from hypercore.replication import Conflict, Reorged, ReplicationConfig
from support.official_replication import Node, Official, block

pytestmark = pytest.mark.interop

Scene = Callable[[Official, Node], Awaitable[None]]


def play(directory: Path, scene: Scene, *, config: ReplicationConfig | None = None) -> None:
    """Run a scene with an official process and a store of ours; no peer may have destroyed a connection."""

    async def run() -> None:
        official = await Official.start(directory)
        node = Node(memory_store(), config=config)
        try:
            await asyncio.wait_for(scene(official, node), 90)
            assert not [
                event
                for event in official.events
                if event["event"] == "destroyed" and "closed" not in event["error"]
            ]
            assert not [link.error for link in node.links if link.error]
        finally:
            await node.close()
            await official.stop()

    asyncio.run(run())


def opened(node: Node, key: str) -> Core:
    core = node.store.open_core(bytes.fromhex(key))
    assert core is not None
    node.replicate(core)
    return core


def content(core: Core) -> str:
    digest = sha256()
    for index in range(core.length):
        value = core.get(index)
        assert value is not None
        digest.update(value)
    return digest.hexdigest()


@pytest.mark.parametrize("compat", [False, True])
def test_ours_carries_a_core_from_an_official_writer_to_official_readers(
    tmp_path: Path, compat: bool
) -> None:
    async def scene(official: Official, node: Node) -> None:
        key = (await official.ask("open", name="w", seed=9, compat=compat))["key"]
        await official.ask("append", name="w", salt="a", count=300)
        core = opened(node, key)
        await node.connect(official, core="w")
        await official.ask("open", name="r", key=key)
        await node.connect(official, core="r", initiator=False)
        await official.ask("wait", name="r", length=300)
        state = await official.ask("status", name="w")
        assert state["remote"] == 300  # the writer knows that all of it is safe elsewhere

        await official.ask("append", name="w", salt="b", count=1)
        await official.ask("wait", name="r", length=301)
        for _ in range(20):
            await official.ask("append", name="w", salt="c", count=2)
        await official.ask("wait", name="r", length=341)

        await official.ask("truncate", name="w", length=100)
        await official.ask("wait", name="r", length=100, fork=1)
        await official.ask("append", name="w", salt="d", count=50)
        await official.ask("wait", name="r", length=150, fork=1)
        await official.ask("truncate", name="w", length=37)
        await official.ask("append", name="w", salt="e", count=200)
        await official.ask("wait", name="r", length=237, fork=2)
        assert [event.ancestors for event in node.events if isinstance(event, Reorged)] == [100, 37]
        written = (await official.ask("content", name="w"))["sha256"]
        assert (await official.ask("content", name="r"))["sha256"] == written == content(core)

        await official.ask("close", name="w")
        await official.ask("close", name="r")
        await official.ask("open", name="late", key=key)
        await node.connect(official, core="late")
        await official.ask("wait", name="late", length=237, fork=2)
        assert (await official.ask("content", name="late"))["sha256"] == written

    play(tmp_path, scene)


def test_ours_writes_and_official_peers_read(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        keys = KeyPair.from_seed(bytes([3]) * 32)
        core = node.store.create_core(keys)
        core.append([block("x", index) for index in range(50)], keys)
        node.flush()
        node.replicate(core)
        await official.ask("open", name="r", key=core.key.hex())
        await node.connect(official, core="r")
        await official.ask("wait", name="r", length=50)
        core.append([block("x", 50)], keys)
        await official.ask("wait", name="r", length=51)
        core.truncate(20, keys)
        await official.ask("wait", name="r", length=20, fork=1)
        core.append([block("y", index) for index in range(20, 60)], keys)
        await official.ask("wait", name="r", length=60, fork=1)
        assert (await official.ask("content", name="r"))["sha256"] == content(core)

    play(tmp_path, scene)


def test_blocks_are_gathered_from_official_peers_that_each_hold_a_part(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        key = (await official.ask("open", name="w", seed=9))["key"]
        await official.ask("append", name="w", salt="a", count=400)
        for number in range(3):
            name = f"part{number}"
            await official.ask("open", name=name, key=key, sparse=True)
        feeder = Node(memory_store())
        carried = opened(feeder, key)
        await feeder.connect(official, core="w")
        await feeder.until(lambda: carried.length == 400 and carried.complete)
        for number in range(3):
            await feeder.connect(official, core=f"part{number}")
            for index in range(number, 400, 3):
                await official.ask("get", name=f"part{number}", index=index)
        await feeder.close()
        await official.ask("close", name="w")

        core = opened(node, key)
        for number in range(3):
            await node.connect(official, core=f"part{number}")
        await node.until(lambda: core.length == 400 and core.complete)
        assert content(core) == content(carried)

    play(tmp_path, scene)


def test_an_official_reader_seeks_and_gets_single_blocks_from_ours(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        keys = KeyPair.from_seed(bytes([3]) * 32)
        core = node.store.create_core(keys)
        core.append([block("x", index) for index in range(1000)], keys)
        node.flush()
        node.replicate(core)
        await official.ask("open", name="r", key=core.key.hex(), sparse=True)
        await node.connect(official, core="r")
        for index in (0, 999, 500, 501, 31):
            got = await official.ask("get", name="r", index=index)
            assert bytes.fromhex(got["block"]) == block("x", index)
        for position in (0, 1, 5000, core.byte_length - 1):
            found = await official.ask("seek", name="r", bytes=position)
            assert (found["index"], found["offset"]) == core.seek(position)

    play(tmp_path, scene)


def test_an_official_peer_is_not_put_off_by_blocks_that_are_lost(tmp_path: Path) -> None:
    """More of them than it takes to be paused for good: they are taken back before they are refused."""

    async def scene(official: Official, node: Node) -> None:
        keys = KeyPair.from_seed(bytes([3]) * 32)
        core = node.store.create_core(keys)
        core.append([block("x", index) for index in range(600)], keys)
        node.flush()
        replicator = node.replicate(core)
        replicator.set_downloading(False, 0)
        await official.ask("open", name="r", key=core.key.hex(), sparse=True)
        link = await node.connect(official, core="r")
        await official.ask("update", name="r")
        link.paused = True
        await official.ask("begin", name="r", start=100, end=300)
        (peer,) = replicator.peers
        await node.until(lambda: len(peer.uploader) >= 40)
        core.clear(100, 300)
        link.resume()
        for index in (99, 300, 599):
            got = await official.ask("get", name="r", index=index)
            assert bytes.fromhex(got["block"]) == block("x", index)
        core.append([block("x", 600)], keys)
        await official.ask("get", name="r", index=600)
        assert (await official.ask("status", name="r"))["have"] == 4

    play(tmp_path, scene)


def test_many_cores_share_a_connection_to_an_official_store(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        seeds = list(range(1, 60))
        keys = (await official.ask("store", name="s", seeds=seeds, count=30, salt="m"))["keys"]
        cores = [opened(node, key) for key in keys]
        await node.connect(official, store="s")
        await node.until(lambda: all(core.length == 30 and core.complete for core in cores))
        await official.ask("store", name="t")
        await official.ask("fetch", name="t", keys=keys)
        await node.connect(official, store="t", initiator=False)
        for key, core in zip(keys, cores, strict=True):
            await official.ask("wait", name=f"t/{key}", length=30)
            assert (await official.ask("content", name=f"t/{key}"))["sha256"] == content(core)

    play(tmp_path, scene)


def test_an_unknown_core_is_rejected_by_an_official_store_and_asked_for_again_by_it(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        keys = KeyPair.from_seed(bytes([3]) * 32)
        core = node.store.create_core(keys)
        core.append([block("x", index) for index in range(5)], keys)
        node.flush()
        replicator = node.replicate(core)
        await official.ask("store", name="t")
        await node.connect(official, store="t")
        await asyncio.sleep(0.2)
        assert not replicator.peers
        await official.ask("fetch", name="t", keys=[core.key.hex()])
        await official.ask("wait", name=f"t/{core.key.hex()}", length=5)

    play(tmp_path, scene)


def test_a_channel_that_neither_side_needs_is_closed_and_opened_again(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        key = (await official.ask("open", name="w", seed=9, linger=0, sparse=True))["key"]
        await official.ask("append", name="w", salt="a", count=10)
        core = opened(node, key)
        replicator = node.replicate(core)
        await node.connect(official, core="w")
        await node.until(lambda: core.length == 10 and core.complete)
        replicator.set_downloading(False, asyncio.get_running_loop().time())
        await official.ask("active", name="w", active=False)
        await node.until(lambda: not replicator.peers)
        replicator.set_downloading(True, asyncio.get_running_loop().time())
        await node.until(lambda: len(replicator.peers) == 1)
        await official.ask("append", name="w", salt="b", count=1)
        await node.until(lambda: core.length == 11 and core.complete)

    play(tmp_path, scene)


def test_a_writer_with_two_histories_is_noticed_by_both_sides(tmp_path: Path) -> None:
    async def scene(official: Official, node: Node) -> None:
        keys = KeyPair.from_seed(bytes([9]) * 32)
        core = node.store.create_core(keys)
        core.append([block("ours", index) for index in range(8)], keys)
        node.flush()
        replicator = node.replicate(core)
        key = (await official.ask("open", name="w", seed=9))["key"]
        assert key == core.key.hex()
        await official.ask("append", name="w", salt="theirs", count=12)
        await node.connect(official, core="w")
        await node.until(lambda: any(isinstance(event, Conflict) for event in node.events))
        assert replicator.frozen
        assert core.length == 8
        assert not replicator.peers
        await node.until(lambda: any(event["event"] == "conflict" for event in official.events))

    play(tmp_path, scene)
