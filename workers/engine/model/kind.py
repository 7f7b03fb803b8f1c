"""Detects whether a key names a core, a bee or a drive, from the manifest and block 0.

Sources: hyperbee lib/messages.js `Header`, hyperdrive index.js `ready`/`getContentManifest` (13.3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from hypercore.bee import Header, detect_kind
from hypercore.bee.kind import is_bee
from hypercore.encryption import PADDING, BlockCipher
from hypercore.manifest import Manifest

from .autobase import is_writer

KEY_BYTES = 32

MIN_HEADER_BYTES = PADDING + len(Header().encode())
"""Bytes of the shortest block 0 of an encrypted drive."""

MAX_HEADER_BYTES = 128
"""Bytes that such a block may have. Official writers produce 20 or 54 (hyperdrive index.js)."""

_SEALED_BYTES = PADDING + len(Header(has_metadata=True, content_feed=bytes(KEY_BYTES)).encode())
"""Bytes of one that names a blobs core."""


class Kind(Enum):
    """The kind of content that a key names."""

    CORE = "core"
    BEE = "bee"
    DRIVE = "drive"


class Role(Enum):
    """The role of a core for the key it belongs to."""

    CORE = "core"
    BEE = "bee"
    DB = "db"
    """The bee of a drive: names and metadata. Its key is the drive's."""
    BLOBS = "blobs"
    """The contents of a drive's files."""


MAIN_ROLE = {Kind.CORE: Role.CORE, Kind.BEE: Role.BEE, Kind.DRIVE: Role.DB}
"""The role of the core that the key itself names."""


class Finding(NamedTuple):
    """The known facts about the kind of a key."""

    kind: Kind | None = None
    """None: unknown."""
    blobs: bytes | None = None
    """Key of the blobs core of a drive, once known."""
    probe: bytes | None = None
    """Key of the blobs core that this unreadable core would have as an encrypted drive. A peer that has that
    core proves that it is one."""
    sealed: bool = False
    """Whether it may be an encrypted drive whose blobs core is named only in its first block (a core without
    a manifest, or with an old one)."""
    unlocked: bool = False
    """Whether one of the given encryption keys reads it."""
    is_writer: bool = False
    """Whether it is the core of one writer of an autobase."""


def inspect(
    key: bytes,
    manifest: Manifest | None,
    block0: bytes | None,
    block1: bytes | None = None,
    *,
    given: Kind | None = None,
    secrets: Sequence[bytes] = (),
    recorded: bytes | None = None,
) -> Finding:
    """Detect what `key` names from its manifest and first two blocks (None: not stored).

    `given` is the kind given by a person, which overrides detection, since an encrypted drive or bee looks
    like any core. Block 0 of a drive may name the blobs core; otherwise its key follows from the manifest.
    `secrets` are encryption keys that may read it; `recorded` is the blobs core that one of them showed
    earlier.
    """
    if given is Kind.CORE or given is Kind.BEE:
        return Finding(given)
    derived = derived_blobs_key(key, manifest)
    if block0 is None:
        # Given as a drive: its blobs core may be fetched at once.
        return Finding(given, blobs=derived) if given is Kind.DRIVE else Finding()
    seen = Kind(detect_kind(block0, block1))
    if seen is Kind.CORE and (plain := _unlock(key, manifest, block0, block1, secrets)) is not None:
        return inspect(key, manifest, *plain, given=given)._replace(unlocked=True)
    if seen is Kind.CORE:
        return _unreadable(block0, derived, given, recorded)
    feed = Header.decode(block0).content_feed
    if feed is not None and len(feed) >= KEY_BYTES:
        return Finding(Kind.DRIVE, blobs=feed[:KEY_BYTES])
    if (seen is Kind.DRIVE or given is Kind.DRIVE) and derived is not None:
        return Finding(Kind.DRIVE, blobs=derived)
    return Finding(Kind.BEE)


def _unreadable(block0: bytes, derived: bytes | None, given: Kind | None, recorded: bytes | None) -> Finding:
    """A core that cannot be read. It may be a drive that needs an encryption key."""
    doubtful = may_be_encrypted(block0)
    if derived is None and recorded is not None and doubtful:
        return Finding(Kind.DRIVE, blobs=recorded)
    sealed = derived is None and doubtful and len(block0) == _SEALED_BYTES
    if given is Kind.DRIVE:
        return Finding(Kind.DRIVE, blobs=derived, sealed=sealed)
    return Finding(Kind.CORE, probe=derived if doubtful else None, sealed=sealed, is_writer=is_writer(block0))


def may_be_encrypted(block0: bytes) -> bool:
    """Whether an unreadable block 0 may be the encrypted header of a drive: short, and random from the first
    byte to the last."""
    if not MIN_HEADER_BYTES <= len(block0) <= MAX_HEADER_BYTES or is_writer(block0):
        return False
    try:
        return not all(letter.isprintable() or letter in "\t\r\n" for letter in block0.decode())
    except UnicodeDecodeError:
        return True


def _unlock(
    key: bytes, manifest: Manifest | None, block0: bytes, block1: bytes | None, secrets: Sequence[bytes]
) -> tuple[bytes, bytes | None] | None:
    """The first blocks decrypted with one of the secrets. None if none fits."""
    if not MIN_HEADER_BYTES <= len(block0) <= MAX_HEADER_BYTES:
        return None
    compat = manifest is None or manifest.is_compat_with(key)
    for secret in secrets:
        cipher = BlockCipher(key, secret, compat=compat)
        plain = cipher.decrypt(0, block0)
        if is_bee(plain):
            known = block1 is not None and len(block1) >= PADDING
            return plain, cipher.decrypt(1, block1) if known and block1 is not None else None
    return None


def derived_blobs_key(key: bytes, manifest: Manifest | None) -> bytes | None:
    """The key of the blobs core of the drive `key`, or None if it does not follow from the manifest.

    That is so for compat cores, manifests of version 0 and unsigned cores: such drives name it in block 0.
    """
    if manifest is None or not manifest.signers:
        return None
    content = manifest.content_manifest(key)
    return None if content is None else content.key()
