"""Multi-signatures: the signatures of a quorum in the signature field of an upgrade.

Manifests of version 1 and up use the first form, even for a single signer (68 bytes); version 0 manifests
with several signers use the other. Format: hypercore lib/messages.js, `multiSignature` and `multiSignaturev0`
(11.37.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .codec import Reader, Writer
from .errors import FrameDecodeError
from .node import Node, read_node, write_node

MAX_PROOFS = 256
"""Signatures accepted in one multi-signature: as many as a manifest may have signers."""

MAX_PATCH_NODES = 4096
"""Nodes accepted in the patch that all signatures of a multi-signature share.

One signer needs about 106 at most.
"""

MAX_SIGNATURE_BYTES = 256 * 1024
"""Bytes accepted in one multi-signature: enough for all of the above. Unused bytes would be stored."""


class SignerProof(NamedTuple):
    """One signature of the quorum."""

    signer: int
    """Index into the signers of the manifest."""
    signature: bytes
    patch: int = 0
    """Blocks by which the signed tree is longer than the verified one."""
    patch_end: int = 0
    """Length of the signed tree. Only version 0 has it, and no implementation reads it."""
    patch_nodes: tuple[int, ...] = ()
    """Its part of the shared nodes. Only version 0 has it, and no implementation reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiSignature:
    """The signatures of a quorum, and the nodes that extend the tree to the signed ones."""

    proofs: tuple[SignerProof, ...]
    patch: tuple[Node, ...] = ()
    """Tree nodes beyond the verified tree, shared by all proofs."""

    def encode(self, *, version: int) -> bytes:
        """The signature field for a manifest of that version."""
        w = Writer()
        w.array(self.proofs, _write_proof_v0 if version == 0 else _write_proof)
        w.array(self.patch, write_node)
        return bytes(w)

    @classmethod
    def decode(cls, data: bytes, *, version: int) -> MultiSignature:
        """Decode the signature field. Raises FrameDecodeError."""
        if len(data) > MAX_SIGNATURE_BYTES:
            raise FrameDecodeError(
                f"signature of {len(data)} bytes, at most {MAX_SIGNATURE_BYTES} are accepted"
            )
        r = Reader(data)
        proofs = r.array(_read_proof_v0 if version == 0 else _read_proof, limit=MAX_PROOFS)
        return cls(proofs=tuple(proofs), patch=tuple(r.array(read_node, limit=MAX_PATCH_NODES)))


def _write_proof(w: Writer, proof: SignerProof) -> None:
    w.uint(proof.signer).fixed64(proof.signature).uint(proof.patch)


def _read_proof(r: Reader) -> SignerProof:
    return SignerProof(r.uint(), r.fixed64(), r.uint())


def _write_proof_v0(w: Writer, proof: SignerProof) -> None:
    w.uint(1 if proof.patch else 0).uint(proof.signer).fixed64(proof.signature)
    if proof.patch:
        w.uint(proof.patch_end).uint(proof.patch).array(proof.patch_nodes, Writer.uint)


def _read_proof_v0(r: Reader) -> SignerProof:
    has_patch = r.uint() & 1
    signer, signature = r.uint(), r.fixed64()
    if not has_patch:
        return SignerProof(signer, signature)
    end, length = r.uint(), r.uint()
    return SignerProof(signer, signature, length, end, tuple(r.array(Reader.uint, limit=MAX_PATCH_NODES)))
