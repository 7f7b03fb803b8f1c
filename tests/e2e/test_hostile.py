"""Peers that mean harm, one after the other, against one running engine.

After each of them the innocent are asked: what the publisher appends must still reach an official reader
through us, and our memory and files must be about what they were.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.handshake_budget import MAX_NETWORK_BURST, NETWORK_PER_SECOND
from hypercore.errors import HypercoreError
from hypercore.mux import Channel
from hypercore.node import Node
from hypercore.secretstream.framing import frame
from hypercore.udx.packet import first_word, pack_header
from hypercore.wire.control import BitfieldMessage, Range, Sync, Want
from hypercore.wire.data import Data, DataBlock, DataUpgrade
from hypercore.wire.registry import Message
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade

from ..support.falserelay import bystander, false_relay
from ..support.farm import Farm
from ..support.node import Publisher, Reader, Testnet
from ..support.stranger import Stranger, Talk, meet
from .test_prologues import Writer as ManifestWriter

pytestmark = pytest.mark.interop

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
    farm: Farm
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
        farm = Farm(folder / "farm", bootstrap, made["key"])
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


async def genuine_tree(stranger: Stranger, talk: Talk, length: int | None = None) -> Data:
    """What the engine answers to a request for the tree of `length` blocks, by default all."""
    answered: asyncio.Future[Data] = asyncio.get_running_loop().create_future()

    def heard(_: Channel, said: Message) -> None:
        if isinstance(said, Sync):
            upgrade = RequestUpgrade(0, length or said.length)
            talk.say(Request(id=1, fork=0, upgrade=upgrade, manifest=True))
        if isinstance(said, Data) and not answered.done():
            answered.set_result(said)

    stranger.on_message = heard
    return await answered


async def refused(scene: Scene, who: KeyPair) -> bool:
    """Whether the engine has nothing to do with `who` any more."""
    try:
        async with meet(scene.bootstrap, scene.us, who=who) as stranger:
            await stranger.cut_off(within=5)
    except TimeoutError:
        return False
    except HypercoreError:
        return True
    return not stranger.heard


def test_who_does_not_know_the_key_is_cut_off_and_kept_out(scene: Scene, attack: Attack) -> None:
    who = KeyPair.from_seed(os.urandom(32))

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us, who=who) as stranger:
            stranger.open(scene.key, proof=bytes(32))
            await stranger.cut_off()
            assert not any(isinstance(frame, Data) for frame in stranger.heard)
        assert await refused(scene, who)

    attack(act)


def test_garbage_on_a_channel_ends_the_channel(scene: Scene, attack: Attack) -> None:
    """The connection stays, for the sake of other cores; this one is not spoken about on it for a while."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            for _ in range(3):
                talk = stranger.open(scene.key)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await talk.opened.wait()
                if talk.opened.is_set():
                    talk.channel.send(3, b"\xff" * 100)
                async with asyncio.timeout(5):
                    await talk.ended.wait()
            assert not stranger.closed.is_set()
            assert sum(isinstance(said, Sync) for said in stranger.heard) == 1

    attack(act)


def test_false_proofs_end_the_channel_and_nothing_of_them_is_kept(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:

            def answer(channel: Channel, said: Message) -> None:
                if isinstance(said, Request):
                    upgrade = said.upgrade and DataUpgrade(*said.upgrade, [], [], bytes(64))
                    block = said.block and DataBlock(said.block.index, b"forged", [])
                    channel.send_frame(Data(request=said.id, fork=said.fork, upgrade=upgrade, block=block))

            stranger.on_message = answer
            talk = stranger.open(scene.key)
            await talk.opened.wait()
            await asyncio.sleep(0.2)
            known = next(said.length for said in stranger.heard if isinstance(said, Sync))
            claimed = BLOCKS
            while not talk.ended.is_set():  # one false proof may be an accident: it has to insist
                claimed += 100
                talk.say(Sync(fork=0, length=claimed, remote_length=known, can_upgrade=True))
                talk.say(Range(start=0, length=claimed))
                await asyncio.sleep(0.05)
            proofs = sum(isinstance(said, Request) for said in stranger.heard)
            assert 1 < proofs < 200
            again = stranger.open(scene.key)
            async with asyncio.timeout(5):
                await again.ended.wait()
            assert not again.opened.is_set()

    attack(act)
    assert not [e for e in scene.farm.of("core", scene.key.hex()) if e["length"] >= BLOCKS + 100]


def test_a_genuine_tree_with_nodes_to_spare_freezes_nothing(scene: Scene, attack: Attack) -> None:
    """Two signed histories end the replication of a core. Anybody who reads it has one; a node of his own
    beside it is no other history."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            talk = stranger.open(scene.key)
            tree = await genuine_tree(stranger, talk)
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
                talk.say(replace(tree, request=0, upgrade=forged))
            await asyncio.sleep(1)
            assert not talk.ended.is_set()

    attack(act)
    assert not [e for e in scene.farm.of("error") if e["code"] == "CONFLICT"]


def test_a_forged_fork_of_a_core_with_a_prologue_is_not_followed_and_not_passed_on(
    scene: Scene, tmp_path: Path, processes: ExitStack
) -> None:
    """The prologue is no signature over a fork: with it alone, anybody could have all behind it given up, on
    our disk and, through us, on the writer's."""
    fork, blocks = 7_000_000, 11  # of the prologue
    writer = ManifestWriter(tmp_path / "writer", scene.bootstrap, "11.37")
    processes.callback(writer.dispose)
    ((key, length),) = writer.make("migrated").items()
    assert length == blocks
    grown = writer.grow(100)
    writer.ask("join", name="it")
    farm = Farm(tmp_path / "farm", scene.bootstrap, key)
    processes.callback(farm.dispose)
    farm.wait_synced(key, grown[key])
    us = bytes.fromhex(farm.wait_ready()["public_key"])

    async def act() -> None:
        async with asyncio.timeout(60), meet(scene.bootstrap, us) as stranger:
            talk = stranger.open(bytes.fromhex(key))
            tree = await genuine_tree(stranger, talk, blocks)
            upgrade = tree.upgrade
            assert upgrade is not None
            asked: list[Request] = []

            def answer(channel: Channel, said: Message) -> None:
                if isinstance(said, Request) and said.fork == fork:
                    asked.append(said)
                    forged = DataUpgrade(0, blocks, upgrade.nodes, [], upgrade.signature)
                    channel.send_frame(
                        Data(request=said.id, fork=fork, upgrade=forged, manifest=tree.manifest)
                    )

            stranger.on_message = answer
            claim = Sync(fork=fork, length=blocks, remote_length=0, can_upgrade=True, has_manifest=True)
            talk.say(claim, Range(start=0, length=blocks))
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


def test_who_claims_everything_and_gives_nothing_holds_nobody_up(scene: Scene, attack: Attack) -> None:
    """It stays while the publisher appends: blocks that never come are fetched from who has them."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            talk = stranger.open(scene.key)
            await talk.opened.wait()
            talk.say(Sync(fork=0, length=FAR, remote_length=0, can_upgrade=True))
            talk.say(Range(start=0, length=FAR))
            for page in range(0, 2**40, 2**31):
                talk.say(BitfieldMessage(start=page, words=b"\xff" * 4096), Want(start=page, length=2**21))
            await asyncio.sleep(1)
            await asyncio.to_thread(scene.serves)

    attack(act)


def test_channels_without_end_are_bounded(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            for start in range(0, 20_000, 1_000):
                for number in range(start, start + 1_000):
                    if stranger.closed.is_set():
                        return
                    with suppress(HypercoreError):
                        stranger.open(scene.key, name=number.to_bytes(32, "big"))
                await asyncio.sleep(0)

    attack(act)


def test_a_frame_that_is_announced_and_never_comes_holds_no_memory(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        for _ in range(5):
            async with meet(scene.bootstrap, scene.us) as stranger:
                await stranger.open(scene.key).opened.wait()
                stranger.connection.stream.write(frame(bytes(1 << 20))[: 1 << 19])
                await asyncio.sleep(0.2)

    attack(act)


def test_a_reader_that_does_not_read_is_sent_no_more_than_a_window(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            talk = stranger.open(scene.key)
            await talk.opened.wait()
            talk.say(Sync(fork=0, length=0, remote_length=0, downloading=True))
            stranger.connection.pause_reading()
            for index in range(BLOCKS):
                talk.say(Request(id=index + 1, fork=0, block=RequestBlock(index, 0)))
            await asyncio.sleep(2)

    attack(act)


def test_requests_without_end_are_bounded(scene: Scene, attack: Attack) -> None:
    """For blocks that are not there, and for the same block again and again."""

    async def act() -> None:
        async with meet(scene.bootstrap, scene.us) as stranger:
            talk = stranger.open(scene.key)
            await talk.opened.wait()
            for number in range(1, 40_000):
                if stranger.closed.is_set():
                    return
                talk.say(Request(id=number, fork=0, block=RequestBlock(number % 2 * FAR, 0)))
                if number % 500 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(1)

    attack(act)


def test_connections_without_end_leave_room_for_others(scene: Scene, attack: Attack) -> None:
    """More than we keep, each of somebody else, and a new reader while they last."""

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


# --- strangers who pose as relays --------------------------------------------------------------------------

GREETING_BYTES = 300
"""About what three packets with a stream header have."""


async def newcomer_is_served(scene: Scene) -> None:
    """Somebody who was never here connects, and gets a block."""
    async with meet(scene.bootstrap, scene.us) as newcomer:
        talk = newcomer.open(scene.key)
        await talk.opened.wait()
        talk.say(Sync(fork=0, length=0, remote_length=0, downloading=True))
        talk.say(Request(id=1, fork=0, block=RequestBlock(0, 0), upgrade=RequestUpgrade(0, BLOCKS)))
        async with asyncio.timeout(10):
            while not any(isinstance(said, Data) for said in newcomer.heard):
                await asyncio.sleep(0.02)


def test_who_is_only_said_to_be_a_client_gets_a_few_small_packets(scene: Scene, attack: Attack) -> None:
    """A relay names a third party as its client, which anybody can reach. Nobody there has asked for it."""

    async def act() -> None:
        with false_relay(scene.us, scene.at) as relay, bystander() as third:
            relay.shake(third.address)
            await asyncio.sleep(8)
            assert third.look() <= min(GREETING_BYTES, 3 * relay.sent)
            assert len(third.datagrams) <= 3
        await newcomer_is_served(scene)

    attack(act)


def test_blind_acknowledgements_do_not_send_blocks_to_a_third_party(scene: Scene, attack: Attack) -> None:
    """The attacker holds the keys, asks for everything and acknowledges what he never gets."""

    async def act() -> None:
        loop = asyncio.get_running_loop()
        with false_relay(scene.us, scene.at) as relay, bystander() as third:
            endpoint = Endpoint()
            own = endpoint.bind("127.0.0.1")
            stream = StreamTransport(endpoint)
            payload, result = relay.shake(third.address, stream_id=stream.local_id)
            assert payload.udx is not None
            stream.connect(payload.udx.id, scene.at, own)
            stranger = Stranger(SecretConnection(stream, result, loop=loop))
            talk = stranger.open(scene.key)
            talk.say(Sync(fork=0, length=0, remote_length=0, downloading=True))
            for index in range(BLOCKS):
                talk.say(Request(id=index + 1, fork=0, block=RequestBlock(index, 0)))
            for ack in range(0, 20_000, 2):
                state = pack_header(first_word(0), payload.udx.id, 4 << 20, 1_000, ack)
                own.send(state, scene.at)
                if ack % 20 == 0:
                    await asyncio.sleep(0.002)
            assert third.look() <= GREETING_BYTES
            endpoint.close()

    attack(act)


def test_clients_that_are_made_up_take_nobodys_slot(scene: Scene, attack: Attack) -> None:
    """More of them than there are slots, each of a host of its own."""

    async def act() -> None:
        with false_relay(scene.us, scene.at) as relay:
            for number in range(600):
                relay.send(Address(f"127.1.{number >> 8}.{number & 255}", 1000 + number))
                if number % 20 == 0:
                    await asyncio.sleep(0.02)
            await newcomer_is_served(scene)

    attack(act)


@pytest.mark.parametrize("firewall", [Firewall.OPEN, Firewall.CONSISTENT])
def test_handshakes_of_clients_that_never_come_leave_room_for_others(
    scene: Scene, attack: Attack, firewall: Firewall
) -> None:
    """Three times as many as are remembered, and some newcomers at the same time."""

    async def act() -> None:
        with false_relay(scene.us, scene.at) as relay:
            for number in range(3_000):
                relay.send(Address(f"127.1.{number >> 8}.{number & 255}", 1000 + number), firewall=firewall)
                if number % 20 == 0:
                    await asyncio.sleep(0.02)
                if number % 1_000 == 999:
                    await newcomer_is_served(scene)

    attack(act)


def test_handshakes_without_end_are_answered_at_a_bounded_rate(scene: Scene, attack: Attack) -> None:
    """Each costs half a millisecond of computing. They come from one network, a newcomer from another."""

    async def act() -> None:
        with false_relay(scene.us, scene.at, host="127.0.66.1") as relay:
            began, who = monotonic(), KeyPair.from_seed(os.urandom(32))
            for number in range(3_000):
                relay.send(Address("127.1.1.1", 1000 + number), who=who)
                if number % 20 == 0:
                    await asyncio.sleep(0.002)
            await newcomer_is_served(scene)
            await asyncio.sleep(0.5)
            bound = MAX_NETWORK_BURST + NETWORK_PER_SECOND * (monotonic() - began)
            assert 0 < relay.answers() <= bound

    attack(act)
