"""Finds the blobs core of a drive.

Rules: hyperdrive index.js (13.3.4), `_openBlobsFromHeader` and `getContentKey`. The header of the db may
name the core; if it does not, its key follows from the manifest of the db. The manifest arrives with the
first head, so the blobs core of an encrypted drive is known without the encryption key.
"""

from __future__ import annotations

from ..bee.messages import PROTOCOL, Header
from ..blocks import BlockSource
from ..errors import InvalidContent
from ..manifest import Manifest


def derived_blobs_key(manifest: Manifest | None, db_key: bytes) -> bytes | None:
    """The key that follows from the manifest of the db. None for compat and version 0 drives, which always
    name it in the header."""
    if manifest is None:
        return None
    content = manifest.content_manifest(db_key)
    return None if content is None else content.key()


def blobs_key_of(header: Header, manifest: Manifest | None, db_key: bytes) -> bytes:
    """The key of the blobs core, for the header of the db. Raises InvalidContent if there can be none."""
    if header.protocol != PROTOCOL:
        raise InvalidContent(f"the core holds {header.protocol[:40]!r}, not a drive")
    if header.content_feed:
        if len(header.content_feed) < 32:
            raise InvalidContent(f"drive: the key of its blobs core has {len(header.content_feed)} bytes")
        return header.content_feed[:32]
    key = derived_blobs_key(manifest, db_key)
    if key is None:
        raise InvalidContent("drive: its header names no blobs core, and none follows from its manifest")
    return key


async def find_blobs_key(db: BlockSource) -> bytes:
    """The key of the blobs core of an open (or decrypted) db. Waits for its first block."""
    if db.length == 0:
        await db.update()
    header = Header.decode(await db.get(0))
    return blobs_key_of(header, db.manifest, db.key)
