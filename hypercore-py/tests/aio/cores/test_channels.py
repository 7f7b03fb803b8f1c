"""Channels between corestores over real sockets: how many there may be, and what idle ones cost."""

from __future__ import annotations

import asyncio

import pytest

from hypercore.aio.cores import corestore as corestore_module
from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.openings import MAX_UNANSWERED_OPENS
from hypercore.core import memory_store
from hypercore.crypto import KeyPair
from hypercore.errors import LocalProtocolError
from hypercore.testing.connections import connected, end_keys
from hypercore.testing.cores import make_writer, sample_blocks
from support.corestores import content, eventually, joined, run


@pytest.mark.parametrize("bounded", ["those that we open", "those that the peer opens"])
def test_channels_of_one_connection_are_bounded(bounded: str) -> None:
    async def scene() -> None:
        bounds = {"max_channels": 2}
        assert bounds["max_channels"] < corestore_module.MAX_CHANNELS
        ours, theirs = (bounds, {}) if bounded == "those that we open" else ({}, bounds)
        async with (
            Corestore(memory_store(), **ours) as target,
            Corestore(memory_store(), **theirs) as source,
        ):
            keys = [bytes([number]) * 32 for number in range(1, 5)]
            for key in keys:
                source.get(key, active=False)
            readers = [target.get(key) for key in keys]
            async with joined(source, target):
                await eventually(lambda: sum(len(reader.peers) for reader in readers) == 2)
                late = target.get(bytes([9]) * 32)
                source.get(bytes([9]) * 32, active=False)
                await asyncio.sleep(0.05)
                assert sum(len(reader.peers) for reader in (*readers, late)) == 2
                assert source.links == 1

    run(scene)


def unknown_keys(count: int, salt: bytes) -> list[bytes]:
    return [KeyPair.from_seed(salt + number.to_bytes(31)).public_key for number in range(count)]


def test_a_peer_that_answers_nothing_costs_the_same_however_many_cores_are_active() -> None:
    """A peer that connects knows no key at first: each channel of each core would be memory for nothing."""

    async def test() -> None:
        async with Corestore(memory_store()) as source:
            for key in unknown_keys(3 * MAX_UNANSWERED_OPENS, b"a"):
                source.get(key)
            async with connected([end_keys()]) as [(peer, ours)]:
                link = source.replicate(ours)
                await asyncio.sleep(0.05)
                for key in unknown_keys(100, b"b"):
                    source.get(key)
                peer.send_keep_alive()
                await asyncio.sleep(0.1)
                assert link.muxer.channels == link.muxer.unanswered == MAX_UNANSWERED_OPENS

    run(test)


def test_channels_of_all_connections_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that knows many keys opens them all on many connections; others still get what they came for."""
    monkeypatch.setattr(corestore_module, "COUNT_SECONDS", 0.0)
    monkeypatch.setattr(corestore_module, "MAX_ALL_CHANNELS", 2 * corestore_module.MIN_CHANNELS)

    async def test() -> None:
        writer = make_writer(sample_blocks(3))
        keys = unknown_keys(3 * corestore_module.MIN_CHANNELS, b"a")
        async with (
            Corestore(writer.store) as source,
            Corestore(memory_store()) as greedy,
            Corestore(memory_store()) as innocent,
        ):
            for key in (*keys, writer.core.key):
                source.get(key, active=False)
            opened = [greedy.get(key) for key in keys]
            async with joined(source, greedy):
                await eventually(lambda: sum(bool(core.peers) for core in opened) == 128)
                await asyncio.sleep(0.1)
                assert sum(bool(core.peers) for core in opened) == 2 * corestore_module.MIN_CHANNELS
                copy = innocent.get(writer.core.key)
                copy.download()
                async with joined(source, innocent):
                    await copy.synced()
                    assert content(copy) == sample_blocks(3)

    run(test)


def test_all_active_cores_are_spoken_about_with_a_peer_that_answers() -> None:
    async def test() -> None:
        first = make_writer(sample_blocks(3))
        late = make_writer(sample_blocks(4), seed=2, store=first.store)
        async with Corestore(first.store) as source, Corestore(memory_store()) as target:
            other = source.get(late.core.key, active=False)
            source.get(first.core.key, active=False)
            for key in unknown_keys(5 * MAX_UNANSWERED_OPENS, b"a"):
                target.get(key)
            async with joined(source, target):
                pass
            copy = target.get(first.core.key)  # while there is no connection
            copy.download()
            async with joined(source, target):
                more = [target.get(key) for key in (*unknown_keys(200, b"b"), late.core.key)]
                await copy.synced()
                assert content(copy) == sample_blocks(3)
                await eventually(lambda: bool(more[-1].peers) and bool(other.peers))

    run(test)


def test_a_read_that_waits_ends_with_its_session() -> None:
    async def test() -> None:
        async with Corestore(memory_store()) as cores:
            one, other = (cores.get(b"\x05" * 32) for _ in range(2))
            ends = asyncio.ensure_future(one.get(0))
            stays = asyncio.ensure_future(other.get(0))
            await asyncio.sleep(0)
            one.close()
            with pytest.raises(LocalProtocolError, match="session was closed"):
                await ends
            assert not stays.done()
            assert other.core.key in {opened.core.key for opened in cores._open.values()}
            stays.cancel()
            other.close()

    run(test)
