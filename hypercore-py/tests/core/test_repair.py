"""Bytes that change on the disk behind our back: noticed, not handed out, forgotten, fetched again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercore.core import Change, Core
from hypercore.errors import BlockNotAvailable
from hypercore.merkle.flat_tree import full_roots
from hypercore.testing.cores import download, make_writer, sample_blocks
from hypercore.wire.request import Request, RequestBlock
from support.core_places import DiskPlace, contents, whole

SMALL = sample_blocks(300)
LARGE = [n.to_bytes(2, "big") * 2000 + b"end" * (n % 7) for n in range(300)]


@pytest.fixture(params=["rows", "file"])
def blocks(request: pytest.FixtureRequest) -> list[bytes]:
    return SMALL if request.param == "rows" else LARGE


def database(disk: DiskPlace) -> sqlite3.Connection:
    return sqlite3.connect(disk.path / "cores.db", isolation_level=None)


def flip(disk: DiskPlace, core: Core, index: int) -> None:
    """Changes one bit of a stored block."""
    if core.storage.in_file:
        offset, size = core.byte_range(index)
        [path] = disk.path.glob("blocks/*/*.blocks")
        data = bytearray(path.read_bytes())
        data[offset + size // 2] ^= 16
        path.write_bytes(data)
        return
    db = database(disk)
    [(value,)] = db.execute("SELECT value FROM blocks WHERE number = ?", (index,))
    corrupt = bytearray(value)
    corrupt[len(corrupt) // 2] ^= 16
    db.execute("UPDATE blocks SET value = ? WHERE number = ?", (bytes(corrupt), index))
    db.close()


def damage_page(disk: DiskPlace, page: int, how: Callable[[bytes], bytes] | None = None) -> None:
    """Changes, or (without `how`) deletes, a stored page of tree nodes."""
    db = database(disk)
    [(nodes,)] = db.execute("SELECT nodes FROM tree_pages WHERE page = ?", (page,))
    if how is None:
        db.execute("DELETE FROM tree_pages WHERE page = ?", (page,))
    else:
        db.execute("UPDATE tree_pages SET nodes = ? WHERE page = ?", (how(nodes), page))
    db.close()


def bit_flipped(nodes: bytes) -> bytes:
    return nodes[:77] + bytes([nodes[77] ^ 1]) + nodes[78:]


def stored(disk: DiskPlace, blocks: list[bytes]) -> tuple[Core, Core]:
    """A source, and a complete copy on disk of which nothing is in memory."""
    source = make_writer(blocks).core
    copy = disk.store.open_core(source.key)
    assert copy is not None
    download(source, copy)
    disk.restart()
    return source, disk.core(source.key)


def test_a_flipped_bit_is_noticed_reported_and_fetched_again(disk: DiskPlace, blocks: list[bytes]) -> None:
    source, core = stored(disk, blocks)
    flip(disk, core, 7)
    changes: list[Change] = []
    core.add_listener(changes.append)
    assert core.get(6) == blocks[6]
    assert core.get(7) is None
    assert changes == [Change(lost=(7, 8), corrupt=True)]
    assert not core.has(7)
    assert not core.durable.get(7)
    assert core.get(7) is None
    assert len(changes) == 1
    assert core.get(8) == blocks[8]
    assert not core.complete
    disk.restart()  # it is remembered
    core = disk.core(source.key)
    assert contents(core) == {index: block for index, block in enumerate(blocks) if index != 7}
    download(source, core)
    disk.restart()
    assert whole(disk.core(source.key)) == blocks


def test_a_corrupt_block_is_not_served(disk: DiskPlace, blocks: list[bytes]) -> None:
    _, core = stored(disk, blocks)
    flip(disk, core, 3)
    with pytest.raises(BlockNotAvailable):
        core.prove(Request(id=1, fork=0, block=RequestBlock(3, 0)))
    assert not core.has(3)


def test_what_one_peer_was_given_the_next_is_given_from_memory_however_the_disk_is(
    disk: DiskPlace, blocks: list[bytes]
) -> None:
    _, core = stored(disk, blocks)
    request = Request(id=1, fork=0, block=RequestBlock(3, 0))
    first = core.prove(request)
    flip(disk, core, 3)
    flip(disk, core, 4)
    assert core.prove(request) == first
    with pytest.raises(BlockNotAvailable):  # nobody was given this one
        core.prove(Request(id=1, fork=0, block=RequestBlock(4, 0)))
    assert [index for index, sound in core.verify() if not sound] == [3]
    with pytest.raises(BlockNotAvailable):
        core.prove(request)


def test_a_block_of_another_history_is_not_served_from_memory(disk: DiskPlace) -> None:
    writer = make_writer(SMALL, store=disk.store)
    request = Request(id=1, fork=0, block=RequestBlock(7, 0))
    assert writer.core.prove(request).block == (7, SMALL[7], [])
    writer.truncate(7)
    writer.append(b"another")
    assert writer.core.prove(request).block == (7, b"another", [])


def test_a_scrub_finds_every_corrupt_block(disk: DiskPlace, blocks: list[bytes]) -> None:
    source, core = stored(disk, blocks)
    for index in (0, 17, len(blocks) - 1):
        flip(disk, core, index)
    assert [index for index, sound in core.verify() if not sound] == [0, 17, len(blocks) - 1]
    assert [index for index, sound in core.verify() if not sound] == []
    download(source, core)
    assert whole(core) == blocks


def test_a_scrub_goes_on_from_a_given_block_and_sees_changes(disk: DiskPlace) -> None:
    _, core = stored(disk, SMALL)
    assert next(core.verify(290)) == (290, True)
    seen = []
    for index, _ in core.verify(295):
        seen.append(index)
        core.clear(297, 299)
    assert seen == [295, 296, 299]
    assert core._listeners == []


def test_a_scrub_follows_a_core_that_is_cut_and_grows(disk: DiskPlace) -> None:
    writer = make_writer(SMALL, store=disk.store)
    seen = []
    for index, sound in writer.core.verify():
        seen.append(index)
        assert sound
        if index == 100:
            writer.truncate(80)
            writer.append(*SMALL[:90])
    assert seen == list(range(170))


@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_a_file_that_lost_its_end_is_noticed(disk: DiskPlace, cut: int) -> None:
    source, core = stored(disk, LARGE)
    [path] = disk.path.glob("blocks/*/*.blocks")
    with path.open("r+b") as file:
        file.truncate(cut)
    assert all(not sound for _, sound in core.verify())
    assert core.contiguous_length == 0
    download(source, core)
    disk.restart()
    assert whole(disk.core(source.key)) == LARGE


def test_a_deleted_file_is_noticed_and_made_again(disk: DiskPlace) -> None:
    source, core = stored(disk, LARGE)
    [path] = disk.path.glob("blocks/*/*.blocks")
    path.unlink()
    assert core.get(5) is None
    disk.restart()
    core = disk.core(source.key)
    assert all(not sound for _, sound in core.verify())
    download(source, core)
    disk.restart()
    assert whole(disk.core(source.key)) == LARGE


@pytest.mark.parametrize("page", range(4))
@pytest.mark.parametrize("damage", [bit_flipped, lambda nodes: b"", lambda nodes: nodes[:-40]])
def test_a_corrupt_tree_page_costs_its_blocks_only(
    disk: DiskPlace, blocks: list[bytes], page: int, damage: Callable[[bytes], bytes]
) -> None:
    source, core = stored(disk, blocks)
    damage_page(disk, page, damage)
    assert core.head == source.head
    changes: list[Change] = []
    core.add_listener(changes.append)
    seen = dict(core.verify())
    ok = {index for index, sound in seen.items() if sound}
    own = set(range(64 * page, min(64 * page + 64, len(blocks))))
    assert ok == set(range(len(blocks))) - own
    assert seen.keys() - ok == own
    assert changes == [Change(lost=(min(own), max(own) + 1), corrupt=True)]
    disk.restart()
    core = disk.core(source.key)
    assert contents(core).keys() == ok
    download(source, core)
    disk.restart()
    core = disk.core(source.key)
    assert whole(core) == blocks
    assert all(core.node(index) == source.node(index) for index in range(2 * len(blocks)))


@pytest.mark.parametrize("page", range(4))
def test_a_peer_is_not_blamed_for_our_corrupt_tree_page(disk: DiskPlace, page: int) -> None:
    """An answer that was asked for before the damage was noticed does not verify, and that is our fault."""
    source = make_writer(SMALL).core
    copy = disk.store.open_core(source.key)
    assert copy is not None
    download(source, copy, [index for index in range(300) if index != 64 * page + 5])
    answer = source.prove(Request(id=1, fork=0, block=RequestBlock(64 * page + 5, 0)))
    disk.restart()
    damage_page(disk, page, bit_flipped)
    core = disk.core(source.key)
    assert core.apply(answer) == Change()
    assert not core.has(64 * page + 5)
    assert core.missing_nodes(64 * page + 5) > 0
    download(source, core)
    assert whole(core) == SMALL


def test_all_tree_pages_corrupt_at_once_is_starting_over(disk: DiskPlace, blocks: list[bytes]) -> None:
    source, core = stored(disk, blocks)
    for page in range((2 * len(blocks) - 2) // 128 + 1):
        damage_page(disk, page, bit_flipped)
    assert not any(sound for _, sound in core.verify())
    assert core.head == source.head
    assert all(core.node(index) is not None for index in full_roots(len(blocks)))
    download(source, core)
    disk.restart()
    assert whole(disk.core(source.key)) == blocks


def test_a_missing_tree_page_is_noticed_like_a_corrupt_one(disk: DiskPlace, blocks: list[bytes]) -> None:
    source, core = stored(disk, blocks)
    damage_page(disk, 1)
    ok = {index for index, sound in core.verify() if sound}
    assert ok == set(range(len(blocks))) - set(range(64, 128))
    download(source, core)
    disk.restart()
    assert whole(disk.core(source.key)) == blocks


def test_a_writer_appends_after_losing_tree_pages(disk: DiskPlace) -> None:
    writer = make_writer(SMALL, store=disk.store)
    disk.restart()
    for page in range(4):
        damage_page(disk, page, bit_flipped)
    core = disk.core(writer.core.key)
    core.append([b"more"], writer.key_pair)
    assert core.check_head()
    assert [index for index, sound in core.verify() if sound] == [*range(256, 301)]
    source = make_writer([*SMALL, b"more"]).core
    download(source, core)
    assert whole(core) == [*SMALL, b"more"]


def test_nodes_that_contradict_each_other_are_thrown_away(disk: DiskPlace, blocks: list[bytes]) -> None:
    source, core = stored(disk, blocks)
    bad = core.node(2 * 70 + 1)
    assert bad is not None
    core.storage.nodes.put([bad._replace(hash=bytes(32))])  # as only a bug could
    unsound = [index for index, sound in core.verify() if not sound]
    assert unsound
    assert set(unsound) <= set(range(64, 128))
    disk.restart()
    core = disk.core(source.key)
    download(source, core)
    assert whole(core) == blocks
    assert all(sound for _, sound in core.verify())


def test_a_head_whose_signature_does_not_hold_makes_nothing_sound(disk: DiskPlace) -> None:
    source, _ = stored(disk, SMALL)
    disk.store.close()
    db = database(disk)
    db.execute("UPDATE cores SET signature = zeroblob(length(signature))")
    db.close()
    disk.crash()
    core = disk.core(source.key)
    assert not core.check_head()
    assert not any(sound for _, sound in core.verify())
    assert core.contiguous_length == 300  # nothing is thrown away for that


def test_corruption_in_the_bits_claims_blocks_that_are_not_there(disk: DiskPlace) -> None:
    source = make_writer(SMALL).core
    copy = disk.store.open_core(source.key)
    assert copy is not None
    download(source, copy, range(100))
    disk.store.flush()
    disk.store.close()
    db = database(disk)
    db.execute("UPDATE cores SET contiguous = 200")
    db.close()
    disk.crash()
    core = disk.core(source.key)
    assert [index for index, sound in core.verify() if not sound] == list(range(100, 200))
    download(source, core)
    assert whole(core) == SMALL


def test_only_the_file_of_the_core_is_touched(disk: DiskPlace, tmp_path: Path) -> None:
    first, core = stored(disk, LARGE)
    other = make_writer(LARGE[:280], store=disk.store, seed=5).core
    flip_path = max(disk.path.glob("blocks/*/*.blocks"), key=lambda path: path.stat().st_size)
    with flip_path.open("r+b") as file:
        file.write(b"rot")
    assert core.get(0) is None
    assert whole(other) == LARGE[:280]
    assert first.has(0)
