"""Distinguishes a conflict from a lie: two trees of the same fork, both signed, that differ.

Source: hypercore lib/core.js, `checkConflict` (11.37.1).
"""

from __future__ import annotations

from ..errors import RemoteProtocolError
from ..manifest import Manifest
from ..node import Node
from ..wire.data import Data
from .flat_tree import right_span
from .head import TreeHead
from .source import NodeSource
from .verify import verify_signed_tree


def is_conflict(data: Data, head: TreeHead, nodes: NodeSource, key: bytes, manifest: Manifest) -> bool:
    """Whether `data`, a whole tree from a peer on our fork, is signed and still differs from ours.

    A writer that signed both has lost control of the core: only the common part can be trusted.
    Only nodes that the signature covers are compared, whatever else was sent. Trees longer than ours, and
    nodes that we do not hold, are no evidence.
    """
    upgrade = data.upgrade
    if upgrade is None or data.fork != head.fork or upgrade.start + upgrade.length > head.length:
        return False
    try:
        batch, _ = verify_signed_tree(data, key, manifest)
    except RemoteProtocolError:
        return False
    if batch.length == head.length:
        return batch.hash() != head.hash()
    return any(_contradicts(node, head, nodes) for node in batch.new)


def _contradicts(node: Node, head: TreeHead, nodes: NodeSource) -> bool:
    """Whether a node of another signed tree differs from the one of our tree in the same place."""
    if right_span(node.index) >= 2 * head.length:
        return False
    stored = nodes.get(node.index)
    return stored is not None and stored.hash != node.hash
