"""Proof of availability: control names random blocks, the worker answers with what it would send any peer.

A proof is a `data` message of the replication protocol with block, upgrade from nothing and manifest. It can
be verified with the key alone and cannot be made without the block.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .message import Count, Key, Message, Seconds, Text

MAX_BLOCKS = 8
"""Blocks of a challenge."""
MAX_PROOF_CHARS = 22 << 20
"""Base64 characters of the largest block (15 MiB) with its proof, and of all proofs of an answer. If blocks
are larger than control expected, the worker leaves out the last ones."""
MIN_CUT_CHARS = 1 << 20
"""Base64 characters that an answer must have before proofs may be left out: one more block would not have
fitted."""
MAX_ANSWER_BYTES = MAX_PROOF_CHARS + (64 << 10)
"""The `limit` in bytes of envelopes that carry an answer."""


class Challenge(Message, frozen=True, kw_only=True):
    """A request for proofs of blocks."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    key: Key
    """The key of the replica."""
    core: Key
    """The core that is challenged: the key itself, or the blobs core of a drive."""
    blocks: Annotated[list[Count], Meta(min_length=1, max_length=MAX_BLOCKS)]
    deadline: Seconds


class BlockProof(Message, frozen=True, kw_only=True):
    """The proof that a block is stored."""

    block: Count
    data: Annotated[str, Meta(max_length=MAX_PROOF_CHARS)]
    """Base64 of a `data` message. Empty: the block is missing."""


class Answer(Message, frozen=True, kw_only=True):
    """The proofs that a worker gives to a challenge."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    core: Key
    proofs: Annotated[list[BlockProof], Meta(max_length=MAX_BLOCKS)]
    """In the order of the challenge; the last ones may be missing (`is_whole`)."""
    error: Text = ""

    def is_whole(self, blocks: list[int]) -> bool:
        """Whether these are proofs of all `blocks`, or of as many leading ones as fit into an answer."""
        proven = [proof.block for proof in self.proofs]
        if proven == blocks:
            return True
        size = sum(len(proof.data) for proof in self.proofs)
        return bool(proven) and proven == blocks[: len(proven)] and size >= MIN_CUT_CHARS
