"""Making and verifying proofs of availability, the answers to challenges.

An answer is what a peer would be sent that requests the block and knows only the key: a `data` message of the
replication protocol with the block, an upgrade from nothing, and the manifest.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import NamedTuple, Protocol

from hypercore.codec import Reader, Writer
from hypercore.errors import HypercoreError
from hypercore.merkle import verify_standalone
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade

from .audit import BlockProof


class ProofFailed(Exception):
    """The answer is no proof. The text has the reason."""


class ProofResult(NamedTuple):
    """The block is stored, under a head that the key's owner signed."""

    block: int
    size: int
    """Bytes of the block."""
    length: int
    """Blocks of the core under that head."""
    fork: int


class Prover(Protocol):
    """The part of a stored core that proofs need."""

    @property
    def fork(self) -> int:
        """Fork of the core."""

    @property
    def length(self) -> int:
        """Blocks of the core."""

    def prove(self, request: Request) -> Data:
        """Answer a request. Raises a HypercoreError if a block or node is missing."""


def prove_block(core: Prover, block: int) -> BlockProof:
    """Return the proof that `block` is stored, empty if it is missing or cannot be proven."""
    request = Request(
        id=1,
        fork=core.fork,
        block=RequestBlock(block, 0),
        upgrade=RequestUpgrade(0, core.length),
        manifest=True,
    )
    try:
        data = core.prove(request)
    except HypercoreError:
        return BlockProof(block=block, data="")
    writer = Writer()
    data.encode(writer)
    return BlockProof(block=block, data=b64encode(bytes(writer)).decode())


def verify_block(core: bytes, proof: BlockProof) -> ProofResult:
    """Verify a proof of the core with the key `core`. Returns what it proves. Raises ProofFailed."""
    if not proof.data:
        raise ProofFailed(f"block {proof.block} is not there")
    try:
        reader = Reader(b64decode(proof.data, validate=True))
        data = Data.decode(reader)
        verified = verify_standalone(data, core, None)
    except (Base64Error, HypercoreError, ValueError) as error:
        raise ProofFailed(f"block {proof.block}: {error}") from None
    if reader.remaining:
        raise ProofFailed(f"block {proof.block}: bytes behind the message")
    if verified.block is None or verified.block[0] != proof.block or verified.head is None:
        raise ProofFailed(f"block {proof.block} was asked for, another was proven")
    head = verified.head
    return ProofResult(proof.block, len(verified.block[1]), head.length, head.fork)
