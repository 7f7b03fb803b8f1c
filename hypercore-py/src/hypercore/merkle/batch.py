"""A tree extended by an upgrade that is not proven yet.

The hash of a parent covers only the *sum* of its children's sizes, so a peer that sends both children could
shift bytes from one to the other. A node computed here from its content (a block, two children) has a proven
size once its hash is proven, and so has its sibling. If both siblings came from the peer, the pair is
recorded in `pairs`: see `partition_proof`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..codec import MAX_SAFE_INTEGER
from ..errors import InvalidChecksum, InvalidProof
from ..manifest import Prologue
from ..node import Node
from ..wire.data import DataUpgrade
from .flat_tree import contains, full_roots, leaf_count, left_span, parent, right_span, sibling
from .hashing import parent_node, tree_hash
from .head import TreeHead
from .source import NodeSource


class TreeBatch:
    """Roots, extended by nodes of a peer; `new` collects all nodes."""

    __slots__ = ("byte_length", "claimed", "fork", "length", "new", "pairs", "roots", "upgraded")

    def __init__(self, roots: Iterable[Node] = (), *, fork: int) -> None:
        self.roots = list(roots)
        self.fork = fork
        self.length = sum(leaf_count(root.index) for root in self.roots)
        self.byte_length = sum(root.size for root in self.roots)
        self.new: list[Node] = []
        self.pairs: list[tuple[Node, Node]] = []
        self.upgraded = False
        self.claimed: set[int] = set()
        """Nodes whose size is only a claim of the peer."""

    def hash(self) -> bytes:
        return tree_hash(self.roots)

    def head(self, signature: bytes | None) -> TreeHead:
        """The head of this tree, after its signature was verified."""
        return TreeHead(
            fork=self.fork,
            length=self.length,
            byte_length=self.byte_length,
            roots=tuple(self.roots),
            signature=signature,
        )

    def append_root(self, node: Node, *, claimed: bool = True, known: bool = False) -> None:
        """Append `node` as the last root, and merge while the last two roots are siblings.

        `claimed`: its size was sent, not computed. `known`: it is in `new` already. Raises InvalidProof when
        sizes exceed the integers of the format.
        """
        roots = self.roots
        self.upgraded = True
        self.length += leaf_count(node.index)
        self.byte_length += node.size
        if self.length > MAX_SAFE_INTEGER or self.byte_length > MAX_SAFE_INTEGER:
            raise InvalidProof(f"a tree of {self.length} blocks and {self.byte_length} bytes is not possible")
        if not known:
            self.new.append(node)
        roots.append(node)
        if claimed:
            self.claimed.add(node.index)
        while len(roots) > 1 and sibling(roots[-1].index) == roots[-2].index:
            right, left = roots.pop(), roots.pop()
            if left.index in self.claimed and right.index in self.claimed:
                self.pairs.append((left, right))
            merged = parent_node(left, right)
            self.new.append(merged)
            roots.append(merged)


class NodeQueue:
    """The nodes of a proof in the order of their use, and one computed node that may fill a gap."""

    __slots__ = ("_at", "_nodes", "extra", "extra_claimed")

    def __init__(self, nodes: Sequence[Node], extra: Node | None, *, extra_claimed: bool) -> None:
        self._nodes = nodes
        self._at = 0
        self.extra = extra
        self.extra_claimed = extra_claimed

    @property
    def left_over(self) -> int:
        """Number of unused nodes."""
        return len(self._nodes) - self._at

    def append_to(self, batch: TreeBatch, index: int) -> None:
        """Append node `index`, which must be the extra one or the next in line, else InvalidProof."""
        extra = self.extra
        if extra is not None and extra.index == index:
            self.extra = None
            batch.append_root(extra, claimed=self.extra_claimed, known=True)
            return
        node = self._nodes[self._at] if self._at < len(self._nodes) else None
        if node is None or node.index != index:
            raise InvalidProof(f"expected tree node {index}, got {'none' if node is None else node.index}")
        self._at += 1
        batch.append_root(node)


def apply_upgrade(
    batch: TreeBatch,
    upgrade: DataUpgrade,
    extra: Node | None = None,
    *,
    extra_claimed: bool = False,
    prologue: Prologue | None = None,
    exact: bool = False,
) -> bool:
    """Extend the batch by an upgrade. True if `extra`, the root of the block part, became a part of the tree.

    Nodes left over at the end of `upgrade.nodes` are ignored, as the official verifier does, unless `exact`.
    Raises InvalidProof for a missing or misplaced node and for a tree that departs from the prologue.
    """
    if prologue is not None and 0 < upgrade.start < prologue.length:
        raise InvalidProof(f"an upgrade may not start inside of the prologue of {prologue.length} blocks")
    if prologue is not None and upgrade.start == 0 and upgrade.length < prologue.length:
        raise InvalidProof(f"an upgrade must cover the prologue of {prologue.length} blocks")
    queue = NodeQueue(upgrade.nodes, extra, extra_claimed=extra_claimed)
    _grow(batch, queue, upgrade.start + upgrade.length)
    if exact and queue.left_over:
        raise InvalidProof(f"{queue.left_over} tree nodes more than the proof needs")
    if prologue is not None and batch.length == prologue.length and batch.hash() != prologue.hash:
        raise InvalidProof("the tree is not that of the prologue")
    for node in upgrade.additional_nodes:
        # Each further node must be the next one to the right, at any depth
        if not batch.roots or left_span(node.index) != 2 * batch.length:
            raise InvalidProof(f"tree node {node.index} does not continue a tree of {batch.length} blocks")
        batch.append_root(node)
    return extra is not None and queue.extra is None


def _grow(batch: TreeBatch, queue: NodeQueue, length: int) -> None:
    """Take nodes from the queue until the batch has the roots of a tree of `length` blocks.

    Roots that exist already are stepped over. Where the first missing root covers ours, it is built from our
    last root upwards, sibling by sibling; all roots after it come from the queue as they are.
    """
    roots = batch.roots
    matched, count = 0, len(roots)
    connecting = count > 0
    for root in full_roots(length):
        if matched < len(roots) and roots[matched].index == root:
            matched += 1
            continue
        if connecting:
            connecting = False
            if matched < count:
                while roots[-1].index != root:
                    queue.append_to(batch, sibling(roots[-1].index))
                matched = len(roots)
                continue
        queue.append_to(batch, root)
        matched = len(roots)


def upgrade_nodes(start: int, length: int) -> Iterator[int]:
    """The nodes that lead from a tree of `start` blocks to one of `length`, in the order of a proof."""
    if start >= length:
        return
    last = 2 * start - 2
    connected = start == 0
    for root in full_roots(length):
        if right_span(root) <= last:
            continue
        if not connected and contains(root, last):
            at = last
            while at != root:
                other = sibling(at)
                if other > last:
                    yield other
                at = parent(at)
            connected = True
            continue
        connected = True
        yield root


def partition_proof(
    new: list[Node], pairs: Sequence[tuple[Node, Node]], nodes: NodeSource
) -> tuple[list[Node], list[Node]]:
    """Divide the nodes of a verified proof into those to keep and those whose sizes are only claims.

    A pair is valid if one of the two is stored already, with the same hash and size. Raises InvalidChecksum
    if it is stored with another size: then the peer shifted bytes.
    """
    loose: set[int] = set()
    for left, right in pairs:
        if not (_is_stored(left, nodes) or _is_stored(right, nodes)):
            loose.update((left.index, right.index))
    if not loose:
        return new, []
    return [n for n in new if n.index not in loose], [n for n in new if n.index in loose]


def _is_stored(node: Node, nodes: NodeSource) -> bool:
    stored = nodes.get(node.index)
    if stored is None or stored.hash != node.hash:
        return False
    if stored.size != node.size:
        raise InvalidChecksum(f"tree node {node.index} has {stored.size} bytes under it, not {node.size}")
    return True
