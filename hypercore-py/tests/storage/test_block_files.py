from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypercore.errors import StorageError, StoreFull
from hypercore.storage import BlockRun, Dropped
from hypercore.storage.block_files import WRITE_BUFFERS, WRITE_BYTES, BlockFiles
from support.storage_programs import open_descriptors


@pytest.fixture
def files(tmp_path: Path) -> BlockFiles:
    (tmp_path / "blocks").mkdir()
    return BlockFiles(tmp_path / "blocks", max_open=4)


def test_runs_are_written_at_their_places_and_read_back(files: BlockFiles) -> None:
    files.write(1, [BlockRun(0, 0, [b"abc", b"de"]), BlockRun(9, 100, [b"x" * 50])], create=True)
    assert files.read(1, 0, 5) == b"abcde"
    assert files.read(1, 3, 2) == b"de"
    assert files.read(1, 100, 50) == b"x" * 50
    files.write(1, [BlockRun(3, 5, [b"fg"])], create=False)
    assert files.read(1, 0, 7) == b"abcdefg"


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_more_blocks_than_one_write_takes(files: BlockFiles, size: int) -> None:
    blocks = [bytes([n % 256]) * size for n in range(2 * WRITE_BUFFERS + 3)]
    files.write(1, [BlockRun(0, 7, blocks)], create=True)
    assert files.read(1, 7, size * len(blocks)) == b"".join(blocks)


def test_blocks_larger_than_one_write(files: BlockFiles) -> None:
    block = os.urandom(WRITE_BYTES + 5)
    files.write(1, [BlockRun(0, 0, [b"a", block, b"b", block])], create=True)
    assert files.read(1, 1, len(block)) == block
    assert files.read(1, 2 + len(block), len(block)) == block


def test_a_short_write_is_continued(files: BlockFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev

    def short(descriptor: int, buffers: list[bytes], offset: int) -> int:
        return whole(descriptor, [b"".join(buffers)[:5]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    files.write(1, [BlockRun(0, 0, [b"abcdefgh", b"ijk"])], create=True)
    assert files.read(1, 0, 11) == b"abcdefghijk"


def test_creating_empties_what_a_crash_left(files: BlockFiles) -> None:
    files.write(1, [BlockRun(0, 0, [b"old old old"])], create=True)
    files.write(1, [BlockRun(0, 0, [b"new"])], create=True)
    assert files.read(1, 0, 3) == b"new"
    assert files.read(1, 0, 4) is None


def test_what_is_not_there_is_none(files: BlockFiles) -> None:
    assert files.read(5, 0, 1) is None
    files.write(5, [BlockRun(0, 0, [b"abc"])], create=True)
    assert files.read(5, 2, 2) is None
    assert files.read(5, 1 << 40, 1) is None
    assert files.read(5, 3, 0) == b""


def test_a_sector_the_disk_cannot_read_is_none(files: BlockFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(1, [BlockRun(0, 0, [b"abc"])], create=True)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert files.read(1, 0, 3) is None


def test_other_errors_of_reading_are_not_taken_for_corruption(
    files: BlockFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(1, [BlockRun(0, 0, [b"abc"])], create=True)

    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match="Too many open files"):
        files.read(1, 0, 3)


def test_open_files_are_bounded(files: BlockFiles) -> None:
    for core_id in range(1, 40):
        files.write(core_id, [BlockRun(0, 0, [b"%d" % core_id])], create=True)
    before = open_descriptors()
    for core_id in [*range(1, 40), 1, 2, 39]:
        assert files.read(core_id, 0, len(str(core_id))) == b"%d" % core_id
        assert files.open_files <= 4
    assert open_descriptors() <= before + 4
    files.close()
    assert open_descriptors() <= before


def test_files_spread_over_folders(files: BlockFiles, tmp_path: Path) -> None:
    paths = {files.path(core_id) for core_id in range(1, 2000)}
    assert len(paths) == 1999
    assert len({path.parent for path in paths}) == 256


def test_freed_room_goes_back_to_the_file_system(files: BlockFiles) -> None:
    files.write(1, [BlockRun(0, 0, [b"x" * (1 << 20)])], create=True)
    full = files.disk_bytes()
    files.free(1, [Dropped(0, 1, 1 << 18, 1 << 19)])
    assert files.read(1, 0, 1 << 18) == b"x" * (1 << 18)
    assert files.read(1, 1 << 19, 1 << 19) == b"x" * (1 << 19)
    assert files.read(1, 1 << 18, 1 << 18) == bytes(1 << 18)
    assert files.disk_bytes() <= full - (1 << 18)
    files.free(1, [Dropped(0, None, 1000, None)])
    assert files.path(1).stat().st_size == 1000


def test_freeing_beyond_the_end_or_at_an_unknown_place_does_nothing(files: BlockFiles) -> None:
    files.write(1, [BlockRun(0, 0, [b"abc"])], create=True)
    files.free(1, [Dropped(0, 1, 3, 9), Dropped(5, None, 100, None), Dropped(0, 3, None, None)])
    assert files.read(1, 0, 3) == b"abc"
    files.free(2, [Dropped(0, None, 0, None)])  # no such file


def test_the_sweep_deletes_files_of_unknown_cores_only(files: BlockFiles, tmp_path: Path) -> None:
    for core_id in (1, 257, 300):
        files.write(core_id, [BlockRun(0, 0, [b"abc"])], create=True)
    (tmp_path / "blocks" / "01" / "notes.txt").write_text("not ours")
    (tmp_path / "blocks" / "01" / "zz.blocks").write_text("not ours either")
    assert files.sweep({1, 300}) == 1
    assert files.read(1, 0, 3) == b"abc"
    assert files.read(257, 0, 3) is None
    assert (tmp_path / "blocks" / "01" / "notes.txt").exists()
    assert (tmp_path / "blocks" / "01" / "zz.blocks").exists()


def test_a_full_disk_has_its_own_error(files: BlockFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", fail)
    with pytest.raises(StoreFull, match="no space left"):
        files.write(1, [BlockRun(0, 0, [b"abc"])], create=True)
