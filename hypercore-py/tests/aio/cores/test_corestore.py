"""Corestores talking over real sockets on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from hypercore.aio.cores import corestore as corestore_module
from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.session import Hypercore
from hypercore.core import memory_store
from hypercore.errors import BlockNotAvailable, InvalidCapability, LocalProtocolError, StoreFull
from hypercore.replication import UpgradeAvailable
from hypercore.storage.base import Batch
from hypercore.testing.connections import end_keys
from hypercore.testing.cores import Writer, make_writer, sample_blocks
from support.corestores import TIMEOUT, content, eventually, joined, run


async def until(core: Hypercore, predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        await core.wait_until(predicate)


def append(writer: Writer, source: Corestore, *blocks: bytes) -> None:
    """Append and let the corestore flush, as a live writer would."""
    writer.core.append(blocks, writer.key_pair)


def test_a_reader_downloads_everything_and_follows_the_writer() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(100))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await copy.synced()
                assert content(copy) == sample_blocks(100)
                append(writer, source, b"one more", b"and another")
                await until(copy, lambda: copy.length == 102 and copy.core.durable_complete)
                assert copy.peek(101) == b"and another"
                assert next(peer.bytes_in for peer in copy.peers) == copy.byte_length

    run(scene)


def test_what_was_written_before_the_corestore_began_is_flushed_and_served() -> None:
    async def scene() -> None:
        writer = make_writer()
        writer.core.append(sample_blocks(3), writer.key_pair)
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await copy.synced()
                assert content(copy) == sample_blocks(3)

    run(scene)


def test_reading_a_block_fetches_that_block_only() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(50))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            async with joined(source, target):
                assert await copy.update()
                assert copy.length == 50
                assert await copy.get(31) == sample_blocks(50)[31]
                assert copy.core.bitfield.count == 1
                copy.prefetch([3, 4])
                await until(copy, lambda: copy.core.has(3) and copy.core.has(4))
                assert copy.core.bitfield.count == 3

    run(scene)


def test_paused_downloads_resume_when_every_reason_is_removed() -> None:
    async def scene() -> None:
        first, second = make_writer(sample_blocks(20), seed=1), make_writer(sample_blocks(20), seed=2)
        async with Corestore(first.store) as source, Corestore(memory_store()) as target:
            early = target.get(first.core.key)
            early.download()
            target.pause_downloads("disk")
            target.pause_downloads("operator")
            late = target.get(second.core.key)
            late.download()
            other = Corestore(second.store)
            async with other, joined(source, target), joined(other, target):
                for core in (early, late):
                    assert await core.get(7) == sample_blocks(20)[7]
                    assert core.core.bitfield.count == 1  # a block that is read comes alone
                target.resume_downloads("disk")
                target.resume_downloads("something else")
                assert target.downloads_paused
                assert await early.get(8) == sample_blocks(20)[8]
                assert early.core.bitfield.count == 2
                target.resume_downloads("operator")
                assert not target.downloads_paused
                await early.synced()
                await late.synced()

    run(scene)


def test_resumed_downloads_leave_out_a_core_that_no_session_wants() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(20))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            copy.download()
            target.pause_downloads("disk")
            copy.download(False)
            target.resume_downloads("disk")
            async with joined(source, target):
                assert await copy.get(7) == sample_blocks(20)[7]
                assert copy.core.bitfield.count == 1
                target.pause_downloads("disk")
                copy.download()
                target.resume_downloads("disk")
                await copy.synced()

    run(scene)


def test_a_stored_core_is_opened_for_a_peer_that_asks_and_closed_again() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(10))
        writer.store.close_core(writer.core)
        async with Corestore(writer.store, idle_seconds=0.05) as source, Corestore(memory_store()) as target:
            assert source.open_cores == 0
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await copy.synced()
                assert source.open_cores == 1
            await eventually(lambda: source.open_cores == 0 and source.store.open_cores == 0)

    run(scene)


def test_a_core_that_is_not_stored_is_not_made_because_a_peer_asks_for_it() -> None:
    async def scene() -> None:
        async with Corestore(memory_store()) as source, Corestore(memory_store()) as target:
            copy = target.get(b"\x07" * 32)
            async with joined(source, target):
                assert not await copy.update(timeout=0.3)
            assert source.store.cores() == []

    run(scene)


def test_a_core_without_readers_stays_open_while_a_session_is() -> None:
    async def scene() -> None:
        async with Corestore(memory_store(), idle_seconds=0.02) as cores:
            first, second = cores.get(b"\x01" * 32), cores.get(b"\x01" * 32)
            first.close()
            await asyncio.sleep(0.1)
            assert cores.open_cores == 1
            second.close()
            await eventually(lambda: cores.open_cores == 0)
            assert cores.get(b"\x01" * 32).length == 0

    run(scene)


def test_a_peer_that_does_not_know_the_key_is_cut_off() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(3))
        misbehaviours: list[tuple[bytes, Exception]] = []
        source = Corestore(
            writer.store, on_misbehaviour=lambda key, error: misbehaviours.append((key, error))
        )
        async with source, Corestore(memory_store()) as target:
            source.get(writer.core.key)
            async with joined(source, target):
                channel = next(iter(target._links)).create_channel(  # a handshake no honest peer sends
                    "hypercore/alpha", writer.core.discovery_key, _Deaf()
                )
                channel.open(b"\x01" + bytes(32), 0.0)
                await eventually(lambda: bool(misbehaviours))
            assert source.links == 0
        (key, error) = misbehaviours[0]
        assert key == end_keys().server.public_key
        assert isinstance(error, InvalidCapability)

    run(scene)


class _Deaf:
    def channel_opened(self, *_: object) -> None: ...
    def channel_message(self, *_: object) -> None: ...
    def channel_closed(self, *_: object) -> None: ...
    def channel_flush(self, *_: object) -> None: ...
    def channel_writable(self, *_: object) -> None: ...


def test_blocks_that_could_not_be_written_are_not_announced_until_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hypercore.aio.cores.flusher.RETRY_DELAY", 0.05)

    async def scene() -> None:
        writer = make_writer(sample_blocks(20))
        store = memory_store()
        commit, full, tries = store.backend.commit, "no room left", 0

        def failing(batch: Batch) -> None:
            nonlocal tries
            tries += 1
            if full:
                raise StoreFull(full)
            commit(batch)

        store.backend.commit = failing  # type: ignore[method-assign]
        errors: list[Exception] = []
        async with Corestore(writer.store) as source:
            target = Corestore(store, on_error=errors.append)
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await until(copy, lambda: copy.core.complete and copy.length == 20)
                await eventually(lambda: tries > 3)
                assert [str(error) for error in errors] == ["no room left"]  # one for all tries
                full = "the quota is used up"
                await eventually(lambda: len(errors) > 1)
                assert [str(error) for error in errors] == ["no room left", "the quota is used up"]
                assert not copy.core.durable_complete
                peer = next(iter(source._open[writer.core.discovery_key].replicator.peers))
                assert peer.down.availability.contiguous == 0
                full = ""
                await copy.synced()
                await eventually(lambda: peer.down.availability.contiguous == 20)
            await target.close()

    run(scene)


def test_peers_are_not_read_from_while_the_disk_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corestore_module, "MAX_DIRTY_BYTES", 1 << 20)
    held: list[bool] = []
    hold = Corestore._hold
    behind = threading.Event()

    def spy(self: Corestore, on: bool) -> None:
        held.append(on)
        if on:
            behind.set()
        hold(self, on)

    monkeypatch.setattr(Corestore, "_hold", spy)

    async def scene() -> None:
        writer = make_writer([bytes([i]) * 65536 for i in range(64)])
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            commit = target.store.backend.commit

            def slow(batch: Batch) -> None:
                behind.wait(TIMEOUT)  # a disk that is slower than the peers
                commit(batch)

            monkeypatch.setattr(target.store.backend, "commit", slow)
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await copy.synced()
        assert held[:2] == [True, False]
        assert held[-1] is False

    run(scene)


def test_readers_that_wait_for_a_block_fail_when_the_core_closes() -> None:
    async def scene() -> None:
        cores = Corestore(memory_store())
        core = cores.get(b"\x05" * 32)
        waiting = asyncio.ensure_future(core.get(0))
        cancelled = asyncio.ensure_future(core.get(0))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await cores.close()
        with pytest.raises(BlockNotAvailable):
            await waiting
        with pytest.raises(LocalProtocolError):
            cores.get(b"\x05" * 32)

    run(scene)


def test_readers_that_wait_on_a_session_fail_when_it_closes() -> None:
    async def scene() -> None:
        async with Corestore(memory_store()) as cores:
            core = cores.get(b"\x05" * 32)
            waiting = asyncio.ensure_future(core.synced())
            await asyncio.sleep(0)
            core.close()
            with pytest.raises(LocalProtocolError):
                await waiting
            with pytest.raises(LocalProtocolError):
                await core.get(0)

    run(scene)


def test_a_truncation_by_the_writer_is_followed() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(40))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            source.get(writer.core.key)
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                await copy.synced()
                writer.core.truncate(12, writer.key_pair)
                append(writer, source, b"another", b"history")
                await until(copy, lambda: copy.fork == 1 and copy.core.durable_complete and copy.length == 14)
                assert content(copy) == [*sample_blocks(12), b"another", b"history"]

    run(scene)


def test_stored_blocks_are_read_without_any_peer() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(5))
        async with Corestore(writer.store) as cores:
            core = cores.get(writer.core.key)
            assert [await core.get(i) for i in range(5)] == sample_blocks(5)
            assert core.byte_range(2)[1] == len(sample_blocks(5)[2])

    run(scene)


def test_a_removed_core_is_gone_for_us_and_for_peers() -> None:
    async def test() -> None:
        writer = make_writer(sample_blocks(5))
        async with Corestore(writer.store, idle_seconds=60) as source, Corestore(memory_store()) as target:
            session = source.get(writer.core.key)
            async with joined(source, target):
                reader = target.get(writer.core.key)
                reader.download()
                await until(reader, lambda: reader.core.complete and reader.length == 5)
                with pytest.raises(LocalProtocolError):
                    source.remove(writer.core.key)
                session.close()
                assert source.remove(writer.core.key)
                assert not source.remove(writer.core.key)
                await source.flush()
                assert source.store.cores() == []
                assert source.open_cores == 0
                await until(reader, lambda: not reader.peers)
                assert source.get(writer.core.key).length == 0

    run(test)


def test_a_core_that_is_used_again_has_forgotten_connections_that_are_gone() -> None:
    async def test() -> None:
        writer = make_writer(sample_blocks(5))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            other = source.get(writer.core.key)
            async with joined(source, target):
                reader = target.get(writer.core.key)
                reader.download()
                await until(reader, lambda: reader.core.complete and reader.length == 5)
                reader.close()
                other.close()
                # Nobody wants anything of it: the channel is closed, and the connection goes on
                async with asyncio.timeout(TIMEOUT):
                    while any(opened.peers for opened in target._open.values()):
                        await asyncio.sleep(0.01)
            async with asyncio.timeout(TIMEOUT):
                while target.links:
                    await asyncio.sleep(0.01)
            again = target.get(writer.core.key)
            assert again.length == 5

    run(test)


def test_an_inactive_session_serves_peers_that_ask_and_offers_itself_to_none() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(5))
        wanted: list[bytes] = []
        async with (
            Corestore(writer.store, on_core_requested=wanted.append) as source,
            Corestore(memory_store()) as target,
        ):
            passive = source.get(writer.core.key, active=False)
            idle = target.get(writer.core.key, active=False)
            async with joined(source, target):
                await asyncio.sleep(0.05)
                assert not passive.peers and not idle.peers
                idle.set_active(True)
                await until(idle, lambda: idle.length == 5)
                assert len(passive.peers) == 1
                assert wanted == []  # a session was there
                idle.set_active(False)  # nobody downloads any more: the channel is closed, not the connection
                await until(idle, lambda: not idle.peers)
                assert source.links == 1

    run(scene)


def test_the_owner_of_a_core_is_notified_that_a_peer_has_opened_it() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(5))
        writer.store.close_core(writer.core)
        wanted: list[bytes] = []
        async with (
            Corestore(writer.store, on_core_requested=wanted.append) as source,
            Corestore(memory_store()) as target,
        ):
            copy = target.get(writer.core.key)
            async with joined(source, target):
                await until(copy, lambda: copy.length == 5)
                assert wanted == [writer.core.discovery_key]

    run(scene)


def test_a_session_that_is_not_active_hears_of_news_and_fetches_them_once_it_is() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(3))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            copy = target.get(writer.core.key)
            copy.download()
            async with joined(source, target):
                source.get(writer.core.key)
                await copy.synced()
                copy.set_active(False)
                news: list[int] = []
                copy.subscribe(
                    lambda notice: (
                        news.append(notice.length) if isinstance(notice, UpgradeAvailable) else None
                    )
                )
                append(writer, source, b"later")
                await until(copy, lambda: news == [4])
                assert copy.length == 3
                copy.set_active(True)
                await copy.synced()
                await until(copy, lambda: copy.length == 4 and copy.core.complete)

    run(scene)
