"""What a blind peer does for clients on connections in this process."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from support.corestores import eventually

from hypercore.blindpeer import (
    AddCoreRequest,
    AddedCore,
    CoreRecord,
    CoreRef,
    Cores,
    ErrorCode,
    RpcFailure,
    WakeupChannel,
)
from hypercore.blindpeer import wakeup as wakeup_protocol
from hypercore.codec import Reader, Writer
from hypercore.crypto import discovery_key
from hypercore.replication.ratelimit import BLOCK_OVERHEAD
from hypercore.testing.cores import make_writer, sample_blocks
from workers.engine.blindpeer import blind_peer as blind_peer_module
from workers.engine.blindpeer import client as client_module
from workers.engine.blindpeer import kept as kept_module
from workers.engine.blindpeer.host import Room
from workers.engine.blindpeer.records import Record
from workers.engine.settings.blind_peer import BanList

from .world import FIRST, GROUP, SECOND, World, app, run


async def collect(world: World) -> None:
    collector = world.peer._collector
    collector.tick()
    if collector._task is not None:
        await collector._task


def test_a_record_is_durable_before_the_core_is_opened() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(3))
        key = writer.core.key
        seen: list[tuple[bool, bool]] = []
        flush = world.cores.flush

        async def slow_flush() -> None:
            await flush()
            seen.append(
                (
                    world.store.backend.read_meta(f"blind/{key.hex()}") is not None,
                    world.cores.stored(key) is None,
                )
            )

        world.cores.flush = slow_flush  # type: ignore[method-assign]
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: world.states(key) == ["added", "complete"])
        assert seen[0] == (True, True)
        await world.close()

    run(scene)


def test_unchanged_cores_are_not_opened_and_a_restart_knows_them() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(3))
        async with app(world, writer.store) as client:
            client.name(client.add(writer), referrer=GROUP, priority=1)
            await eventually(lambda: world.states(writer.core.key) == ["added", "complete"])
            await world.cores.flush()
            again = World(world.store)
            record = again.peer.records.get(writer.core.key)
            assert record is not None
            assert (record.length, record.priority, record.referrers) == (3, 1, (GROUP,))
        async with app(world) as client:
            client.channel.request_cores(Cores(cores=(CoreRef(writer.core.key, 3),)))
            client.channel.request_cores(Cores(cores=(CoreRef(writer.core.key, 2),)))
            await eventually(lambda: len(client.answers) == 2)
            assert client.answers == [(AddedCore(writer.core.key, 3, active),) for active in (False, True)]
        await world.close()

    run(scene)


def test_what_only_trusted_clients_may_do_others_may_not() -> None:
    async def scene() -> None:
        world, writer = World(trusted=frozenset({SECOND.public_key})), make_writer(sample_blocks(2))
        key = writer.core.key
        async with app(world, writer.store) as client, app(world, key_pair=SECOND) as trusted:
            client.name(client.add(writer), announce=True, priority=250)
            await eventually(lambda: "complete" in world.states(key))
            assert world.host.announced == []
            record = world.peer.records.get(key)
            assert record is not None and (record.priority, record.announce) == (2, False)
            rpc = client.rpc()
            rpc.request("delete-core", key)
            await eventually(lambda: bool(client.answers))
            assert isinstance(client.answers[0], RpcFailure) and key in world.peer.records
            w = Writer()
            AddCoreRequest(key=key, announce=True, priority=9).encode(w)
            rpc = trusted.rpc()
            rpc.request("add-core", bytes(w))
            await eventually(lambda: len(trusted.answers) == 1)
            answer = CoreRecord.decode(Reader(trusted.answers[0]))
            assert (answer.length, answer.priority, answer.announce) == (2, 2, True)
            assert world.host.announced == [key]
            rpc.request("delete-core", key)
            rpc.request("delete-core", key)
            await eventually(lambda: len(trusted.answers) == 3)
            assert sorted(trusted.answers[1:]) == [b"\x00", b"\x01"]
            assert world.host.announced == [] and world.cores.stored(key) is None
            client.name(client.add(writer))
            await eventually(lambda: world.states(key)[-2:] == ["added", "complete"])
        await world.close()

    run(scene)


def test_a_peer_that_has_the_core_open_sees_that_it_is_collected_and_it_returns_when_there_is_room() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(4))
        key = writer.core.key
        async with app(world, writer.store) as client, app(world, key_pair=SECOND) as reader:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(key))
            copy = reader.cores.get(key)
            copy.download()
            await copy.synced()
            world.host.measured = Room(left=0, total=1000, lacking=0)
            await eventually(lambda: "collected" in world.states(key))
            await eventually(lambda: not copy.peers)
            await eventually(lambda: world.host.deletions == 1)
            assert world.held(key) == 0
            world.host.measured = Room(left=0, total=1000, lacking=0)
            client.channel.request_cores(Cores(cores=(CoreRef(key, 4),)))
            await eventually(lambda: len(client.answers) == 1)
            assert client.answers[0][0].activated is False
            world.host.measured = Room(left=900, total=1000, lacking=0)
            client.name(CoreRef(key, 4))
            await eventually(lambda: world.states(key)[-1] == "complete")
            assert world.held(key) == 4
        await world.close()

    run(scene)


def test_a_core_of_empty_blocks_is_collected() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer([b""] * 4)
        key = writer.core.key
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(key))
            world.host.measured = Room(left=0, total=1000, lacking=0)
            await collect(world)
            assert world.states(key)[-1] == "collected" and world.held(key) == 0
            assert world.peer.counters["bytes_gcd"] == 4 * BLOCK_OVERHEAD
        await world.close()

    run(scene)


def test_wanted_cores_are_not_collected() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(4))
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(writer.core.key))
            world.host.wanted.add(writer.core.key)
            world.host.measured = Room(left=0, total=1000, lacking=0)
            await collect(world)
            assert world.held(writer.core.key) == 4
            world.host.wanted.clear()
            await collect(world)  # it is sought again after a while, since it visits every record
            assert world.held(writer.core.key) == 4
            world.peer._collector._collect_at = 0.0
            await collect(world)
            assert world.held(writer.core.key) == 0
        await world.close()

    run(scene)


def test_a_group_is_opened_by_the_server_after_a_client_was_too_early_and_gets_hints() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(2))
        async with app(world, writer.store) as client, app(world, key_pair=SECOND) as member:
            hints: list[CoreRef] = []

            def listen(muxer: Any) -> WakeupChannel:
                channel = WakeupChannel(muxer, GROUP, on_hints=lambda _, cores: hints.extend(cores))
                channel.open(0.0, active=True)
                return channel

            early = listen(member.link.muxer)
            await eventually(lambda: early._channel.closed)
            member.link.muxer.on_open(
                wakeup_protocol.PROTOCOL,
                lambda name, now: bool(listen(member.link.muxer)) and False,
                discovery_key(GROUP),
            )
            member.name(CoreRef(b"\x01" * 32, 0), referrer=GROUP)
            await eventually(lambda: CoreRef(b"\x01" * 32, 0) in hints)
            client.name(client.add(writer), referrer=GROUP)
            await eventually(lambda: CoreRef(writer.core.key, 2) in hints)
            writer.core.append([b"more"], writer.key_pair)
            await eventually(lambda: CoreRef(writer.core.key, 3) in hints)
        assert world.peer._wakeups == {} and world.peer.clients == 0
        await world.close()

    run(scene)


def test_a_banned_client_keeps_its_connection_and_gets_nothing() -> None:
    async def scene() -> None:
        world = World(bans=BanList(keys=frozenset({FIRST.public_key})))
        async with app(world) as client:
            client.name(CoreRef(b"\x01" * 32, 1))
            client.channel.request_cores(Cores(cores=(CoreRef(b"\x01" * 32, 1),)))
            await eventually(lambda: client.answers == [ErrorCode.RATE_LIMITED])
            rpc = client.rpc()
            rpc.request("add-core", b"\x00" + b"\x01" * 32)  # which has no answer
            rpc.request("no-such-method")
            await eventually(lambda: len(client.answers) == 2)
            assert not client.link.connection.closed and len(world.peer.records) == 0
        await world.close()

    run(scene)


def test_a_client_above_its_rate_is_answered_that_it_is_limited_and_stays_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        world = World()
        monkeypatch.setattr(world.peer._rates, "admit", lambda *_: False)
        async with app(world) as client:
            client.name(CoreRef(b"\x01" * 32, 1))
            client.channel.request_cores(Cores(cores=(CoreRef(b"\x01" * 32, 1),)))
            await eventually(lambda: client.answers == [ErrorCode.RATE_LIMITED])
            assert world.peer.counters["cores_dropped"] == 2 and not client.link.connection.closed
        await world.close()

    run(scene)


def test_requests_beyond_those_that_wait_for_the_disk_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blind_peer_module, "MAX_WAITING", 1)

    async def scene() -> None:
        world, writing = World(), asyncio.Event()
        flush = world.cores.flush

        async def held_flush() -> None:
            await writing.wait()
            await flush()

        world.cores.flush = held_flush  # type: ignore[method-assign]
        async with app(world) as client:
            for i in range(3):
                client.channel.request_cores(Cores(cores=(CoreRef(bytes([i]) * 32, 0),)))
            await eventually(lambda: len(client.answers) == 2)
            assert client.answers == [ErrorCode.RATE_LIMITED] * 2
            writing.set()
            await eventually(lambda: len(client.answers) == 3)
        await world.close()

    run(scene)


def test_empty_cores_of_a_client_are_bounded_and_leave_nothing_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_module, "MAX_LOADING", 5)

    async def scene() -> None:
        world = World()
        kept = world.peer._kept
        kept._max_of_client = 20
        async with app(world) as client:
            client.name(*(CoreRef(i.to_bytes(32, "big"), 7) for i in range(1, 60)))
            await eventually(lambda: len(world.peer.records) == 59 and len(kept) == 5)
            for _ in range(12):
                kept.pump(world.peer._clients[client.server].requester, stalled=True)
                assert len(kept) <= 21
        await eventually(lambda: len(kept) == 0)
        assert list(world.store.cores()) == []
        await world.close()

    run(scene)


def test_connections_open_their_cores_in_turn_and_for_a_short_time_in_each_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_module, "TURN_SECONDS", 0.0)

    async def scene() -> None:
        world = World()
        kept = world.peer._kept
        async with app(world) as greedy, app(world, key_pair=SECOND) as modest:
            asked = [greedy] * 30 + [modest]
            for i, client in enumerate(asked):
                world.peer.records.add(Record(bytes([i]) * 32, FIRST.public_key, "h"))
                kept.request(world.peer._clients[client.server].requester, bytes([i]) * 32)
            for client in (greedy, modest):
                kept.pump(world.peer._clients[client.server].requester)
            sizes = [len(kept)]
            for _ in range(40):
                await asyncio.sleep(0)
                sizes.append(len(kept))
                assert sizes[-1] < 3 or bytes([30]) * 32 in kept
            assert sizes[-1] == len(asked)
            assert max(after - before for before, after in pairwise(sizes)) == 1
        await world.close()

    run(scene)


def test_at_the_bound_the_connection_with_most_open_cores_loses_one() -> None:
    async def scene() -> None:
        world, writers = World(), [make_writer(sample_blocks(1)) for _ in range(2)]
        world.peer._kept._max_kept = 6
        async with app(world) as greedy, app(world, writers[0].store, SECOND) as modest:
            modest.name(modest.add(writers[0]))
            await eventually(lambda: "complete" in world.states(writers[0].core.key))
            greedy.name(*(CoreRef(i.to_bytes(32, "big"), 7) for i in range(1, 30)))
            await eventually(lambda: len(world.peer.records) == 30)
            await asyncio.sleep(0.1)
            assert len(world.peer._kept) == 6 and writers[0].core.key in world.peer._kept
        await world.close()

    run(scene)


def test_at_the_bound_cores_that_only_readers_use_are_closed_first() -> None:
    async def scene() -> None:
        world = World()
        kept, records = world.peer._kept, world.peer.records
        kept._max_kept = 5
        async with app(world) as client:
            client.name(*(CoreRef(bytes([i]) * 32, 7) for i in range(1, 4)))
            await eventually(lambda: len(kept) == 3)
            read = [Record(bytes([i]) * 32, SECOND.public_key, "h") for i in range(10, 15)]
            for record in read:
                records.add(record)
                kept.serve(record)
            kept.serve(read[3])  # the oldest use is that of the other now
            client.name(CoreRef(bytes([4]) * 32, 7))
            named = [bytes([i]) * 32 for i in range(1, 5)]
            await eventually(lambda: named[3] in kept)
            assert all(key in kept for key in (*named, read[3].key)) and len(kept) == 5
        await world.close()

    run(scene)


def test_cores_that_wait_to_be_opened_and_groups_of_a_connection_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_module, "MAX_QUEUED", 3)
    monkeypatch.setattr(kept_module, "MAX_LOADING", 0)
    monkeypatch.setattr(client_module, "MAX_WAKEUPS", 2)

    async def scene() -> None:
        world = World()
        async with app(world) as client:
            groups = {discovery_key(group): group for group in (bytes([100 + i]) * 32 for i in range(1, 6))}
            muxer, opened = client.link.muxer, list[WakeupChannel]()

            def accept(name: bytes | None, now: float) -> bool:
                opened.append(WakeupChannel(muxer, groups[name or b""]))
                opened[-1].open(now)
                return True

            muxer.on_open(wakeup_protocol.PROTOCOL, accept)
            for i, group in enumerate(groups.values(), 1):
                client.name(CoreRef(bytes([i]) * 32, 0), referrer=group)
            await eventually(
                lambda: len(world.peer.records) == 5 and world.peer.counters["cores_dropped"] == 2
            )
            await eventually(lambda: len(opened) == 2)
            assert len(world.peer._clients[client.server]._wakeups) == 2
        await world.close()

    run(scene)


def test_a_core_with_too_many_blocks_is_not_downloaded_further() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(3))
        world.peer._kept._max_blocks = 4
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(writer.core.key))
            writer.core.append([b"x"] * 20, writer.key_pair)
            await eventually(lambda: world.peer.records.get(writer.core.key).length == 23)  # type: ignore[union-attr]
            await world.cores.flush()
            assert world.held(writer.core.key) < 23
        await world.close()

    run(scene)
