"""Finds which blocks of the old tree stay valid on a higher fork of the writer.

The new tree is proven by itself first. Then the first of its roots that differs from the old tree is refined:
request the path to a block below it, find the child that differs, continue with that one. Blocks left of the
last difference are common and need not be fetched again. The result may be used at any time: `ancestors` is
right, if coarse, from the start.

Source: hypercore lib/merkle-tree.js, `ReorgBatch` and `MerkleTree.reorg` (11.37.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import InvalidChecksum, InvalidProof
from ..manifest import Manifest
from ..node import Node
from ..wire.data import Data
from ..wire.request import RequestHash
from .batch import TreeBatch, partition_proof
from .flat_tree import depth, left_child, left_span, right_child, right_span
from .head import TreeHead
from .source import NodeSource
from .verify import climb, verify_signed_tree


class Reorg:
    """One reorg. Nothing is stored before the caller applies it.

    The old tree may grow meanwhile; common blocks stay common.
    """

    def __init__(
        self,
        batch: TreeBatch,
        head: TreeHead,
        old_head: TreeHead,
        nodes: NodeSource,
        manifest: Manifest | None,
    ) -> None:
        self.head = head
        """The verified head to adopt."""
        self.manifest = manifest
        """The manifest, if it was not known before."""
        self.new_nodes: list[Node] = []
        """Nodes of the new tree, to store after the old ones from `ancestors` on are deleted."""
        self.ancestors = head.length
        """Number of leading blocks known to be common. Grows while refining."""
        self._old_length = old_head.length
        self._nodes = nodes
        self._diff: Node | None = self._first_difference(head.roots)
        """The leftmost node of the new tree known to differ; None when done."""
        if self._diff is not None:
            self._descend(batch.new)
        self._keep(batch.new, batch.pairs)

    @classmethod
    def start(
        cls, data: Data, old_head: TreeHead, nodes: NodeSource, key: bytes, manifest: Manifest | None
    ) -> Reorg:
        """Begin with an answer that has a whole tree (upgrade from 0) of a higher fork than `old_head`'s.

        `nodes` are the stored nodes of the old tree. Raises InvalidProof, InvalidChecksum or
        InvalidSignature.
        """
        if data.fork <= old_head.fork:
            raise InvalidProof(f"fork {data.fork} is not above ours, {old_head.fork}")
        batch, effective = verify_signed_tree(data, key, manifest)
        signature = data.upgrade.signature if data.upgrade is not None else None
        head = batch.head(signature)
        return cls(batch, head, old_head, nodes, effective if manifest is None else None)

    @property
    def done(self) -> bool:
        """Whether the common part is known exactly (or as exactly as the old nodes allow)."""
        return self._diff is None

    def request(self) -> RequestHash | None:
        """The next request for a peer on the new fork; None when done."""
        diff = self._diff
        if diff is None:
            return None
        # The last block that both trees may have: mostly a writer cuts little off the end
        last = min(self._old_length - 1, right_span(diff.index) // 2)
        return RequestHash(2 * last, depth(diff.index))

    def add_answer(self, data: Data) -> None:
        """Use the answer to `request`.

        Raises InvalidProof or InvalidChecksum, and then changes nothing.
        """
        wanted, diff = self.request(), self._diff
        if wanted is None or diff is None:
            return
        if data.fork != self.head.fork or data.hash is None or data.hash.index != wanted.index:
            raise InvalidProof(f"expected tree node {wanted.index} of fork {self.head.fork}")
        new: list[Node] = []
        pairs: list[tuple[Node, Node]] = []
        tip, _ = climb(data, new, pairs)
        if tip is None or tip.index != diff.index:
            raise InvalidProof(f"the proof does not lead to tree node {diff.index}")
        if tip.hash != diff.hash:
            raise InvalidChecksum(f"the proof does not hash to tree node {diff.index}")
        self._keep(new, pairs)
        self._descend(new)

    def _keep(self, new: list[Node], pairs: list[tuple[Node, Node]]) -> None:
        proven, _ = partition_proof(new, pairs, self._nodes)
        self.new_nodes += proven

    def _is_shared(self, node: Node) -> bool:
        stored = self._nodes.get(node.index)
        return stored is not None and stored.hash == node.hash

    def _first_difference(self, roots: Iterable[Node]) -> Node | None:
        return next((root for root in roots if not self._is_shared(root)), None)

    def _descend(self, new: Iterable[Node]) -> None:
        """Follow the difference down over the received nodes."""
        known = {node.index: node for node in new}
        diff = self._diff
        while diff is not None and diff.index & 1:
            left, right = known.get(left_child(diff.index)), known.get(right_child(diff.index))
            if left is None or right is None:
                break
            diff = right if self._is_shared(left) else left
        if diff is None:
            return
        self.ancestors = left_span(diff.index) // 2
        # A leaf cannot be refined, and right of the old tree there is nothing to compare with
        exhausted = not diff.index & 1 or self.ancestors >= self._old_length
        self._diff = None if exhausted else diff
