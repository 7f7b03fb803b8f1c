"""Drives made by the official library: keys, listings, checkouts, contents."""

from __future__ import annotations

from typing import Any

import pytest

from hypercore.blocks import MemorySource
from hypercore.crypto import blake2b_256
from hypercore.drive import Drive, derived_blobs_key, find_blobs_key
from hypercore.drive.writer import DriveWriter
from hypercore.errors import InvalidContent
from hypercore.manifest import Manifest
from support.content import content, drive_of, listed, run, unhex, vectors

CASES = vectors("drive")
by_name = pytest.mark.parametrize("case", CASES, ids=[v["name"] for v in CASES])

BIG = bytes((i * 2654435761 >> 24) & 255 for i in range(150000))

CONTENTS = {
    "/hello.txt": b"hello world",
    "/bin/run.sh": b"#!/bin/sh\n",
    "/meta.json": b"{}",
    "/big.bin": BIG,
}
LATER = {"/hello.txt": b"hello 2", "/empty": b"", "/meta.json": b"{}", "/big.bin": BIG}
A, B, C = b"\1" * 65536, b"\2" * 65536, b"\3" * 1000
DEDUPLICATED = {**LATER, "/dedup.bin": A + B + B + C}
BATCH = {**DEDUPLICATED, **{f"/batch/{i}": b"b%d" % i for i in range(3)}}
EXPECTED = {
    "five-files": CONTENTS,
    "after-del-and-overwrite": LATER,
    "dedup-blockmap": DEDUPLICATED,
    "batch": BATCH,
    "contentFeed-in-header": {"/legacy.txt": b"legacy"},
    "encrypted-drive": {"/secret.txt": b"top secret"},
}


def manifest(output: dict[str, Any], name: str = "driveManifest") -> Manifest | None:
    return Manifest.from_bytes(bytes.fromhex(output[name])) if name in output else None


def blob_blocks(case: dict[str, Any]) -> list[bytes]:
    """The blocks of the blobs core; the vectors keep only the hash of large ones, which we can compute."""
    large = [BIG[i : i + 65536] for i in range(0, len(BIG), 65536)] + [A, B, C]
    by_hash = {blake2b_256(block).hex(): block for block in large}
    blocks = case["output"]["blobBlocks"]
    return [bytes.fromhex(b) if isinstance(b, str) else by_hash[b["blake2b256"]] for b in blocks]


def open_drive(case: dict[str, Any], **options: Any) -> Drive:
    output = case["output"]
    key = bytes.fromhex(output["driveKey"])
    db = MemorySource(unhex(output["dbBlocks"]), key=key, manifest=manifest(output))
    blobs = MemorySource(blob_blocks(case), manifest=manifest(output, "contentManifest") or manifest(output))
    if "encryptionKey" in case["inputs"]:
        options["encryption_key"] = bytes.fromhex(case["inputs"]["encryptionKey"])
    return drive_of(db, blobs, **options)


@by_name
def test_listing_is_that_of_the_official_reader(case: dict[str, Any]) -> None:
    check_listing(open_drive(case), case["output"]["listing"])


def check_listing(drive: Drive, listing: list[dict[str, Any]]) -> None:
    entries = listed(drive.list())
    assert [(e.seq, e.path) for e in entries] == [(e["seq"], e["key"]) for e in listing]
    for entry, expected in zip(entries, listing, strict=True):
        value = expected["value"]
        assert (entry.executable, entry.linkname) == (value["executable"], value["linkname"])
        assert entry.metadata == value["metadata"]
        blob = value["blob"]
        assert (entry.blob is None) == (blob is None)
        if entry.blob is not None:
            assert entry.blob.block_map == blob.pop("blockMap", False)
            assert set(blob.values()) == set(entry.blob[:4])


@by_name
def test_contents_are_what_was_put_in(case: dict[str, Any]) -> None:
    drive = open_drive(case)
    expected = EXPECTED[case["name"]]
    files = [entry for entry in listed(drive.list()) if entry.kind == "file"]
    assert {entry.path for entry in files} == set(expected)
    for entry in files:
        assert content(drive.read(entry.path)) == expected[entry.path]
        assert run(drive.size(entry)) == len(expected[entry.path])


@by_name
def test_the_blobs_key_is_found(case: dict[str, Any]) -> None:
    key = bytes.fromhex(case["output"]["contentKey"])
    drive = open_drive(case)
    assert run(drive.blobs_key()) == run(find_blobs_key(drive.db)) == key
    if "driveManifest" in case["output"]:
        assert derived_blobs_key(drive.db.manifest, drive.key) == key


def test_the_checkout_is_that_of_the_official_reader() -> None:
    case = next(v for v in CASES if "checkoutVersion" in v["output"])
    old = open_drive(case).checkout(case["output"]["checkoutVersion"])
    check_listing(old, case["output"]["checkoutListing"])
    assert content(old.read("/hello.txt")) == b"hello world"
    assert old.version == case["output"]["checkoutVersion"]


def test_without_its_key_an_encrypted_drive_names_only_its_blobs_core() -> None:
    case = next(v for v in CASES if v["name"] == "encrypted-drive")
    drive = open_drive({**case, "inputs": {}})
    assert derived_blobs_key(drive.db.manifest, drive.key) == bytes.fromhex(case["output"]["contentKey"])
    with pytest.raises(InvalidContent):
        run(drive.header())
    with pytest.raises(InvalidContent):
        run(drive.blobs_key())
    assert run(open_drive({**case, "inputs": {}}, blobs_key=b"k" * 32).blobs_key()) == b"k" * 32


def test_replayed_changes_write_the_same_blocks() -> None:
    db, blobs = MemorySource(), MemorySource()
    drive = DriveWriter(db, blobs)

    def check(name: str) -> None:
        case = next(v for v in CASES if v["name"] == name)
        assert db.blocks == unhex(case["output"]["dbBlocks"])
        assert blobs.blocks == blob_blocks(case)

    drive.put("/hello.txt", b"hello world")
    drive.put("/bin/run.sh", b"#!/bin/sh\n", executable=True)
    drive.put("/meta.json", b"{}", metadata={"mtime": 123, "tags": ["a", "b"]})
    drive.symlink("/link", "/hello.txt")
    drive.put("/big.bin", BIG)
    check("five-files")
    assert drive.delete("/bin/run.sh")
    drive.put("/hello.txt", b"hello 2")
    drive.put("/empty", b"")
    check("after-del-and-overwrite")
    drive.put("/dedup.bin", [A, B, A, C], deduplicate=True)
    drive.put("/dedup.bin", [A, B, B, C], deduplicate=True)
    check("dedup-blockmap")
    with drive.batch() as batch:
        for i in range(3):
            batch.put(f"/batch/{i}", b"b%d" % i)
    check("batch")
