"""What a key names, against drives and bees written by the official packages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.bee import Header
from hypercore.manifest import Manifest
from workers.engine.model.kind import Finding, Kind, derived_blobs_key, inspect

from ....support.paths import VECTORS


def vectors(family: str) -> dict[str, Any]:
    return {
        case["name"]: case["output"] for case in json.loads((VECTORS / "data" / f"{family}.json").read_text())
    }


DRIVES = vectors("drive")
PUBLIC_KEY = bytes([7]) * 32


def blocks(case: dict[str, Any], name: str = "dbBlocks") -> list[bytes]:
    return [bytes.fromhex(block) for block in case[name]]


@pytest.mark.parametrize("name", ["five-files", "after-del-and-overwrite", "dedup-blockmap", "batch"])
def test_a_drive_is_seen_and_its_blobs_key_follows_from_the_manifest(name: str) -> None:
    case = DRIVES[name]
    key, manifest = bytes.fromhex(case["driveKey"]), Manifest.from_bytes(bytes.fromhex(case["driveManifest"]))
    expected = Finding(Kind.DRIVE, blobs=bytes.fromhex(case["contentKey"]))
    first, second, *_ = blocks(case)
    assert inspect(key, manifest, first, second) == expected
    assert inspect(key, manifest, first) == expected


def test_a_content_feed_in_the_header_wins_over_the_derivation() -> None:
    case = DRIVES["contentFeed-in-header"]
    key = bytes.fromhex(case["driveKey"])
    first, second, *_ = blocks(case)
    expected = Finding(Kind.DRIVE, blobs=bytes.fromhex(case["contentKey"]))
    assert inspect(key, None, first, second) == expected
    assert inspect(key, Manifest.default(PUBLIC_KEY), first, second) == expected
    assert derived_blobs_key(key, Manifest.default(PUBLIC_KEY)) != expected.blobs


def test_an_encrypted_drive_looks_like_a_core_that_may_have_blobs() -> None:
    case = DRIVES["encrypted-drive"]
    key, manifest = bytes.fromhex(case["driveKey"]), Manifest.from_bytes(bytes.fromhex(case["driveManifest"]))
    first, second, *_ = blocks(case)
    assert inspect(key, manifest, first, second) == Finding(
        Kind.CORE, probe=bytes.fromhex(case["contentKey"])
    )


def test_an_encrypted_drive_is_a_drive_when_its_kind_is_given() -> None:
    case = DRIVES["encrypted-drive"]
    key, manifest = bytes.fromhex(case["driveKey"]), Manifest.from_bytes(bytes.fromhex(case["driveManifest"]))
    expected = Finding(Kind.DRIVE, blobs=bytes.fromhex(case["contentKey"]))
    assert inspect(key, manifest, blocks(case)[0], given=Kind.DRIVE) == expected
    assert inspect(key, manifest, None, given=Kind.DRIVE) == expected


def test_a_bee_is_seen_and_has_no_blobs() -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    plain = Header().encode()
    assert inspect(manifest.key(), manifest, plain) == Finding(Kind.BEE)


def test_a_bee_with_metadata_of_its_own_is_no_drive_once_its_first_entry_is_here() -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    header = Header(has_metadata=True).encode()
    entry = bytes.fromhex("0a051203080100") + b"\x12\x03key\x1a\x05value"
    assert inspect(manifest.key(), manifest, header).kind is Kind.DRIVE
    assert inspect(manifest.key(), manifest, header, entry) == Finding(Kind.BEE)


WRITERS = [
    "0200010b7b2268656c6c6f223a317d0221021fdb1832a09a01524584f2a9cd3668977d15651ea31220c89917d7d25c81aef0",
    "02018487f9e6efb39b831e0d943109192299e72c342a09647df94f7bcaddc5f61d0c0301000a21021fdb1832a09a0152"
    "4584f2a9cd3668977d15651ea31220c89917d7d25c81aef00401070000",
]
"""First blocks of two writers of one autobase, written by the official package (7.28.1)."""


@pytest.mark.parametrize("block", WRITERS)
def test_a_writer_of_an_autobase_is_seen(block: str) -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    raw = bytes.fromhex(block)
    assert inspect(manifest.key(), manifest, raw) == Finding(Kind.CORE, is_writer=True)
    for damaged in (raw[:-1], raw + b"\0", b"\x01" + raw[1:], raw[:1] + b"\x05" + raw[2:]):
        assert not inspect(manifest.key(), manifest, damaged).is_writer


@given(st.binary(max_size=200))
def test_any_first_block_is_a_core_at_least(block: bytes) -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    found = inspect(manifest.key(), manifest, block, secrets=(bytes(32),))
    assert found.kind is not None
    assert not inspect(PUBLIC_KEY, None, block).is_writer or block[0] == 2


def test_other_blocks_are_a_core() -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    for block in (b"", b"hello", b"\x00" * 40, b"\x0a\xff\xff\xff", b"\x0a\x05other"):
        assert inspect(manifest.key(), manifest, block).kind is Kind.CORE


def test_nothing_is_reported_before_the_first_block() -> None:
    manifest = Manifest.default(PUBLIC_KEY)
    assert inspect(manifest.key(), manifest, None) == Finding()
    assert inspect(manifest.key(), None, None) == Finding()


def test_what_a_person_says_wins() -> None:
    case = DRIVES["five-files"]
    key, manifest = bytes.fromhex(case["driveKey"]), Manifest.from_bytes(bytes.fromhex(case["driveManifest"]))
    assert inspect(key, manifest, blocks(case)[0], given=Kind.CORE) == Finding(Kind.CORE)
    assert inspect(key, manifest, blocks(case)[0], given=Kind.BEE) == Finding(Kind.BEE)
    assert inspect(key, manifest, None, given=Kind.CORE) == Finding(Kind.CORE)


def test_no_blobs_key_follows_from_compat_cores_old_manifests_and_unsigned_ones() -> None:
    compat = Manifest.default(PUBLIC_KEY)
    assert derived_blobs_key(PUBLIC_KEY, compat) is None
    old = Manifest.create((PUBLIC_KEY,), version=0)
    assert derived_blobs_key(old.key(), old) is None
    static = Manifest.create((), quorum=0)
    assert derived_blobs_key(static.key(), static) is None
    assert derived_blobs_key(PUBLIC_KEY, None) is None
