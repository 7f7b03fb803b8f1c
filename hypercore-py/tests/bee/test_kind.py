"""Distinguishing drives from bees from cores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.bee import Header, detect_kind, is_bee, kind_of
from hypercore.bee.messages import encode_block
from hypercore.blocks import MemorySource
from support.content import run, unhex, vector, vectors

FILE, OTHER = encode_block(b"files\0/a", b"{}", []), encode_block(b"key", b"", [])


@pytest.mark.parametrize("case", ["five-files", "contentFeed-in-header"])
def test_official_drives_are_drives(case: str) -> None:
    blocks = unhex(vector("drive", case)["output"]["dbBlocks"])
    assert detect_kind(blocks[0]) == detect_kind(*blocks[:2]) == run(kind_of(MemorySource(blocks))) == "drive"
    assert run(kind_of(MemorySource(blocks[:1]))) == "drive"


def test_official_bees_are_bees() -> None:
    for case in vectors("bee"):
        if not case["name"].startswith("extension"):
            assert run(kind_of(MemorySource(unhex(case["inputs"]["blocks"])))) == "bee", case["name"]


def test_an_encrypted_drive_is_a_core_without_its_key() -> None:
    blocks = unhex(vector("drive", "encrypted-drive")["output"]["dbBlocks"])
    assert run(kind_of(MemorySource(blocks))) == "core"


def test_the_first_key_decides_where_the_header_leaves_doubt() -> None:
    named = Header(content_feed=bytes(32)).encode()
    assert detect_kind(named) == "drive"
    assert detect_kind(named, FILE) == "drive"
    assert detect_kind(named, OTHER) == "bee"
    assert detect_kind(named, b"\xff") == "bee"
    assert detect_kind(Header(content_feed=bytes(32), user_data=b"").encode()) == "bee"
    assert detect_kind(Header().encode(), FILE) == "bee"


@pytest.mark.parametrize(
    "block", [b"", b"\xff", b"hyperbee", b"\x0a\x05other", b"\x0a\x08hyperbe\xff", b"\x0a"]
)
def test_anything_else_is_a_core(block: bytes) -> None:
    assert detect_kind(block) == "core"
    assert not is_bee(block)


@given(st.binary(max_size=60), st.none() | st.binary(max_size=60))
def test_detection_raises_nothing(block0: bytes, block1: bytes | None) -> None:
    assert detect_kind(block0, block1) in ("core", "bee", "drive")
