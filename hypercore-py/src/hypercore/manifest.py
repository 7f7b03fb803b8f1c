"""Manifests: the signers of a core, and the key that follows from them.

The key of a core is the hash of its manifest, so any peer's manifest can be verified. The exception are
*compat* cores (the default up to hypercore 10): their key is the signer's public key, and their manifest
follows from it.

Format: hypercore lib/messages.js, `manifest` (versions 0 to 3); lib/verifier.js for the rules (11.37.1). Flag
bits of versions 1 and up: 1 allowPatch, 2 prologue, 4 linked, 8 userData.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .codec import Reader, Writer
from .crypto import blake2b_256, namespace
from .errors import FrameDecodeError

MAX_VERSION = 3
"""Newest supported manifest version (hypercore lib/messages.js refuses more)."""

MAX_SIGNERS = 256
"""Signers accepted in a manifest. The official decoder stops only at the array limit of 2^20."""

MAX_LINKED = 256
"""Linked cores accepted in a manifest. The official decoder stops only at the array limit of 2^20."""

MAX_USER_DATA_BYTES = 64 * 1024
"""Bytes of user data accepted in a manifest. The official decoder has no limit of its own."""

_BLAKE2B = 0
_ED25519 = 0
_V0_STATIC, _V0_SINGLE, _V0_MULTI = 0, 1, 2
_PATCH, _PROLOGUE, _LINKED, _USER_DATA = 1, 2, 4, 8

DEFAULT_NAMESPACE = namespace("hypercore", 4)
"""Default namespace of a signer."""

_MANIFEST = namespace("hypercore", 3)
_BLOBS = namespace("hyperdrive", 0)


class Signer(NamedTuple):
    """An Ed25519 key that signs heads; `namespace` (32 bytes) separates signatures of different cores."""

    namespace: bytes
    public_key: bytes


class Prologue(NamedTuple):
    """The tree hash of the first `length` blocks, which need no signature. Version 0 has no length."""

    hash: bytes
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The signers of a core. Its hash is the core's key; the key of a compat core is that of its signer."""

    version: int = 1
    allow_patch: bool = False
    """Whether signers may have signed a longer tree than the verified one."""
    quorum: int
    """Number of signatures needed. 0 only for static cores, which never grow beyond their prologue."""
    signers: tuple[Signer, ...]
    prologue: Prologue | None = None
    linked: tuple[bytes, ...] | None = None
    """Keys (32 bytes each) of cores that belong to this one. Version 2 and up."""
    user_data: bytes | None = None
    """Any bytes of the author. Version 2 and up."""

    @classmethod
    def create(
        cls,
        public_keys: tuple[bytes, ...],
        *,
        version: int = 1,
        quorum: int | None = None,
        allow_patch: bool = False,
        prologue: Prologue | None = None,
    ) -> Manifest:
        """A manifest over `public_keys` in the default namespace; without `quorum`, a majority must sign."""
        majority = len(public_keys) // 2 + 1 if public_keys else 0
        return cls(
            version=version,
            allow_patch=allow_patch,
            quorum=majority if quorum is None else quorum,
            signers=tuple(Signer(DEFAULT_NAMESPACE, public_key) for public_key in public_keys),
            prologue=prologue,
        )

    @classmethod
    def default(cls, public_key: bytes) -> Manifest:
        """The manifest of a new core: version 1, one signer. Also the manifest of a compat core."""
        return cls.create((public_key,))

    def key(self) -> bytes:
        """The key of the (non-compat) core that this manifest describes."""
        return blake2b_256(_MANIFEST, self.to_bytes())

    def is_compat_with(self, core_key: bytes) -> bool:
        """Whether `core_key` is the bare public key of the only signer."""
        return len(self.signers) == 1 and self.signers[0].public_key == core_key

    def content_manifest(self, db_key: bytes) -> Manifest | None:
        """The manifest of the blobs core of the drive `db_key`, whose own manifest this is.

        None for compat and version 0 drives: they always name their blobs core in the header instead.
        Source: hyperdrive index.js, `generateContentManifest` (13.3.4).
        """
        if self.version < 1 or self.is_compat_with(db_key):
            return None
        return Manifest(
            version=self.version,
            allow_patch=self.allow_patch,
            quorum=self.quorum,
            signers=tuple(
                Signer(blake2b_256(_BLOBS, db_key, signer.namespace), signer.public_key)
                for signer in self.signers
            ),
        )

    # --- encoding

    def to_bytes(self) -> bytes:
        """Return the encoded manifest."""
        w = Writer()
        self.encode(w)
        return bytes(w)

    def encode(self, w: Writer) -> None:
        """Write the fields."""
        w.uint(self.version)
        if self.version == 0:
            self._encode_v0(w)
            return
        flags = (
            (_PATCH if self.allow_patch else 0)
            | (_PROLOGUE if self.prologue is not None else 0)
            | (_LINKED if self.linked is not None else 0)
            | (_USER_DATA if self.user_data is not None else 0)
        )
        w.uint(flags).uint(_BLAKE2B).uint(self.quorum).array(self.signers, _write_signer)
        if self.prologue is not None:
            w.fixed32(self.prologue.hash).uint(self.prologue.length)
        if self.linked is not None:
            w.array(self.linked, Writer.fixed32)
        if self.user_data is not None:
            w.buffer(self.user_data)

    def _encode_v0(self, w: Writer) -> None:
        w.uint(_BLAKE2B)
        if self.prologue is not None and not self.signers:
            w.uint(_V0_STATIC).fixed32(self.prologue.hash)
        elif self.quorum == 1 and len(self.signers) == 1 and not self.allow_patch:
            w.uint(_V0_SINGLE)
            _write_signer(w, self.signers[0])
        else:
            w.uint(_V0_MULTI).uint(_PATCH if self.allow_patch else 0).uint(self.quorum)
            w.array(self.signers, _write_signer)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Decode a manifest; trailing bytes are ignored. Raises FrameDecodeError."""
        return cls.decode(Reader(data))

    @classmethod
    def decode(cls, r: Reader) -> Manifest:
        """Decode a manifest. Raises FrameDecodeError for unknown versions, types, hashes and signatures, and
        beyond the limits."""
        version = r.uint()
        if version == 0:
            return cls._decode_v0(r)
        if version > MAX_VERSION:
            raise FrameDecodeError(f"manifest version {version} is newer than {MAX_VERSION}")
        flags = r.uint()
        _expect_hash(r)
        quorum = r.uint()
        signers = _read_signers(r)
        return cls(
            version=version,
            allow_patch=bool(flags & _PATCH),
            quorum=quorum,
            signers=signers,
            prologue=Prologue(r.fixed32(), r.uint()) if flags & _PROLOGUE else None,
            linked=tuple(r.array(Reader.fixed32, limit=MAX_LINKED)) if flags & _LINKED else None,
            user_data=_read_user_data(r) if flags & _USER_DATA else None,
        )

    @classmethod
    def _decode_v0(cls, r: Reader) -> Manifest:
        _expect_hash(r)
        kind = r.uint()
        if kind == _V0_STATIC:
            return cls(version=0, quorum=0, signers=(), prologue=Prologue(r.fixed32(), 0))
        if kind == _V0_SINGLE:
            return cls(version=0, quorum=1, signers=(_read_signer(r),))
        if kind == _V0_MULTI:
            flags = r.uint()
            return cls(version=0, allow_patch=bool(flags & _PATCH), quorum=r.uint(), signers=_read_signers(r))
        raise FrameDecodeError(f"manifest of unknown type {kind}")


def _expect_hash(r: Reader) -> None:
    if (kind := r.uint()) != _BLAKE2B:
        raise FrameDecodeError(f"manifest with unknown hash {kind}")


def _write_signer(w: Writer, signer: Signer) -> None:
    w.uint(_ED25519).fixed32(signer.namespace).fixed32(signer.public_key)


def _read_signer(r: Reader) -> Signer:
    if (kind := r.uint()) != _ED25519:
        raise FrameDecodeError(f"manifest with unknown signature {kind}")
    return Signer(r.fixed32(), r.fixed32())


def _read_signers(r: Reader) -> tuple[Signer, ...]:
    return tuple(r.array(_read_signer, limit=MAX_SIGNERS))


def _read_user_data(r: Reader) -> bytes:
    size = r.uint()
    if size > MAX_USER_DATA_BYTES:
        raise FrameDecodeError(
            f"manifest with {size} bytes of user data, at most {MAX_USER_DATA_BYTES} are accepted"
        )
    return r.fixed(size)
