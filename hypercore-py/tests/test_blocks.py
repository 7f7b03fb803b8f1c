"""Sources of blocks: in memory, in a stored core, and encrypted."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.blocks import CoreSource, DecryptingSource, EncryptingLog, MemorySource, prefetch_of
from hypercore.encryption import PADDING, BlockCipher
from hypercore.errors import BlockNotAvailable, InvalidContent
from hypercore.manifest import Manifest
from support.content import run, unhex, vector

ENCRYPTION_KEY = bytes.fromhex(vector("drive", "encrypted-drive")["inputs"]["encryptionKey"])


def encrypted_db() -> MemorySource:
    output = vector("drive", "encrypted-drive")["output"]
    return MemorySource(
        unhex(output["dbBlocks"]),
        key=bytes.fromhex(output["driveKey"]),
        manifest=Manifest.from_bytes(bytes.fromhex(output["driveManifest"])),
    )


def test_memory_has_what_it_was_given_and_no_more() -> None:
    source = MemorySource([b"a", None])
    assert (source.length, run(source.get(0)), source.byte_length) == (2, b"a", 1)
    for index in (1, 2, -1):
        with pytest.raises(BlockNotAvailable, match=str(index)):
            run(source.get(index))
    source.append([b"c"])
    source.truncate(1)
    assert (source.blocks, source.fork) == ([b"a"], 1)


class FakeHead(NamedTuple):
    length: int = 3
    fork: int = 2
    byte_length: int = 21


class FakeCore:
    key = bytes(32)
    manifest = Manifest.default(bytes(32))
    head = FakeHead()

    def get(self, index: int) -> bytes | None:
        assert 0 <= index < 3
        return None if index == 1 else b"block %d" % index

    def byte_range(self, index: int) -> tuple[int, int]:
        return index * 7, 7


def test_a_stored_core_is_read_as_it_lies() -> None:
    source = CoreSource(FakeCore())
    assert (source.key, source.length, source.fork) == (bytes(32), 3, 2)
    assert source.manifest is FakeCore.manifest
    assert run(source.get(2)) == source.peek(2) == b"block 2"
    assert source.byte_range(2) == (14, 7)
    assert run(source.update()) is False
    for index in (1, 3, -1):
        with pytest.raises(BlockNotAvailable):
            run(source.get(index))


def test_encrypted_blocks_of_an_official_drive_are_decrypted() -> None:
    source = DecryptingSource(encrypted_db(), ENCRYPTION_KEY)
    assert run(source.get(0)) == b"\x0a\x08hyperbee\x12\x00"
    assert source.peek is not None
    assert source.peek(0) == run(source.get(0))
    assert source.peek(5) is None
    assert b"/secret.txt" in run(source.get(1))


def test_a_wrong_key_gives_garbage_and_no_error() -> None:
    block = run(DecryptingSource(encrypted_db(), bytes(32)).get(0))
    assert len(block) == 12
    assert block != b"\x0a\x08hyperbee\x12\x00"


def test_a_block_too_short_to_be_encrypted_is_invalid_content() -> None:
    source = DecryptingSource(MemorySource([b"short"]), ENCRYPTION_KEY)
    with pytest.raises(InvalidContent, match="not encrypted"):
        run(source.get(0))


@given(st.lists(st.binary(max_size=100)), st.booleans())
def test_what_is_encrypted_is_decrypted_again(blocks: list[bytes], compat: bool) -> None:
    key = b"k" * 32
    # The key of a compat core is the public key in its manifest
    stored = MemorySource(key=key, manifest=Manifest.default(key if compat else b"p" * 32))
    log = EncryptingLog(stored, BlockCipher(key, ENCRYPTION_KEY, compat=compat))
    log.append(blocks)
    source = DecryptingSource(stored, ENCRYPTION_KEY)
    assert [run(source.get(i)) for i in range(source.length)] == blocks
    assert [log.peek(i) for i in range(log.length)] == blocks
    assert log.byte_length == sum(map(len, blocks))
    assert all(block not in (stored.blocks[i] or b"") for i, block in enumerate(blocks) if len(block) > 8)


def test_a_core_without_manifest_is_taken_for_a_compat_one() -> None:
    stored = MemorySource(key=b"k" * 32)
    EncryptingLog(stored, BlockCipher(stored.key, ENCRYPTION_KEY, compat=True)).append([b"hello"])
    assert run(DecryptingSource(stored, ENCRYPTION_KEY).get(0)) == b"hello"
    forced = DecryptingSource(stored, ENCRYPTION_KEY, compat=False)
    assert run(forced.get(0)) != b"hello"


def test_places_of_encrypted_blocks_leave_out_the_padding() -> None:
    class Placed(MemorySource):
        def byte_range(self, index: int) -> tuple[int, int]:
            return 100 * index, 100

    source = DecryptingSource(Placed([]), ENCRYPTION_KEY)
    assert source.byte_range is not None
    assert source.byte_range(3) == (3 * (100 - PADDING), 100 - PADDING)


def test_what_a_source_cannot_do_its_decryption_cannot_either() -> None:
    source = DecryptingSource(MemorySource([]), ENCRYPTION_KEY)
    assert prefetch_of(source) is None
    assert source.byte_range is None
