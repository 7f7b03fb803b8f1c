"""A writable drive: its two cores, made from one key pair, with writer and reader.

The blobs core of a drive follows from the manifest of its db (hyperdrive index.js,
`generateContentManifest`), so one key pair signs both, and one key is enough to find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..blocks import BlockSource, CoreLog, CoreSource, EncryptingLog, OwnCore, WritableLog
from ..crypto import KeyPair
from ..encryption import BlockCipher
from ..errors import LocalProtocolError
from ..manifest import Manifest
from .drive import Drive
from .writer import DriveWriter


class CoreMaker(Protocol):
    """Makes cores. Implemented by `hypercore.core.Store`."""

    def create_core(self, key_pair: KeyPair, *, manifest: Manifest | None = None) -> OwnCore: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableDrive:
    """A writable drive."""

    db: OwnCore
    """Names and metadata. Its key is that of the drive."""
    blobs: OwnCore
    writer: DriveWriter
    reader: Drive
    """A reader of the stored drive."""
    plain_blobs: WritableLog
    """The blocks of contents, decrypted."""

    @property
    def key(self) -> bytes:
        """The key of the db, which names the drive, 32 bytes."""
        return self.db.key


def writable_drive(
    store: CoreMaker, key_pair: KeyPair, *, encryption_key: bytes | None = None
) -> WritableDrive:
    """The drive of that key pair in a store; a new one is empty.

    `encryption_key` is 32 bytes; it must be the same each time, and readers need it beside the key. Flush the
    store before announcing. In the store of a corestore, keep sessions of both cores as long as you write.
    """
    db = store.create_core(key_pair)
    manifest = None if db.manifest is None else db.manifest.content_manifest(db.key)
    if manifest is None:
        raise LocalProtocolError("the manifest of the db names no blobs core")
    blobs = store.create_core(key_pair, manifest=manifest)
    db_log, blobs_log = (_log(core, key_pair, encryption_key) for core in (db, blobs))

    async def open_blobs(key: bytes) -> BlockSource:
        return CoreSource(blobs)

    drive = WritableDrive(
        db=db,
        blobs=blobs,
        writer=DriveWriter(db_log, blobs_log),
        reader=Drive(CoreSource(db), open_blobs, encryption_key=encryption_key),
        plain_blobs=blobs_log,
    )
    drive.writer.write_header()
    return drive


def _log(core: OwnCore, key_pair: KeyPair, encryption_key: bytes | None) -> WritableLog:
    log = CoreLog(core, key_pair)
    return log if encryption_key is None else EncryptingLog(log, BlockCipher(core.key, encryption_key))
