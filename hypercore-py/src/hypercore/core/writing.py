"""Heads that a writer signs, after appending or truncating."""

from __future__ import annotations

from collections.abc import Sequence

from ..crypto import KeyPair
from ..errors import LocalProtocolError
from ..manifest import Manifest
from ..merkle.batch import TreeBatch
from ..merkle.flat_tree import full_roots
from ..merkle.hashing import leaf_node
from ..merkle.head import TreeHead
from ..merkle.signing import sign_head
from ..merkle.source import NodeSource, require_node

MAX_BLOCK_BYTES = 15 << 20
"""Largest block that can be appended: the limit of the official writer (hypercore index.js)."""


def append_blocks(head: TreeHead, blocks: Sequence[bytes]) -> TreeBatch:
    """The tree of `head` with blocks appended. Raises LocalProtocolError for one above MAX_BLOCK_BYTES."""
    batch = TreeBatch(head.roots, fork=head.fork)
    for index, block in enumerate(blocks, head.length):
        if len(block) > MAX_BLOCK_BYTES:
            raise LocalProtocolError(f"a block of {len(block)} bytes, at most {MAX_BLOCK_BYTES} are allowed")
        batch.append_root(leaf_node(index, block), claimed=False)
    return batch


def truncate_tree(nodes: NodeSource, head: TreeHead, length: int, fork: int, manifest: Manifest) -> TreeBatch:
    """The first `length` blocks of the tree of `head`, on a higher fork.

    Raises LocalProtocolError for a length or fork that is no truncation, BlockNotAvailable if nodes are
    missing.
    """
    if not 0 <= length <= head.length or fork <= head.fork:
        raise LocalProtocolError(
            f"cannot truncate {head.length} blocks of fork {head.fork} to {length} blocks on fork {fork}"
        )
    if manifest.prologue is not None and length < manifest.prologue.length:
        raise LocalProtocolError(f"cannot cut into the prologue of {manifest.prologue.length} blocks")
    return TreeBatch([require_node(nodes, index) for index in full_roots(length)], fork=fork)


def signed_head(key: bytes, manifest: Manifest, tree: TreeBatch, key_pair: KeyPair) -> TreeHead:
    """The head of a tree. Within the prologue it needs no signature.

    Raises LocalProtocolError if the key pair may not sign.
    """
    prologue = None if manifest.is_compat_with(key) else manifest.prologue
    if manifest.version and prologue is not None and tree.length <= prologue.length and not tree.fork:
        return tree.head(None)
    return tree.head(sign_head(manifest, key, tree, key_pair))
