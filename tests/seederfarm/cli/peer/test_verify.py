"""`seederfarm verify` over data directories made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypercore.core import disk_store
from hypercore.crypto import KeyPair
from hypercore.keys import encode_key
from seederfarm.cli import main

from ....support.corruption import flip

PAIR = KeyPair.from_seed(bytes([5]) * 32)


def make(directory: Path, blocks: list[bytes]) -> bytes:
    with disk_store(directory) as store:
        core = store.create_core(PAIR)
        core.append(blocks, PAIR)
        return core.key


def run(directory: Path, *keys: bytes) -> Result:
    return CliRunner().invoke(main, ["verify", *(key.hex() for key in keys), "--data", str(directory)])


@pytest.mark.parametrize("size", [300, 65_536], ids=["small", "large"])
def test_sound_cores_are_counted(tmp_path: Path, size: int) -> None:
    key = make(tmp_path, [os.urandom(size) for _ in range(40)])
    for result in (run(tmp_path), run(tmp_path, key)):
        assert result.exit_code == 0, result.output
        assert f"{encode_key(key)} 40 blocks" in result.output
        assert "1 core checked, all sound" in result.output


@pytest.mark.parametrize("size", [300, 65_536], ids=["small", "large"])
def test_a_damaged_block_is_named_and_dropped_and_sets_the_exit_status(tmp_path: Path, size: int) -> None:
    blocks = [os.urandom(size) for _ in range(40)]
    key = make(tmp_path, blocks)
    flip(tmp_path, blocks[17])
    result = run(tmp_path, key)
    assert result.exit_code == 1
    assert f"{encode_key(key)} block 17 is damaged\n" in result.output
    assert result.stderr.startswith("seederfarm: 1 core of 1 had damage")
    assert result.stderr.count("\n") == 1
    with disk_store(tmp_path) as store:
        core = store.open_core(key, create=False)
        assert core is not None
        assert [index for index in range(40) if not core.has(index)] == [17]
    assert run(tmp_path, key).exit_code == 0


def test_a_key_that_is_not_stored_is_reported(tmp_path: Path) -> None:
    make(tmp_path, [b"x"])
    result = run(tmp_path, bytes(32))
    assert result.exit_code == 1
    assert "is not stored here" in result.stderr


def test_a_missing_directory_is_reported_and_not_made(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing")
    assert result.exit_code == 1
    assert "nothing at" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_directory_in_use_is_checked_as_it_is(tmp_path: Path) -> None:
    with disk_store(tmp_path):
        result = run(tmp_path)
    assert result.exit_code == 0, result.stderr


def test_an_empty_store_has_nothing_wrong(tmp_path: Path) -> None:
    disk_store(tmp_path).close()
    assert run(tmp_path).exit_code == 0


def test_a_part_of_a_core_is_sound_as_far_as_it_is_here(tmp_path: Path) -> None:
    key = make(tmp_path, [b"a", b"b", b"c"])
    with disk_store(tmp_path) as store:
        core = store.open_core(key)
        assert core is not None
        core.clear(1, 2)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "2 of 3 blocks" in result.output
