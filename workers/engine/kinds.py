"""What a key names: a core, a bee or a drive. Nothing in the key tells; the manifest and block 0 do.

Sources: hyperbee lib/messages.js `Header`, hyperdrive index.js `ready`/`getContentManifest` (13.3.4).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from hypercore.bee import Header, detect_kind
from hypercore.manifest import Manifest

KEY_BYTES = 32


class Kind(Enum):
    """What a key names."""

    CORE = "core"
    BEE = "bee"
    DRIVE = "drive"


class Role(Enum):
    """What a core is to the key it belongs to."""

    CORE = "core"
    BEE = "bee"
    DB = "db"
    """The bee of a drive: names and metadata. Its key is the drive's."""
    BLOBS = "blobs"
    """The contents of a drive's files."""


MAIN_ROLE = {Kind.CORE: Role.CORE, Kind.BEE: Role.BEE, Kind.DRIVE: Role.DB}
"""The role of the core that the key itself names."""


class Finding(NamedTuple):
    """What is known of a key."""

    kind: Kind | None = None
    """None: not seen yet."""
    blobs: bytes | None = None
    """Key of the blobs core of a drive, once known."""
    probe: bytes | None = None
    """Key that the blobs core would have if this core, unreadable to us, were an encrypted drive. Whether it
    is, shows when a peer turns out to have that core."""


def inspect(
    key: bytes,
    manifest: Manifest | None,
    block0: bytes | None,
    block1: bytes | None = None,
    *,
    told: Kind | None = None,
) -> Finding:
    """What `key` names, as far as its manifest and its first two blocks say (None: not here).

    `told` is what a person said it is: that wins, since an encrypted drive or bee looks like any core. Block
    0 of a drive may name the blobs core; if it does not, its key follows from the manifest.
    """
    if told is Kind.CORE or told is Kind.BEE:
        return Finding(told)
    derived = derived_blobs_key(key, manifest)
    if block0 is None:
        # A drive, we are told: its blobs core may be fetched from the first moment on.
        return Finding(told, blobs=derived) if told is Kind.DRIVE else Finding()
    seen = Kind(detect_kind(block0, block1))
    if seen is Kind.CORE:
        return Finding(Kind.DRIVE, blobs=derived) if told is Kind.DRIVE else Finding(seen, probe=derived)
    feed = Header.decode(block0).content_feed
    if feed is not None and len(feed) >= KEY_BYTES:
        return Finding(Kind.DRIVE, blobs=feed[:KEY_BYTES])
    if (seen is Kind.DRIVE or told is Kind.DRIVE) and derived is not None:
        return Finding(Kind.DRIVE, blobs=derived)
    return Finding(Kind.BEE)


def derived_blobs_key(key: bytes, manifest: Manifest | None) -> bytes | None:
    """The key of the blobs core of the drive `key`, or None where it does not follow from the manifest.

    It does not for compat cores, manifests of version 0 and unsigned cores: such drives name it in block 0.
    """
    if manifest is None or not manifest.signers:
        return None
    content = manifest.content_manifest(key)
    return None if content is None else content.key()
