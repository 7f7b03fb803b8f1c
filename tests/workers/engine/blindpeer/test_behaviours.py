"""Behaviours that official clients rely on, each with a client in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.corestores import eventually

from hypercore.blindpeer import (
    AddCoreRequest,
    CoreRecord,
    CoreRef,
    Cores,
    ErrorCode,
    RpcFailure,
    WakeupChannel,
)
from hypercore.codec import Reader, Writer
from hypercore.crypto import discovery_key
from hypercore.replication import PROTOCOL as REPLICATION
from hypercore.testing.cores import make_writer, sample_blocks
from workers.engine.blindpeer import kept as kept_module

from .world import FIRST, GROUP, SECOND, World, app, run


def add_core(key: bytes, **fields: Any) -> bytes:
    w = Writer()
    AddCoreRequest(key=key, **fields).encode(w)
    return bytes(w)


def test_a_client_that_lacks_blocks_gets_them_without_opening_a_channel_itself() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(2))
        key = writer.core.key
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(key))
            async with app(world, key_pair=SECOND) as behind:
                behind.name(CoreRef(key, 2))  # as many as are held here
                behind.name(CoreRef(b"\x01" * 32, 0))
                await eventually(lambda: len(world.peer.records) == 2)
                copy = behind.cores.get(key, everywhere=False)
                copy.download()
                await asyncio.sleep(0)
                assert copy.length == 0 and not copy.peers
                behind.name(CoreRef(key, 1))
                await copy.synced()
                writer.core.append([b"more"], writer.key_pair)
                await copy.wait_until(lambda: copy.length == 3)
        await world.close()

    run(scene)


def test_no_channel_is_opened_before_the_record_is_durable() -> None:
    async def scene() -> None:
        world, writer, writing = World(), make_writer(sample_blocks(3)), asyncio.Event()
        name, flush = discovery_key(writer.core.key), world.cores.flush

        async def held_flush() -> None:
            await writing.wait()
            await flush()

        world.cores.flush = held_flush  # type: ignore[method-assign]
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: len(world.peer.records) == 1)
            await asyncio.sleep(0.05)
            assert client.server.muxer.channel(REPLICATION, name) is None
            writing.set()
            await eventually(lambda: "complete" in world.states(writer.core.key))
        await world.close()

    run(scene)


def test_repeats_with_a_lower_priority_change_nothing_and_the_default_is_the_lowest() -> None:
    async def scene() -> None:
        world, keys = World(), [bytes([n]) * 32 for n in (1, 2)]
        async with app(world) as client:
            client.name(CoreRef(keys[0], 0), priority=1)
            client.name(CoreRef(keys[0], 0))
            client.name(CoreRef(keys[1], 0))
            await eventually(lambda: len(world.peer.records) == 2)
            assert [record.priority for record in world.peer.records] == [1, 0]
        await world.close()

    run(scene)


def test_a_malformed_call_fails_an_event_is_obeyed_in_silence_and_the_channel_stays() -> None:
    async def scene() -> None:
        world, key = World(), b"\x01" * 32
        async with app(world) as client:
            rpc = client.rpc()
            rpc.request("add-core", b"\x00")
            rpc.send_event("add-core", add_core(b"\x02" * 32))
            rpc.request("add-core", add_core(key, priority=9))
            await eventually(lambda: len(client.answers) == 2)
            failure, answer = client.answers
            assert isinstance(failure, RpcFailure) and failure.code == "DECODE_ERROR"
            assert CoreRecord.decode(Reader(answer)).priority == 1
            assert {record.key for record in world.peer.records} == {key, b"\x02" * 32}
        await world.close()

    run(scene)


def test_a_truncated_core_is_followed_and_hints_have_the_new_length() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(5))
        key = writer.core.key
        async with app(world, writer.store) as client, app(world, key_pair=SECOND) as member:
            hints: list[CoreRef] = []
            client.name(client.add(writer), referrer=GROUP)
            await eventually(lambda: "complete" in world.states(key))
            channel = WakeupChannel(member.link.muxer, GROUP, on_hints=lambda _, cores: hints.extend(cores))
            channel.open(0.0, active=True)
            await eventually(lambda: hints == [CoreRef(key, 5)])
            writer.core.truncate(2, writer.key_pair)
            writer.core.append([b"other"], writer.key_pair)
            await eventually(lambda: hints[-1] == CoreRef(key, 3))
            await eventually(lambda: world.held(key) == 3)
        await world.close()

    run(scene)


def test_a_client_that_is_not_listed_has_nothing_kept_and_reads_what_is_there() -> None:
    async def scene() -> None:
        world, writer = World(clients=frozenset({FIRST.public_key})), make_writer(sample_blocks(2))
        key = writer.core.key
        async with app(world, writer.store) as client, app(world, key_pair=SECOND) as unlisted:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(key))
            unlisted.channel.request_cores(Cores(cores=(CoreRef(b"\x01" * 32, 0),)))
            await eventually(lambda: unlisted.answers == [ErrorCode.RATE_LIMITED])
            copy = unlisted.cores.get(key)
            copy.download()
            await copy.synced()
            status = world.peer.status()
            assert (status.cores, status.clients, status.connections) == (1, 1, 2)
            assert (status.counters["cores_added"], status.counters["cores_dropped"]) == (1, 1)
            assert world.peer.keeps(key) and not world.peer.keeps(b"\x01" * 32)
        await world.close()

    run(scene)


def test_a_connection_without_any_message_stays_open() -> None:
    async def scene() -> None:
        world = World()
        async with app(world) as client:
            client.name(CoreRef(b"\x01" * 32, 0))
            await eventually(lambda: len(world.peer.records) == 1)
            for _ in range(3600):  # checks, one a second
                assert world.peer._timer is not None
                world.peer._timer.cancel()
                world.peer._tick()
            await asyncio.sleep(0)
            assert not client.link.connection.closed and world.peer.clients == 1
        await world.close()

    run(scene)


def test_many_cores_of_a_client_are_opened_in_turn_and_none_stays_open_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_module, "MAX_LOADING", 8)

    async def scene() -> None:
        world = World()
        first = make_writer(sample_blocks(1))
        writers = [first, *(make_writer(sample_blocks(1), seed=n, store=first.store) for n in range(2, 101))]
        largest = 0

        async with app(world, first.store) as client:
            client.name(*(client.add(writer) for writer in writers))
            requester = world.peer._clients[client.server].requester

            def complete() -> bool:
                nonlocal largest
                largest = max(largest, len(requester.loading))
                return all("complete" in world.states(writer.core.key) for writer in writers)

            await eventually(complete)
            assert 0 < largest <= 8
        await eventually(lambda: len(world.peer._kept) == 0)
        assert all(world.held(writer.core.key) == 1 for writer in writers)
        await world.close()

    run(scene)
