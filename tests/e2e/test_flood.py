"""Peers that keep an engine busy, or make it remember things, beside an innocent publisher and reader."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from hypercore.connection import MAX_EARLY_FRAME_BYTES
from hypercore.errors import HypercoreError
from hypercore.wire.control import BitfieldMessage, Range, Sync
from hypercore.wire.request import Request, RequestBlock

from ..support.attacker import HostilePeer, Talk, meet
from .attacks import BLOCKS, FAR, Attack, Scene
from .attacks import attack as attack
from .attacks import scene as scene

pytestmark = pytest.mark.interop

PAGE = 32_768

ALL, NONE = Range(start=0, length=FAR), Range(drop=True, start=1, length=1)


@asynccontextmanager
async def speaking(scene: Scene) -> AsyncIterator[tuple[HostilePeer, Talk]]:
    """A peer that knows the key."""
    async with meet(scene.bootstrap, scene.us) as peer:
        talk = peer.open(scene.key)
        async with asyncio.timeout(10):
            await talk.opened.wait()
        yield peer, talk


async def send(peer: HostilePeer, *messages: bytes) -> None:
    """Says so much as the other side takes in a few seconds, while the innocent are served."""
    serving = asyncio.create_task(asyncio.to_thread(scene_serves[0]))
    for message in messages:
        peer.connection.send(message)
    await serving


scene_serves: list[Callable[[], None]] = []


@pytest.fixture(autouse=True)
def _served(scene: Scene) -> None:
    scene_serves[:] = [scene.serves]


def test_announcing_and_dropping_everything_in_turn_stops_no_peer(scene: Scene, attack: Attack) -> None:
    """Every pair of 17 bytes cost more than a millisecond."""

    async def act() -> None:
        async with speaking(scene) as (peer, talk):
            message = talk.batch(ALL, NONE, times=15_000)
            await send(peer, message, message, talk.batch(ALL, NONE, times=300_000))

    attack(act)


def test_bitfields_and_ranges_in_turn_stop_no_peer(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with speaking(scene) as (peer, talk):
            small, mixed = BitfieldMessage(start=0, words=bytes(4)), os.urandom(PAGE)
            await send(
                peer,
                talk.batch(ALL, small, times=100_000),
                talk.batch(BitfieldMessage(start=0, words=mixed), ALL, times=100),
                talk.batch(*(BitfieldMessage(start=n * 8 * PAGE, words=mixed) for n in range(60)), times=1),
            )

    attack(act)


def test_syncs_without_end_stop_no_peer(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with speaking(scene) as (peer, talk):
            lengths = [Sync(fork=0, length=random.randrange(BLOCKS), remote_length=0) for _ in range(500)]
            await send(peer, talk.batch(*lengths, times=400))

    attack(act)


def test_a_batch_of_nothing_stops_no_peer(scene: Scene, attack: Attack) -> None:
    """Entries for a channel that is closed, channel switches without an entry, and empty messages."""

    async def act() -> None:
        async with speaking(scene) as (peer, _):
            await send(peer, b"\0\0\7" + b"\1\1" * 4_000_000)
        async with speaking(scene) as (peer, _):
            peer.connection.send(b"\0\0\7" + b"\0\7" * 4_000_000)
            await peer.cut_off()
        async with speaking(scene) as (peer, _):
            await send(peer, *[b"" for _ in range(100_000)])

    attack(act)


def test_requests_that_lead_to_refusals_stop_no_peer(scene: Scene, attack: Attack) -> None:
    async def act() -> None:
        async with speaking(scene) as (peer, talk):
            request = [Request(id=n, fork=0, block=RequestBlock(FAR - n, 0)) for n in range(1, 2_000)]
            await send(peer, talk.batch(*request, times=20))

    attack(act)


def test_scattered_announcements_hold_little(scene: Scene, attack: Attack) -> None:
    """16 KB of them pinned 8 MB for each peer of each core."""

    async def act() -> None:
        message = []
        async with speaking(scene) as (peer, talk):
            message = [Range(start=page * PAGE + PAGE - 1, length=1) for page in range(2_048)]
            await send(peer, talk.batch(*message, times=1))

        async def hold(ready: asyncio.Event, stop: asyncio.Event) -> None:
            async with speaking(scene) as (peer, talk):
                peer.connection.send(talk.batch(*message, times=1))
                ready.set()
                await stop.wait()

        stop, signs = asyncio.Event(), [asyncio.Event() for _ in range(25)]
        holding = [asyncio.create_task(hold(sign, stop)) for sign in signs]
        await asyncio.gather(*(sign.wait() for sign in signs))
        await asyncio.to_thread(scene.serves)
        stop.set()
        await asyncio.gather(*holding)

    before = scene.memory()
    attack(act)
    assert scene.memory() - before < 40


def test_frames_that_never_end_hold_little_from_a_peer_that_knows_no_key(
    scene: Scene, attack: Attack
) -> None:
    async def act() -> None:
        async def hold(ready: asyncio.Event, size: int) -> None:
            with suppress(HypercoreError):
                async with meet(scene.bootstrap, scene.us) as peer:
                    peer.connection.send_keep_alive()
                    peer.connection.stream.write(size.to_bytes(3, "little") + bytes(size - 1))
                    with suppress(TimeoutError):
                        await peer.cut_off(3)
                    ready.set()

        signs = [asyncio.Event() for _ in range(20)]
        sizes = [2**24 - 1 if n % 2 else MAX_EARLY_FRAME_BYTES for n in range(20)]
        holding = [asyncio.create_task(hold(*pair)) for pair in zip(signs, sizes, strict=True)]
        await asyncio.to_thread(scene.serves)
        await asyncio.gather(*holding)

    before = scene.memory()
    attack(act)
    assert scene.memory() - before < 40
