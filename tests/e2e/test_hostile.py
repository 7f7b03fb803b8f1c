"""Peers that mean harm, one after the other, against one running engine.

After each of them the innocent are asked: what the publisher appends must still reach an official reader
through us, and our memory and files must be about what they were.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from hypercore.crypto import KeyPair
from hypercore.errors import HypercoreError
from hypercore.mux import Channel
from hypercore.node import Node
from hypercore.secretstream.framing import frame
from hypercore.wire.control import BitfieldMessage, Range, Sync, Want
from hypercore.wire.data import Data, DataBlock, DataUpgrade
from hypercore.wire.registry import Message
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade

from ..support.attacker import HostilePeer, Talk, meet
from ..support.seed_process import SeedProcess
from .attacks import BLOCK_BYTES, BLOCKS, FAR, Attack, Scene
from .attacks import attack as attack
from .attacks import scene as scene
from .test_prologues import Writer as ManifestWriter

pytestmark = pytest.mark.interop


async def genuine_tree(peer: HostilePeer, talk: Talk, length: int | None = None) -> Data:
    """What the engine answers to a request for the tree of `length` blocks, by default all."""
    answered: asyncio.Future[Data] = asyncio.get_running_loop().create_future()

    def heard(_: Channel, reported: Message) -> None:
        if isinstance(reported, Sync):
            upgrade = RequestUpgrade(0, length or reported.length)
            talk.send(Request(id=1, fork=0, upgrade=upgrade, manifest=True))
        if isinstance(reported, Data) and not answered.done():
            answered.set_result(reported)

    peer.on_message = heard
    return await answered


async def refused(scene: Scene, identity: KeyPair) -> bool:
    """Whether the engine has nothing to do with `identity` any more."""
    try:
        async with meet(scene.bootstrap, scene.us, identity=identity) as peer:
            await peer.cut_off(timeout=5)
    except TimeoutError:
        return False
    except HypercoreError:
        return True
    return not peer.heard


def test_a_peer_that_does_not_know_the_key_is_cut_off_and_kept_out(scene: Scene, attack: Attack) -> None:
    identity = KeyPair.from_seed(os.urandom(32))

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us, identity=identity) as peer:
            peer.open(scene.key, proof=bytes(32))
            await peer.cut_off()
            assert not any(isinstance(frame, Data) for frame in peer.heard)
        assert await refused(scene, identity)

    attack(act)


def test_garbage_on_a_channel_ends_the_channel(scene: Scene, attack: Attack) -> None:
    """The connection stays, for the sake of other cores; this one is not spoken about on it for a while."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            for _ in range(3):
                talk = peer.open(scene.key)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await talk.opened.wait()
                if talk.opened.is_set():
                    talk.channel.send(3, b"\xff" * 100)
                async with asyncio.timeout(5):
                    await talk.ended.wait()
            assert not peer.closed.is_set()
            assert sum(isinstance(reported, Sync) for reported in peer.heard) == 1

    attack(act)


def test_false_proofs_end_the_channel_and_nothing_of_them_is_kept(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:

            def answer(channel: Channel, reported: Message) -> None:
                if isinstance(reported, Request):
                    upgrade = reported.upgrade and DataUpgrade(*reported.upgrade, [], [], bytes(64))
                    block = reported.block and DataBlock(reported.block.index, b"forged", [])
                    channel.send_frame(
                        Data(request=reported.id, fork=reported.fork, upgrade=upgrade, block=block)
                    )

            peer.on_message = answer
            talk = peer.open(scene.key)
            await talk.opened.wait()
            await asyncio.sleep(0.2)
            known = next(reported.length for reported in peer.heard if isinstance(reported, Sync))
            claimed = BLOCKS
            while not talk.ended.is_set():  # one false proof may be an accident: it has to insist
                claimed += 100
                talk.send(Sync(fork=0, length=claimed, remote_length=known, can_upgrade=True))
                talk.send(Range(start=0, length=claimed))
                await asyncio.sleep(0.05)
            proofs = sum(isinstance(reported, Request) for reported in peer.heard)
            assert 1 < proofs < 200
            again = peer.open(scene.key)
            async with asyncio.timeout(5):
                await again.ended.wait()
            assert not again.opened.is_set()

    attack(act)
    assert not [e for e in scene.farm.of("core", scene.key.hex()) if e["length"] >= BLOCKS + 100]


def test_a_genuine_tree_with_nodes_to_spare_freezes_nothing(scene: Scene, attack: Attack) -> None:
    """Two signed histories end the replication of a core. Any peer that reads it has one; a node of his own
    beside it is no other history."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            talk = peer.open(scene.key)
            tree = await genuine_tree(peer, talk)
            upgrade = tree.upgrade
            assert upgrade is not None
            assert upgrade.additional_nodes == []
            stray = Node(0, BLOCK_BYTES, bytes(32))
            for nodes, additional in (
                ([*upgrade.nodes, stray], []),
                ([stray, *upgrade.nodes], []),
                (upgrade.nodes[::-1], []),
                ([*upgrade.nodes, *upgrade.nodes], []),
                (upgrade.nodes, [stray]),
                (upgrade.nodes, [stray._replace(index=2 * upgrade.length)]),
            ):
                forged = upgrade._replace(nodes=nodes, additional_nodes=additional)
                talk.send(replace(tree, request=0, upgrade=forged))
            await asyncio.sleep(1)
            assert not talk.ended.is_set()

    attack(act)
    assert not [e for e in scene.farm.of("error") if e["code"] == "CONFLICT"]


def test_a_forged_fork_of_a_core_with_a_prologue_is_not_followed_and_not_passed_on(
    scene: Scene, tmp_path: Path, processes: ExitStack
) -> None:
    """The prologue is no signature over a fork: with it alone, any peer could have all behind it given up, on
    our disk and, through us, on the writer's."""
    fork, blocks = 7_000_000, 11  # of the prologue
    writer = ManifestWriter(tmp_path / "writer", scene.bootstrap, "11.37")
    processes.callback(writer.dispose)
    ((key, length),) = writer.make("migrated").items()
    assert length == blocks
    grown = writer.grow(100)
    writer.ask("join", name="it")
    farm = SeedProcess(tmp_path / "farm", scene.bootstrap, key)
    processes.callback(farm.dispose)
    farm.wait_synced(key, grown[key])
    us = bytes.fromhex(farm.wait_ready()["public_key"])

    async def act() -> None:
        async with asyncio.timeout(60), meet(scene.bootstrap, us) as peer:
            talk = peer.open(bytes.fromhex(key))
            tree = await genuine_tree(peer, talk, blocks)
            upgrade = tree.upgrade
            assert upgrade is not None
            asked: list[Request] = []

            def answer(channel: Channel, reported: Message) -> None:
                if isinstance(reported, Request) and reported.fork == fork:
                    asked.append(reported)
                    forged = DataUpgrade(0, blocks, upgrade.nodes, [], upgrade.signature)
                    channel.send_frame(
                        Data(request=reported.id, fork=fork, upgrade=forged, manifest=tree.manifest)
                    )

            peer.on_message = answer
            claim = Sync(fork=fork, length=blocks, remote_length=0, can_upgrade=True, has_manifest=True)
            talk.send(claim, Range(start=0, length=blocks))
            await asyncio.sleep(5)
            assert asked

    asyncio.run(act())
    grown = writer.grow(5)
    assert grown == {key: blocks + 105}
    farm.wait_synced(key, grown[key])
    assert not [event for event in farm.of("core") if event["fork"]]
    written = writer.blocks(key)
    writer.stop()
    reader = ManifestWriter(tmp_path / "reader", scene.bootstrap, "11.37")
    processes.callback(reader.dispose)
    reader.read(grown)
    assert reader.blocks(key) == written


def test_a_peer_that_claims_everything_and_gives_nothing_holds_no_peer_up(
    scene: Scene, attack: Attack
) -> None:
    """It stays while the publisher appends: blocks that never come are fetched from the peer that has
    them."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            talk = peer.open(scene.key)
            await talk.opened.wait()
            talk.send(Sync(fork=0, length=FAR, remote_length=0, can_upgrade=True))
            talk.send(Range(start=0, length=FAR))
            for page in range(0, 2**40, 2**31):
                talk.send(BitfieldMessage(start=page, words=b"\xff" * 4096), Want(start=page, length=2**21))
            await asyncio.sleep(1)
            await asyncio.to_thread(scene.serves)

    attack(act)


def test_channels_without_end_are_bounded(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            for start in range(0, 20_000, 1_000):
                for number in range(start, start + 1_000):
                    if peer.closed.is_set():
                        return
                    with suppress(HypercoreError):
                        peer.open(scene.key, name=number.to_bytes(32, "big"))
                await asyncio.sleep(0)

    attack(act)


def test_a_frame_that_is_announced_and_never_comes_holds_no_memory(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        for _ in range(5):
            async with meet(scene.bootstrap, scene.us) as peer:
                await peer.open(scene.key).opened.wait()
                peer.connection.stream.write(frame(bytes(1 << 20))[: 1 << 19])
                await asyncio.sleep(0.2)

    attack(act)


def test_a_reader_that_does_not_read_is_sent_no_more_than_a_window(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            talk = peer.open(scene.key)
            await talk.opened.wait()
            talk.send(Sync(fork=0, length=0, remote_length=0, downloading=True))
            peer.connection.pause_reading()
            for index in range(BLOCKS):
                talk.send(Request(id=index + 1, fork=0, block=RequestBlock(index, 0)))
            await asyncio.sleep(2)

    attack(act)


def test_requests_without_end_are_bounded(scene: Scene, attack: Attack) -> None:
    """For blocks that are not there, and for the same block again and again."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as peer:
            talk = peer.open(scene.key)
            await talk.opened.wait()
            for number in range(1, 40_000):
                if peer.closed.is_set():
                    return
                talk.send(Request(id=number, fork=0, block=RequestBlock(number % 2 * FAR, 0)))
                if number % 500 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(1)

    attack(act)


def test_connections_without_end_leave_room_for_others(scene: Scene, attack: Attack) -> None:
    """More than we keep, each of another peer, and a new reader while they last."""

    async def act() -> None:
        async def hang_on(ready: asyncio.Event, stop: asyncio.Event) -> None:
            with suppress(HypercoreError):
                async with meet(scene.bootstrap, scene.us):
                    ready.set()
                    await stop.wait()

        stop = asyncio.Event()
        signs = [asyncio.Event() for _ in range(80)]
        held = []
        for ready in signs:
            held.append(asyncio.create_task(hang_on(ready, stop)))
            if len(held) % 8 == 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await asyncio.gather(*(sign.wait() for sign in signs[len(held) - 8 : len(held)]))
        await asyncio.to_thread(scene.serves)
        stop.set()
        await asyncio.gather(*held)

    attack(act)


def test_datagrams_without_end_do_no_harm(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        port = int(scene.farm.wait_ready()["port"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for number in range(30_000):
                out.sendto(os.urandom(8 + number % 400), ("127.0.0.1", port))
                if number % 200 == 0:
                    await asyncio.sleep(0.005)

    attack(act)
