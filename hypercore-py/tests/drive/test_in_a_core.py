"""Drives in real cores: written, signed, and read from where they are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercore.bee import kind_of
from hypercore.blocks import BlockSource, CoreLog, CoreSource, EncryptingLog
from hypercore.core import Core, Store, memory_store
from hypercore.crypto import KeyPair
from hypercore.drive import Drive, derived_blobs_key
from hypercore.drive.extract import extract
from hypercore.drive.writer import DriveWriter
from hypercore.encryption import BlockCipher
from hypercore.errors import BlockNotAvailable, LocalProtocolError, SnapshotNotAvailable
from hypercore.manifest import Manifest
from support.content import content, listed, run

OWNER = KeyPair.from_seed(b"\1" * 32)
BIG = bytes(range(256)) * 1000
SECRET = b"\2" * 32


def new_drive(store: Store) -> tuple[Core, Core]:
    """The empty cores of a drive whose blobs key follows from its manifest."""
    manifest = Manifest.default(OWNER.public_key)
    contents = manifest.content_manifest(manifest.key())
    assert contents is not None
    cores = []
    for described in (manifest, contents):
        core = store.open_core(described.key())
        assert core is not None
        core.set_manifest(described)
        cores.append(core)
    return cores[0], cores[1]


def open_drive(store: Store, db: Core, encryption_key: bytes | None = None) -> Drive:
    async def open_blobs(key: bytes) -> BlockSource:
        core = store.open_core(key, create=False)
        assert core is not None
        return CoreSource(core)

    return Drive(CoreSource(db), open_blobs, encryption_key=encryption_key)


def test_a_drive_is_written_into_cores_and_read_back() -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        writer = DriveWriter(CoreLog(db, OWNER), CoreLog(blobs, OWNER))
        writer.put("/big", BIG)
        writer.put("/small", b"small", executable=True)
        drive = open_drive(store, db)
        assert run(drive.blobs_key()) == derived_blobs_key(db.manifest, db.key) == blobs.key
        assert run(kind_of(drive.db)) == "drive"
        assert [entry.path for entry in listed(drive.list())] == ["/big", "/small"]
        assert content(drive.read("/big")) == BIG
        assert content(drive.read("/big", 200_000, 100)) == BIG[200_000:200_100]
        assert db.check_head()
        assert blobs.check_head()


def test_a_range_is_read_where_only_its_blocks_are_stored() -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        DriveWriter(CoreLog(db, OWNER), CoreLog(blobs, OWNER)).put("/big", BIG)
        blobs.clear(0, 2)
        drive = open_drive(store, db)
        assert content(drive.read("/big", 200_000, 100)) == BIG[200_000:200_100]
        with pytest.raises(BlockNotAvailable):
            content(drive.read("/big"))


def test_an_encrypted_drive_is_written_and_read_with_its_key() -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        logs = [EncryptingLog(CoreLog(core, OWNER), BlockCipher(core.key, SECRET)) for core in (db, blobs)]
        DriveWriter(*logs).put("/big", BIG)
        assert run(kind_of(CoreSource(db))) == "core"
        drive = open_drive(store, db, SECRET)
        assert content(drive.read("/big")) == BIG
        assert content(drive.read("/big", 131_072, 70_000)) == BIG[131_072:201_072]


def test_no_other_peer_can_write_it() -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        peer = KeyPair.from_seed(b"\3" * 32)
        with pytest.raises(LocalProtocolError):
            DriveWriter(CoreLog(db, peer), CoreLog(blobs, OWNER)).put("/a", b"")
        assert db.length == 0


def test_a_truncation_is_followed_by_new_readers_and_noticed_by_old_ones() -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        writer = DriveWriter(CoreLog(db, OWNER), CoreLog(blobs, OWNER))
        writer.put("/old", b"old")
        drive = open_drive(store, db)
        names: list[str] = []

        async def read() -> None:
            async for entry in drive.list():
                names.append(entry.path)
                db.truncate(1, OWNER)
                writer.put("/new", b"new")

        with pytest.raises(SnapshotNotAvailable):
            writer.put("/other", b"other")
            run(read())
        assert [entry.path for entry in listed(drive.list())] == ["/new"]
        assert content(drive.read("/new")) == b"new"


def test_what_is_not_stored_is_reported_by_an_extraction(tmp_path: Path) -> None:
    with memory_store() as store:
        db, blobs = new_drive(store)
        writer = DriveWriter(CoreLog(db, OWNER), CoreLog(blobs, OWNER))
        writer.put("/a", b"here")
        writer.put("/b", BIG)
        blobs.clear(3, 4)
        summary = run(extract(open_drive(store, db), tmp_path))
        assert (tmp_path / "a").read_bytes() == b"here"
        assert [(failure.path, failure.reason) for failure in summary.failures] == [
            ("/b", "block 3 is not stored here")
        ]
