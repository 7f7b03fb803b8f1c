"""Peers that pose as relays: clients that they only make up, and handshakes without end."""

from __future__ import annotations

import asyncio
import os
from time import monotonic

import pytest

from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.net.udp_socket import Endpoint
from hypercore.aio.net.udx_transport import StreamTransport
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.work_budget import MAX_NETWORK_HANDSHAKES, NETWORK_HANDSHAKES_PER_SECOND
from hypercore.udx.packet import first_word, pack_header
from hypercore.wire.control import Sync
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade

from ..support.attacker import HostilePeer, meet
from ..support.false_relay import bystander, false_relay
from .attacks import BLOCKS, Attack, Scene
from .attacks import attack as attack
from .attacks import scene as scene

pytestmark = pytest.mark.interop


# --- peers that pose as relays ------------------------------------------------------------------------------

GREETING_BYTES = 300
"""About what three packets with a stream header have."""


async def newcomer_is_served(scene: Scene) -> None:
    """A peer that was never here connects, and gets a block."""
    async with meet(scene.bootstrap, scene.us) as newcomer:
        talk = newcomer.open(scene.key)
        await talk.opened.wait()
        talk.send(Sync(fork=0, length=0, remote_length=0, downloading=True))
        talk.send(Request(id=1, fork=0, block=RequestBlock(0, 0), upgrade=RequestUpgrade(0, BLOCKS)))
        async with asyncio.timeout(10):
            while not any(isinstance(reported, Data) for reported in newcomer.heard):
                await asyncio.sleep(0.02)


def test_an_address_that_is_only_claimed_to_be_a_client_gets_a_few_small_packets(
    scene: Scene, attack: Attack
) -> None:
    """A relay names a third party as its client, which any peer can reach. No peer there has asked for it."""

    async def act() -> None:
        with false_relay(scene.us, scene.at) as relay, bystander() as third:
            relay.shake(third.address)
            await asyncio.sleep(8)
            assert third.poll() <= min(GREETING_BYTES, 3 * relay.sent)
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
            peer = HostilePeer(SecretConnection(stream, result, loop=loop))
            talk = peer.open(scene.key)
            talk.send(Sync(fork=0, length=0, remote_length=0, downloading=True))
            for index in range(BLOCKS):
                talk.send(Request(id=index + 1, fork=0, block=RequestBlock(index, 0)))
            for ack in range(0, 20_000, 2):
                state = pack_header(first_word(0), payload.udx.id, 4 << 20, 1_000, ack)
                own.send(state, scene.at)
                if ack % 20 == 0:
                    await asyncio.sleep(0.002)
            assert third.poll() <= GREETING_BYTES
            endpoint.close()

    attack(act)


def test_clients_that_are_made_up_take_no_slot_of_others(scene: Scene, attack: Attack) -> None:
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
            began, identity = monotonic(), KeyPair.from_seed(os.urandom(32))
            for number in range(3_000):
                relay.send(Address("127.1.1.1", 1000 + number), identity=identity)
                if number % 20 == 0:
                    await asyncio.sleep(0.002)
            await newcomer_is_served(scene)
            await asyncio.sleep(0.5)
            bound = MAX_NETWORK_HANDSHAKES + NETWORK_HANDSHAKES_PER_SECOND * (monotonic() - began)
            assert 0 < relay.answers() <= bound

    attack(act)
