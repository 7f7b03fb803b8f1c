"""Trees for the tests: a publisher who holds everything, and a reader who starts with nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from hypercore.codec import Reader, Writer
from hypercore.crypto import KeyPair
from hypercore.manifest import Manifest
from hypercore.merkle.batch import TreeBatch
from hypercore.merkle.hashing import leaf_node
from hypercore.merkle.head import TreeHead
from hypercore.merkle.offsets import missing_nodes
from hypercore.merkle.proof import create_proof
from hypercore.merkle.signing import sign_head
from hypercore.merkle.verify import Verified, verify_data
from hypercore.node import Node
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade

from .vectors import load as _load

Json = dict[str, Any]
unhex = bytes.fromhex


@cache
def load(family: str) -> list[Json]:
    return _load(f"data/{family}")


def vector(family: str, name: str) -> Json:
    return next(case for case in load(family) if case["name"] == name)


def key_pair(number: int) -> KeyPair:
    """Key pair `number` of the vectors."""
    return KeyPair.from_seed(bytes([number]) * 32)


def make_block(index: int) -> bytes:
    """Block `index` of the vectors."""
    return bytes((index * 31 + j) & 255 for j in range(index * 7 % 23 + 1))


def make_blocks(count: int, start: int = 0) -> list[bytes]:
    return [make_block(i) for i in range(start, start + count)]


def from_json_node(value: Json) -> Node:
    return Node(value["index"], value["size"], unhex(value["hash"]))


def from_json_request(value: Json, *, request_id: int = 7, fork: int = 0, manifest: bool = False) -> Request:
    def part(name: str, kind: Any) -> Any:
        found = value.get(name)
        return None if found is None else kind(*found.values())

    return Request(
        id=request_id,
        fork=fork,
        block=part("block", RequestBlock),
        hash=part("hash", RequestHash),
        seek=part("seek", RequestSeek),
        upgrade=part("upgrade", RequestUpgrade),
        manifest=manifest,
    )


def indices(nodes: Sequence[Node] | None) -> list[int] | None:
    return None if nodes is None else [node.index for node in nodes]


def encode(data: Data) -> bytes:
    w = Writer()
    data.encode(w)
    return bytes(w)


def decode(encoded: bytes) -> Data:
    return Data.decode(Reader(encoded))


def same_tree(one: TreeHead, other: TreeHead) -> bool:
    """Whether two heads differ only in their signatures, which have room for bits that say nothing."""
    return replace(one, signature=None) == replace(other, signature=None)


class Publisher:
    """A writer with all blocks and nodes of its core."""

    def __init__(
        self,
        blocks: Sequence[bytes] = (),
        *,
        keys: KeyPair | None = None,
        manifest: Manifest | None = None,
        key: bytes | None = None,
        fork: int = 0,
    ) -> None:
        self.keys = keys or key_pair(1)
        self.manifest = manifest or Manifest.default(self.keys.public_key)
        self.key = key or self.manifest.key()
        self.blocks: list[bytes] = []
        self.nodes: dict[int, Node] = {}
        self.head = TreeHead(fork=fork)
        self.append(blocks)

    def append(self, blocks: Sequence[bytes], *, signed: bool = True) -> None:
        batch = TreeBatch(self.head.roots, fork=self.head.fork)
        for block in blocks:
            batch.append_root(leaf_node(len(self.blocks), block), claimed=False)
            self.blocks.append(block)
        self.nodes |= {node.index: node for node in batch.new}
        signed = signed and bool(self.blocks)
        self.head = batch.head(sign_head(self.manifest, self.key, batch, self.keys) if signed else None)

    def truncated(self, length: int, appended: Sequence[bytes] = (), *, fork: int | None = None) -> Publisher:
        """The same core, cut to `length` on a higher fork, with other blocks appended."""
        return Publisher(
            [*self.blocks[:length], *appended],
            keys=self.keys,
            manifest=self.manifest,
            key=self.key,
            fork=self.head.fork + 1 if fork is None else fork,
        )

    def answer(self, request: Request) -> Data:
        """The proof, after a trip over the wire."""
        value = None
        if request.block is not None and request.block.index < len(self.blocks):
            value = self.blocks[request.block.index]
        data = create_proof(
            self.nodes, self.head.length, self.head.signature, request, value, manifest=self.manifest
        )
        return decode(encode(data))

    def ask(self, *, manifest: bool = False, **parts: Any) -> Data:
        return self.answer(Request(id=1, fork=self.head.fork, manifest=manifest, **parts))

    def whole(self) -> Data:
        """The upgrade from nothing."""
        return self.ask(upgrade=RequestUpgrade(0, self.head.length), manifest=True)


@dataclass
class ReaderCore:
    """What a downloader knows of a core."""

    key: bytes
    head: TreeHead = field(default_factory=TreeHead)
    nodes: dict[int, Node] = field(default_factory=dict)
    manifest: Manifest | None = None
    blocks: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> ReaderCore:
        return replace(self, nodes=dict(self.nodes), blocks=dict(self.blocks))

    def verify(self, data: Data) -> Verified:
        return verify_data(data, self.head, self.nodes, self.key, self.manifest)

    def apply(self, data: Data, *, keep_loose: bool = False) -> Verified:
        """Verify and commit. The official peer keeps nodes with unproven sizes as well: `keep_loose`."""
        verified = self.verify(data)
        self.nodes |= {node.index: node for node in verified.new_nodes}
        if keep_loose:
            self.nodes |= {node.index: node for node in verified.loose_nodes}
        self.head = verified.head or self.head
        self.manifest = verified.manifest or self.manifest
        if verified.block is not None:
            index, value = verified.block
            self.blocks[index] = value
        return verified

    def block_request(self, index: int) -> RequestBlock:
        return RequestBlock(index, missing_nodes(self.nodes, self.head.length, 2 * index))
