"""What a core says about itself, and reading from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercore.core import Core
from hypercore.crypto import discovery_key
from hypercore.errors import BlockNotAvailable, InvalidRequest
from hypercore.merkle.flat_tree import full_roots
from hypercore.merkle.hashing import leaf_node
from hypercore.testing.cores import download, fetch_block, fetch_upgrade, make_writer, sample_blocks
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade
from support.core_places import DiskPlace, Place, contents, whole

LARGE = [bytes([n]) * 65536 for n in range(40)]


@pytest.fixture(params=["small", "large"])
def blocks(request: pytest.FixtureRequest) -> list[bytes]:
    """Content that is kept as rows of the database, and content that is kept in a file."""
    return sample_blocks(100) if request.param == "small" else LARGE


def reader_of(place: Place, source: Core) -> Core:
    core = place.store.open_core(source.key)
    assert core is not None
    return core


def test_a_written_core_reads_back_before_and_after_a_flush_and_a_restart(
    place: Place, blocks: list[bytes]
) -> None:
    writer = make_writer(store=place.store)
    writer.core.append(blocks, writer.key_pair)
    assert whole(writer.core) == blocks
    place.store.flush()
    assert whole(writer.core) == blocks
    place.restart()
    assert whole(place.core(writer.core.key)) == blocks


def test_a_downloaded_core_is_the_same_as_its_source(place: Place, blocks: list[bytes]) -> None:
    source = make_writer(blocks).core
    core = reader_of(place, source)
    download(source, core)
    assert core.complete
    assert core.head == source.head
    assert core.manifest == source.manifest
    place.restart()
    core = place.core(source.key)
    assert core.head == source.head
    assert core.manifest == source.manifest
    assert whole(core) == blocks
    assert all(core.node(index) == source.node(index) for index in range(2 * len(blocks)))
    assert all(sound for _, sound in core.verify())


def test_an_empty_core_is_complete_and_has_nothing(place: Place) -> None:
    core = place.store.open_core(bytes(32))
    assert core is not None
    assert (core.length, core.byte_length, core.fork, core.roots) == (0, 0, 0, ())
    assert core.complete
    assert core.get(0) is None
    assert not core.has(0)
    assert core.discovery_key == discovery_key(bytes(32))
    assert core.have_bytes == 0
    assert core.check_head()
    assert list(core.verify()) == []


def test_empty_blocks_are_blocks(place: Place) -> None:
    writer = make_writer([b"", b"a", b"", b""], store=place.store)
    place.restart()
    assert whole(place.core(writer.core.key)) == [b"", b"a", b"", b""]


def test_blocks_fetched_out_of_order_survive_a_restart(place: Place, blocks: list[bytes]) -> None:
    source = make_writer(blocks).core
    core = reader_of(place, source)
    wanted = [30, 2, 3, 4, 17, 0, 31, 39]
    download(source, core, wanted)
    place.restart()
    core = place.core(source.key)
    assert contents(core) == {index: blocks[index] for index in wanted}
    assert core.contiguous_length == 1
    assert not core.complete
    assert core.have_bytes == sum(len(blocks[index]) for index in wanted)
    download(source, core)
    assert whole(core) == blocks
    assert core.have_bytes == core.byte_length


def test_have_bytes_follows_downloads_and_clears(place: Place) -> None:
    blocks = sample_blocks(40)
    source = make_writer(blocks).core
    core = reader_of(place, source)
    download(source, core, [1, 5, 6])
    assert core.have_bytes == sum(len(blocks[index]) for index in (1, 5, 6))
    core.apply(fetch_block(source, core, 7))
    core.clear(5, 6)
    assert core.have_bytes == sum(len(blocks[index]) for index in (1, 6, 7))


def test_byte_ranges_and_seeks_report_the_places_of_blocks(place: Place) -> None:
    blocks = sample_blocks(33)
    core = make_writer(blocks, store=place.store).core
    offset = 0
    for index, block in enumerate(blocks):
        assert core.byte_range(index) == (offset, len(block))
        assert core.seek(offset) == (index, 0)
        assert core.seek(offset + len(block) - 1) == (index, len(block) - 1)
        offset += len(block)
    for index in (20, 3, 4, 32):  # not in order
        assert core.byte_range(index)[0] == sum(map(len, blocks[:index]))
    with pytest.raises(BlockNotAvailable):
        core.byte_range(33)


def test_missing_nodes_shrinks_as_neighbours_arrive(place: Place) -> None:
    source = make_writer(sample_blocks(64)).core
    core = reader_of(place, source)
    core.apply(fetch_upgrade(source, core))
    assert core.missing_nodes(5) == 6
    core.apply(fetch_block(source, core, 4))
    assert core.missing_nodes(5) == 0
    assert core.missing_nodes(6) == 1
    assert core.missing_nodes(64) == 0  # beyond: comes with an upgrade


def test_can_upgrade_from_needs_the_roots_of_the_other_length(place: Place) -> None:
    source = make_writer(sample_blocks(20)).core
    core = reader_of(place, source)
    assert source.can_upgrade_from(0)
    assert source.can_upgrade_from(7)
    assert not source.can_upgrade_from(20)
    assert not source.can_upgrade_from(21)
    core.apply(fetch_upgrade(source, core))
    assert core.can_upgrade_from(16)  # a root of 20 as well
    assert not core.can_upgrade_from(7)
    download(source, core)
    assert core.can_upgrade_from(7)


def test_prove_answers_what_is_here_and_names_what_is_not(place: Place, blocks: list[bytes]) -> None:
    source = make_writer(blocks).core
    core = reader_of(place, source)
    download(source, core, [3])
    place.store.flush()
    request = Request(id=7, fork=0, block=RequestBlock(3, 2))
    assert core.prove(request) == source.prove(request)
    with pytest.raises(BlockNotAvailable):
        core.prove(Request(id=7, fork=0, block=RequestBlock(4, 0)))
    with pytest.raises(InvalidRequest):
        core.prove(Request(id=7, fork=0, block=RequestBlock(len(blocks), 0)))
    with pytest.raises(InvalidRequest):
        core.prove(Request(id=7, fork=0, upgrade=RequestUpgrade(0, len(blocks) + 1)))


def test_the_manifest_is_given_to_peers_unless_the_core_is_compat(place: Place) -> None:
    plain = make_writer([b"x"], store=place.store, seed=1).core
    compat = make_writer([b"x"], store=place.store, seed=2, compat=True).core
    ask = Request(id=1, fork=0, manifest=True)
    assert plain.has_manifest
    assert plain.prove(ask).manifest == plain.manifest
    assert not compat.has_manifest
    assert compat.prove(ask).manifest is None
    assert compat.key == make_writer(seed=2).key_pair.public_key


def test_a_compat_core_is_downloaded_without_a_manifest(place: Place) -> None:
    source = make_writer(sample_blocks(9), compat=True).core
    core = reader_of(place, source)
    download(source, core)
    place.restart()
    core = place.core(source.key)
    assert whole(core) == sample_blocks(9)
    assert not core.has_manifest
    assert core.check_head()


def test_the_nodes_of_every_block_are_those_of_its_content(place: Place) -> None:
    blocks = sample_blocks(300)
    core = make_writer(blocks, store=place.store).core
    place.restart()
    core = place.core(core.key)
    assert [core.node(2 * index) for index in range(300)] == [leaf_node(i, b) for i, b in enumerate(blocks)]
    assert [root.index for root in core.roots] == list(full_roots(300))
    assert core.node(600) is None


def test_meta_of_cores_and_of_the_store_is_kept(place: Place) -> None:
    core = place.store.open_core(bytes(32))
    assert core is not None
    core.meta = b"drive"
    place.store.set_meta("identity", b"secret")
    assert place.store.get_meta("identity") == b"secret"
    place.crash()
    assert place.store.get_meta("identity") is None
    assert place.store.find(discovery_key(bytes(32))) is None
    core = place.store.open_core(bytes(32))
    assert core is not None
    core.meta = b"drive"
    place.store.set_meta("identity", b"secret")
    place.restart()
    assert place.core(bytes(32)).meta == b"drive"
    assert place.store.get_meta("identity") == b"secret"
    place.store.set_meta("identity", None)
    place.restart()
    assert place.store.get_meta("identity") is None


def test_have_bytes_adds_up_long_and_short_runs(place: Place) -> None:
    blocks = sample_blocks(200)
    source = make_writer(blocks).core
    core = reader_of(place, source)
    wanted = [*range(3, 90), 100, 102, *range(150, 153)]
    download(source, core, wanted)
    place.restart()
    assert place.core(source.key).have_bytes == sum(len(blocks[index]) for index in wanted)


@pytest.mark.slow
def test_a_core_of_many_pages_lives_with_a_small_cache(tmp_path: Path) -> None:
    """40,000 blocks: 625 pages of nodes and two of bits, of which next to nothing may stay in memory."""
    place = DiskPlace(tmp_path / "data", page_cache_bytes=50_000)
    blocks = [b"%d" % index for index in range(40_000)]
    key = make_writer(blocks, store=place.store).core.key
    place.restart()
    core = place.core(key)
    for index in range(0, 40_000, 371):
        assert core.get(index) == blocks[index]
        assert core.prove(Request(id=1, fork=0, block=RequestBlock(index, 3))).block is not None
    core.clear(10, 35_000)
    core.clear(39_990)
    place.restart()
    core = place.core(key)
    assert list(core.bitfield.runs()) == [(0, 10), (35_000, 39_990)]
    assert core.get(36_000) == blocks[36_000]
    source = make_writer(blocks).core
    download(source, core, range(10, 33_000))
    place.restart()
    core = place.core(key)
    assert list(core.bitfield.runs()) == [(0, 33_000), (35_000, 39_990)]
    assert core.get(32_999) == blocks[32_999]
    place.close()
