"""`data`: the answer to a request: a block and the proof that it belongs.

Format: hypercore lib/messages.js, `wire.data`. Flag bits: 1 block, 2 hash, 4 seek, 8 upgrade, 16 manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..codec import Reader, Writer
from ..manifest import Manifest
from ..node import Node, read_node, write_node

MAX_PROOF_NODES = 4096
"""Nodes accepted in one list of a proof. A tree of 2^53 blocks needs 53 for a block and about 106 for an
upgrade; additional nodes of an official peer stay in the same order.
"""


class DataBlock(NamedTuple):
    """A block and what leads from it to a node that the receiver has, or to a root of the upgrade."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    value: bytes
    nodes: list[Node]
    """The sibling at each level from the leaf up; the leaf itself is recomputed by the receiver."""


class DataHash(NamedTuple):
    """A tree node (flat-tree index) and what leads from it upwards."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    nodes: list[Node]
    """The node asked for, then its siblings upwards."""


class DataSeek(NamedTuple):
    """What leads to the block that holds byte `bytes`."""

    bytes: int
    nodes: list[Node]


class DataUpgrade(NamedTuple):
    """The tree from `start` blocks on, `length` blocks more; the head of the uploader, and its signature."""

    start: int
    length: int
    nodes: list[Node]
    additional_nodes: list[Node]
    """From start + length on to the head of the uploader, which alone is signed."""
    signature: bytes | None


@dataclass(slots=True, kw_only=True)
class Data:
    """See the module. Parts that were not requested are None. Do not change it after it was made; it is not
    frozen for the reason that `Request` is not."""

    type_id: ClassVar[int] = 3

    request: int
    """Id of the request it answers; 0 for a push or a conflict."""
    fork: int
    block: DataBlock | None = None
    hash: DataHash | None = None
    seek: DataSeek | None = None
    upgrade: DataUpgrade | None = None
    manifest: Manifest | None = None

    def encode(self, w: Writer) -> None:
        """Write the fields."""
        flags = (
            (1 if self.block else 0)
            | (2 if self.hash else 0)
            | (4 if self.seek else 0)
            | (8 if self.upgrade else 0)
            | (16 if self.manifest else 0)
        )
        w.uint(flags).uint(self.request).uint(self.fork)
        if (block := self.block) is not None:
            w.uint(block.index).buffer(block.value).array(block.nodes, write_node)
        if (node := self.hash) is not None:
            w.uint(node.index).array(node.nodes, write_node)
        if (seek := self.seek) is not None:
            w.uint(seek.bytes).array(seek.nodes, write_node)
        if (upgrade := self.upgrade) is not None:
            w.uint(upgrade.start).uint(upgrade.length)
            w.array(upgrade.nodes, write_node).array(upgrade.additional_nodes, write_node)
            w.optional_buffer(upgrade.signature)
        if self.manifest is not None:
            self.manifest.encode(w)

    @classmethod
    def decode(cls, r: Reader) -> Data:
        """Read the fields. Raises FrameDecodeError."""
        flags = r.uint()
        return cls(
            request=r.uint(),
            fork=r.uint(),
            block=DataBlock(r.uint(), r.buffer(), _nodes(r)) if flags & 1 else None,
            hash=DataHash(r.uint(), _nodes(r)) if flags & 2 else None,
            seek=DataSeek(r.uint(), _nodes(r)) if flags & 4 else None,
            upgrade=DataUpgrade(r.uint(), r.uint(), _nodes(r), _nodes(r), r.optional_buffer())
            if flags & 8
            else None,
            manifest=Manifest.decode(r) if flags & 16 else None,
        )


def _nodes(r: Reader) -> list[Node]:
    return r.array(read_node, limit=MAX_PROOF_NODES)
