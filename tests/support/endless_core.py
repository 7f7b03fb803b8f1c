"""A core of up to 2^52 equal blocks, whose writer stores nothing: nodes of one depth have the same hash."""

from __future__ import annotations

from hypercore.crypto import KeyPair
from hypercore.manifest import Manifest
from hypercore.merkle.flat_tree import full_roots
from hypercore.merkle.hashing import leaf_hash, parent_hash
from hypercore.merkle.head import TreeHead
from hypercore.merkle.proof import create_proof
from hypercore.merkle.signing import sign_head
from hypercore.node import Node
from hypercore.wire.data import Data
from hypercore.wire.request import Request


class EndlessCore:
    """A `NodeSource`, and what answers requests from it."""

    def __init__(self, length: int, block: bytes = b"", *, seed: bytes = bytes([99]) * 32) -> None:
        self.block = block
        self.key_pair = KeyPair.from_seed(seed)
        self.manifest = Manifest.default(self.key_pair.public_key)
        self.key = self.manifest.key()
        self._by_depth = [Node(0, len(block), leaf_hash(block))]
        roots = tuple(map(self.get, full_roots(length)))
        head = TreeHead(fork=0, length=length, byte_length=len(block) * length, roots=roots)
        self.signature = sign_head(self.manifest, self.key, head, self.key_pair)
        self.length = length

    def get(self, index: int, /) -> Node:
        """The node at a flat-tree index."""
        depth = (~index & (index + 1)).bit_length() - 1
        while len(self._by_depth) <= depth:
            below = self._by_depth[-1]
            size = 2 * below.size
            self._by_depth.append(Node(0, size, parent_hash(size, below.hash, below.hash)))
        return self._by_depth[depth]._replace(index=index)

    def answer(self, request: Request) -> Data:
        """What an honest peer with all of it would answer."""
        value = None if request.block is None else self.block
        return create_proof(self, self.length, self.signature, request, value, manifest=self.manifest)
