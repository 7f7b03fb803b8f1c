"""What clients and readers can make a blind peer hold, and how long it takes at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from support.corestores import eventually

from hypercore.blindpeer import CoreRef, Cores, ErrorCode, WakeupChannel
from hypercore.blindpeer import wakeup as wakeup_protocol
from hypercore.crypto import discovery_key
from hypercore.testing.cores import make_writer, sample_blocks
from workers.engine.blindpeer import blind_peer as blind_peer_module
from workers.engine.blindpeer import client as client_module
from workers.engine.blindpeer import kept as kept_module
from workers.engine.blindpeer import slices
from workers.engine.blindpeer.kept import Progress
from workers.engine.blindpeer.records import Record
from workers.engine.settings.blind_peer import BlindPeerSettings

from .world import FIRST, SECOND, World, app, run


def has_records(world: World, count: int) -> bool:
    return len(world.peer.records) == count


def test_what_waits_for_the_disk_is_bounded_by_the_cores_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blind_peer_module, "MAX_WAITING", 8)

    async def scene() -> None:
        world, writing = World(), asyncio.Event()
        flush = world.cores.flush

        async def held_flush() -> None:
            await writing.wait()
            await flush()

        world.cores.flush = held_flush  # type: ignore[method-assign]
        async with app(world) as client:
            for i in range(3):
                named = tuple(CoreRef(bytes([i, j]) * 16, 0) for j in range(5))
                client.channel.request_cores(Cores(cores=named))
            await eventually(lambda: client.answers == [ErrorCode.RATE_LIMITED])
            writing.set()
            await eventually(lambda: len(client.answers) == 3)
            client.channel.request_cores(Cores(cores=named))
            await eventually(lambda: len(client.answers) == 4)
            assert client.answers[3] != ErrorCode.RATE_LIMITED
        await world.close()

    run(scene)


def test_what_a_client_may_changes_while_it_is_connected() -> None:
    async def scene() -> None:
        world, writer = World(), make_writer(sample_blocks(3))
        key, other, third = writer.core.key, b"\x07" * 32, b"\x08" * 32
        change = world.peer.change_settings
        async with app(world, writer.store) as client:
            client.name(client.add(writer))
            await eventually(lambda: "complete" in world.states(key))
            change(BlindPeerSettings(max_cores=2, max_bytes=1))
            world.peer._kept.close_unused()
            writer.core.append([b"x"] * 20, writer.key_pair)
            await eventually(lambda: world.peer.records.get(key).length == 23)  # type: ignore[union-attr]
            client.channel.request_cores(Cores(cores=(CoreRef(other, 0),)))
            await eventually(lambda: len(client.answers) == 1)
            assert world.held(key) == 3 and not world.peer.keeps(other), "it has its bytes"
            change(BlindPeerSettings(max_cores=2))
            world.peer._kept.close_unused()
            await eventually(lambda: world.held(key) == 23)
            client.channel.request_cores(Cores(cores=(CoreRef(other, 0), CoreRef(third, 0))))
            await eventually(lambda: len(client.answers) == 2)
            assert world.peer.keeps(other) and not world.peer.keeps(third), "it has its cores"
            change(BlindPeerSettings(clients=frozenset()))
            client.channel.request_cores(Cores(cores=(CoreRef(third, 0),)))
            await eventually(lambda: client.answers[2:] == [ErrorCode.RATE_LIMITED])
            change(BlindPeerSettings(clients=frozenset(), trusted=frozenset({FIRST.public_key})))
            client.name(CoreRef(third, 0), announce=True)
            await eventually(lambda: world.host.announced == [third])
            assert world.peer.keeps(key), "what was kept stays"
        await world.close()

    run(scene)


def test_a_peer_pays_for_the_opening_of_its_cores_which_close_in_turns_when_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        world = World()
        async with app(world) as client:
            charged: list[float] = []
            monkeypatch.setattr(client.server, "charge", charged.append)
            client.name(*(CoreRef(bytes([i]) * 32, 0) for i in range(20)))
            await eventually(lambda: len(world.peer._kept) == 20)
            assert len(charged) >= 20
            world.peer.detach(client.server)
            assert len(world.peer._kept) == 20  # a client has thousands: none in this call
        await eventually(lambda: not len(world.peer._kept))
        await world.close()

    run(scene)


def test_the_cores_that_wait_to_be_opened_are_bounded_over_all_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_module, "MAX_LOADING", 0)
    monkeypatch.setattr(kept_module, "MAX_ALL_QUEUED", 4)
    monkeypatch.setattr(kept_module, "MIN_QUEUED", 2)

    async def scene() -> None:
        world = World()
        async with app(world) as greedy, app(world, key_pair=SECOND) as modest:
            greedy.name(*(CoreRef(bytes([i]) * 32, 0) for i in range(9)))
            await eventually(lambda: world.peer.counters["cores_dropped"] == 5)
            modest.name(*(CoreRef(bytes([10 + i]) * 32, 0) for i in range(9)))
            await eventually(lambda: world.peer.counters["cores_dropped"] == 12)
            waiting = [len(world.peer._clients[each.server].requester.queue) for each in (greedy, modest)]
            assert waiting == [4, 2]
        await eventually(lambda: world.peer._kept._queued == 0)
        await world.close()

    run(scene)


def test_the_groups_of_all_connections_are_bounded_and_each_connection_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "MAX_ALL_WAKEUPS", 3)
    monkeypatch.setattr(client_module, "MIN_WAKEUPS", 1)

    async def scene() -> None:
        world = World()
        async with app(world) as greedy, app(world, key_pair=SECOND) as modest:
            groups = {discovery_key(group): group for group in (bytes([100 + i]) * 32 for i in range(10))}

            def accept(muxer: Any, name: bytes | None, now: float) -> bool:
                WakeupChannel(muxer, groups[name or b""]).open(0.0)
                return True

            for number, client in enumerate((greedy, modest)):
                muxer = client.link.muxer
                muxer.on_open(wakeup_protocol.PROTOCOL, partial(accept, muxer))
                for i in range(5 * number, 5 * number + 5):
                    client.name(CoreRef(bytes([i]) * 32, 0), referrer=bytes([100 + i]) * 32)
                await eventually(partial(has_records, world, 5 * number + 5))
                await eventually(lambda: not world.peer._saving)
            opened = [len(world.peer._clients[each.server]._wakeups) for each in (greedy, modest)]
            assert opened == [3, 1] and world.peer.wakeups == 4
        assert world.peer.wakeups == 0
        await world.close()

    run(scene)


def test_the_members_of_a_group_are_hinted_a_few_in_each_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A core with many members in two groups has news: each hint takes a while of an invented clock."""

    async def scene() -> None:
        world, loop = World(), asyncio.get_running_loop()
        now, turn, hinted = 0.0, 0, list[int]()

        class Member:
            def __init__(self) -> None:
                self.muxer = Mock(channel=lambda protocol, name: None)
                self.opened = True

            def announce(self, cores: list[CoreRef]) -> None:
                nonlocal now
                now += slices.SLICE_SECONDS / 4
                hinted.append(turn)

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            if len(hinted) < 40:
                loop.call_soon(next_turn)

        monkeypatch.setattr(slices, "perf_counter", lambda: now)
        groups = [bytes([number]) * 32 for number in (1, 2)]
        record = Record(b"\x09" * 32, SECOND.public_key, "192.0.2.1", referrers=tuple(groups))
        assert world.peer.records.add(record)
        for group in groups:
            world.peer._wakeups[group] = {Member(): None for _ in range(20)}  # type: ignore[misc]
        next_turn()
        world.peer._on_progress(Progress(record, news=True, complete=False))
        await eventually(lambda: len(hinted) == 40)
        assert max(Counter(hinted).values()) == 4
        await world.close()

    run(scene)
