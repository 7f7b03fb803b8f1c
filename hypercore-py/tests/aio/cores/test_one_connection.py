"""Sessions whose channels are opened on chosen connections."""

from __future__ import annotations

import asyncio

from hypercore.aio.cores.corestore import Corestore
from hypercore.core import memory_store
from hypercore.testing.cores import make_writer, sample_blocks
from support.corestores import TIMEOUT, eventually, joined, run


def test_a_session_for_one_connection_opens_its_channel_there_alone_and_follows_the_writer() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(5))
        async with (
            Corestore(writer.store) as source,
            Corestore(memory_store()) as other,
            Corestore(memory_store()) as target,
        ):
            source.get(writer.core.key, active=False)
            other.get(writer.core.key, active=False)
            copy = target.get(writer.core.key, everywhere=False)
            copy.download()
            async with joined(source, target), joined(other, target):
                first, second = target._links.values()
                assert not copy.peers and first.muxer.channels == second.muxer.channels == 0
                assert target.open_on(copy, first)
                await copy.synced()
                writer.core.append([b"one more"], writer.key_pair)
                async with asyncio.timeout(TIMEOUT):
                    await copy.wait_until(lambda: copy.length == 6)
                assert [peer.link for peer in copy.peers] == [first]
                assert second.muxer.channels == 0
                everywhere = target.get(writer.core.key)
                await eventually(lambda: len(copy.peers) == 2)
                everywhere.close()
            copy.close()
            assert not target.open_on(copy, first)  # the connection has ended

    run(scene)


def test_a_connection_that_comes_later_gets_no_channel_of_such_a_session() -> None:
    async def scene() -> None:
        writer = make_writer(sample_blocks(2))
        async with Corestore(writer.store) as source, Corestore(memory_store()) as target:
            source.get(writer.core.key, active=False)
            copy = target.get(writer.core.key, everywhere=False)
            async with joined(source, target):
                [link] = target._links.values()
                assert link.muxer.channels == 0
                assert target.open_on(copy, link)
                await eventually(lambda: len(copy.peers) == 1)

    run(scene)


def test_values_of_the_store_are_flushed_soon_when_the_program_reports_a_change() -> None:
    async def scene() -> None:
        async with Corestore(memory_store()) as cores:
            cores.store.set_meta("a", b"1")
            cores.mark_dirty()
            await eventually(lambda: not cores.store.dirty)

    run(scene)
