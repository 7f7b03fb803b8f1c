"""Reading over a network: how many round trips a reader waits for."""

from __future__ import annotations

from functools import cache

import pytest

from hypercore.bee import Bee
from hypercore.bee.lookahead import MAX_WINDOW
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.errors import InvalidContent
from support.content import RemoteSource, bee_with, collect, numbered


@cache
def scattered_blocks(count: int) -> tuple[bytes | None, ...]:
    log = MemorySource()
    writer = BeeWriter(log)
    for i in range(count):
        writer.put(b"%05d" % (i * 7919 % count), b"")
    return tuple(log.blocks)


def scattered(count: int) -> RemoteSource:
    """A bee whose keys were written one by one, far from their order."""
    return RemoteSource(scattered_blocks(count))


@pytest.mark.slow
def test_a_listing_waits_for_a_small_part_of_its_blocks() -> None:
    for reverse in (False, True):
        source = scattered(5000)
        entries = source.travel(collect(Bee(source).iterate(reverse=reverse)))
        assert [e.key for e in entries] == numbered(5000)[:: -1 if reverse else 1]
        assert source.trips < 35
        assert 100 < source.max_in_flight <= 2 * MAX_WINDOW


def test_hints_that_a_busy_source_ignored_are_repeated() -> None:
    source = scattered(5000)
    source.room = 64
    assert len(source.travel(collect(Bee(source).iterate()))) == 5000
    assert source.trips < 1.5 * 5000 / 64
    history = scattered(5000)
    history.room = 64
    assert len(history.travel(collect(Bee(history).history()))) == 5000
    assert history.trips < 0.6 * 5000


def test_without_prefetching_each_block_is_a_trip() -> None:
    class Plain(RemoteSource):
        prefetch = None  # type: ignore[assignment]

    source = Plain(scattered(500).remote)
    assert len(source.travel(collect(Bee(source).iterate()))) == 500
    assert source.trips == 500


def test_a_look_up_waits_once_for_each_level() -> None:
    source = scattered(5000)
    assert source.travel(Bee(source).get(b"02500")) is not None
    # A node comes with the keys of the one above it, its own keys with one trip more
    assert source.trips <= 7
    assert source.fetched < 80


def test_a_short_range_of_a_large_bee_fetches_little_of_it() -> None:
    source = scattered(5000)
    entries = source.travel(collect(Bee(source).iterate(gte=b"02000", lt=b"02005")))
    assert len(entries) == 5
    assert source.fetched < 200


def test_a_limit_is_not_overrun() -> None:
    source = scattered(5000)
    entries = source.travel(collect(Bee(source).iterate(limit=20)))
    assert len(entries) == 20
    assert source.fetched < 200
    single = scattered(5000)
    assert len(single.travel(collect(Bee(single).iterate(limit=1)))) == 1
    assert single.fetched < 20


def test_what_is_here_already_is_not_waited_for() -> None:
    source = scattered(1000)
    source.blocks = list(source.remote)
    assert len(source.travel(collect(Bee(source).iterate()))) == 1000
    assert source.trips == 0


def test_the_lookahead_keeps_quiet_about_broken_nodes_until_they_are_reached() -> None:
    blocks = bee_with(*numbered(300)).blocks
    source = RemoteSource(blocks)
    source.remote[240] = b"\xff"
    seen: list[int] = []

    async def read() -> None:
        async for entry in Bee(source).iterate():
            seen.append(entry.seq)

    with pytest.raises(InvalidContent):
        source.travel(read())
    assert seen == list(range(1, 240))


def test_history_is_fetched_in_large_steps() -> None:
    source = scattered(2000)
    assert len(source.travel(collect(Bee(source).history()))) == 2000
    assert source.trips < 20
