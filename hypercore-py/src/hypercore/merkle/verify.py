"""Verifies a peer's answer against stored nodes, or the signature over the roots.

Source: hypercore lib/merkle-tree.js (`verifyTree`, `verifyUpgrade`, `MerkleTree.verify`,
`verifyFullyRemote`), lib/core.js (`_verifyBatchUpgrade`) (11.37.1). Two things are stricter than there: nodes
whose sizes are only a claim of the peer are marked (`Verified.loose_nodes`, see `batch.py`), and a compat
core's manifest is derived from the key alone.

These functions change nothing. The caller commits all of a `Verified` at once, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..codec import MAX_SAFE_INTEGER
from ..errors import InvalidChecksum, InvalidProof, InvalidSignature
from ..manifest import Manifest, Prologue
from ..node import Node, new_node
from ..wire.data import Data, DataUpgrade
from .batch import TreeBatch, apply_upgrade, partition_proof
from .flat_tree import full_roots, right_span
from .hashing import leaf_node, parent_hash
from .head import TreeHead
from .signing import verify_head
from .source import NodeSource

__all__ = ["NodeSource", "TreeHead", "Verified", "verify_data", "verify_standalone"]

_NO_NODES: dict[int, Node] = {}


class Verified(NamedTuple):
    """The verified parts of an answer, which may be stored."""

    new_nodes: list[Node]
    """Nodes from the data up to a stored or signed node. Some may be stored already."""
    head: TreeHead | None = None
    """The new head; None if the tree did not grow."""
    manifest: Manifest | None = None
    """The manifest, if it was not known before."""
    block: tuple[int, bytes] | None = None
    """Number and content."""
    loose_nodes: Sequence[Node] = ()
    """Nodes whose hashes are proven but whose sizes are not. They must not be stored."""


def verify_data(
    data: Data, head: TreeHead, nodes: NodeSource, key: bytes, manifest: Manifest | None
) -> Verified:
    """Verify an answer for the fork of `head`.

    `nodes` are the stored nodes, `manifest` the known manifest of the core `key`, if any. Raises InvalidProof
    (a node is missing or misplaced, or the fork is another), InvalidChecksum (the data does not match the
    tree) or InvalidSignature (the head or the manifest is not the key's).
    """
    if data.fork != head.fork:
        raise InvalidProof(f"the data is of fork {data.fork}, not of {head.fork}")
    if data.upgrade is not None:
        return _verify_upgrade(data, data.upgrade, head, nodes, key, manifest)
    new: list[Node] = []
    pairs: list[tuple[Node, Node]] = []
    tip, _ = climb(data, new, pairs)
    if tip is not None:
        _expect_stored(tip, nodes)
    loose: Sequence[Node] = ()
    if pairs:
        new, loose = partition_proof(new, pairs, nodes)
    return _not_upgraded(data, new, loose, manifest, key)


def verify_standalone(data: Data, key: bytes, manifest: Manifest | None) -> Verified:
    """Verify an answer that has a whole tree (an upgrade from 0), without stored nodes.

    Used for proofs of availability and the start of a reorg: `head` is set, and a block in the answer is
    proven to be a part of that head. Raises as `verify_data`.
    """
    batch, learned = verify_signed_tree(data, key, manifest)
    new, loose = partition_proof(batch.new, batch.pairs, _NO_NODES)
    return _upgraded(data, batch, new, loose, manifest, learned)


def verify_signed_tree(data: Data, key: bytes, manifest: Manifest | None) -> tuple[TreeBatch, Manifest]:
    """The verified tree of an upgrade from 0, and its manifest.

    Every node of `data` must be part of that tree. Raises as `verify_data`.
    """
    upgrade = data.upgrade
    if upgrade is None:
        raise InvalidProof("the data carries no tree")
    manifest = manifest or resolve_manifest(data.manifest, key)
    batch = TreeBatch(fork=data.fork)
    tip, claimed = climb(data, batch.new, batch.pairs)
    used = apply_upgrade(
        batch, upgrade, tip, extra_claimed=claimed, prologue=_prologue(manifest, key), exact=True
    )
    if tip is not None and not used:
        raise InvalidProof("the block or hash is not a part of the tree")
    if not batch.upgraded:
        raise InvalidProof("the tree is empty")
    if not verify_head(manifest, key, batch, upgrade.signature):
        raise InvalidSignature(f"the signature of the tree of {batch.length} blocks does not hold")
    return batch, manifest


# --- upgrades


def _verify_upgrade(
    data: Data,
    upgrade: DataUpgrade,
    head: TreeHead,
    nodes: NodeSource,
    key: bytes,
    manifest: Manifest | None,
) -> Verified:
    effective = manifest or resolve_manifest(data.manifest, key)
    stale = _stale_batch(upgrade, head, nodes)
    batch = stale or TreeBatch(head.roots, fork=head.fork)
    tip, claimed = climb(data, batch.new, batch.pairs)
    used = apply_upgrade(batch, upgrade, tip, extra_claimed=claimed, prologue=_prologue(effective, key))
    if tip is not None and not used:
        _expect_stored(tip, nodes)
    if stale is not None:
        for root in batch.roots:
            _expect_stored(root, nodes)
    elif batch.upgraded and not verify_head(effective, key, batch, upgrade.signature):
        raise InvalidSignature(f"the signature of the tree of {batch.length} blocks does not hold")
    new, loose = partition_proof(batch.new, batch.pairs, nodes)
    if stale is None and batch.upgraded:
        return _upgraded(data, batch, new, loose, manifest, effective)
    return _not_upgraded(data, new, loose, manifest, key)


def _stale_batch(upgrade: DataUpgrade, head: TreeHead, nodes: NodeSource) -> TreeBatch | None:
    """The tree from which an outdated upgrade starts; None if the upgrade may be new.

    Such an answer was in flight while another peer upgraded us. Its block is still useful, and needs no
    signature, if its tree is a part of the stored one.
    """
    end = upgrade.start + upgrade.length
    if upgrade.additional_nodes:
        end = right_span(upgrade.additional_nodes[-1].index) // 2 + 1
    if max(upgrade.start, end) > head.length:
        return None
    roots = [nodes.get(index) for index in full_roots(upgrade.start)]
    known = [root for root in roots if root is not None]
    return TreeBatch(known, fork=head.fork) if len(known) == len(roots) else None


def _upgraded(
    data: Data,
    batch: TreeBatch,
    new: list[Node],
    loose: Sequence[Node],
    known: Manifest | None,
    manifest: Manifest,
) -> Verified:
    signature = data.upgrade.signature if data.upgrade is not None else None
    block = data.block
    return Verified(
        new,
        batch.head(signature),
        manifest if known is None else None,
        None if block is None else (block.index, block.value),
        loose,
    )


def _not_upgraded(
    data: Data, new: list[Node], loose: Sequence[Node], manifest: Manifest | None, key: bytes
) -> Verified:
    block = data.block
    learned = None
    if manifest is None and data.manifest is not None:
        learned = _lone_manifest(data.manifest, key)
    return Verified(new, None, learned, None if block is None else (block.index, block.value), loose)


# --- manifests


def resolve_manifest(manifest: Manifest | None, key: bytes) -> Manifest:
    """The manifest for the first upgrade. Raises InvalidSignature if it is not the key's."""
    if manifest is None or manifest.is_compat_with(key):
        # Of a compat core's manifest only the public key is authenticated. If the core is not compat, the
        # signature is invalid.
        return Manifest.default(key)
    if manifest.key() != key:
        raise InvalidSignature("the manifest does not hash to the key of the core")
    return manifest


def _lone_manifest(manifest: Manifest, key: bytes) -> Manifest | None:
    """A manifest that came without an upgrade. Raises InvalidChecksum if it is not the key's."""
    if manifest.is_compat_with(key):
        return None
    if manifest.key() != key:
        raise InvalidChecksum("the manifest does not hash to the key of the core")
    return manifest


def _prologue(manifest: Manifest, key: bytes) -> Prologue | None:
    return None if manifest.is_compat_with(key) else manifest.prologue


# --- the block, hash and seek parts


def _expect_stored(tip: Node, nodes: NodeSource) -> None:
    stored = nodes.get(tip.index)
    if stored is None:
        raise InvalidProof(f"the proof leads to tree node {tip.index}, which is not stored")
    if stored.hash != tip.hash or stored.size != tip.size:
        raise InvalidChecksum(f"the data does not hash to tree node {tip.index}")


def climb(data: Data, new: list[Node], pairs: list[tuple[Node, Node]]) -> tuple[Node | None, bool]:
    """The subtree root of the block, hash and seek parts, and whether its size is only a claim.

    The root is not proven yet. All nodes are added to `new`, pairs of siblings whose sizes are both claims to
    `pairs`. Raises InvalidProof.
    """
    sought: Node | None = None
    claimed = False
    if data.seek is not None and data.seek.nodes:
        first, *siblings = data.seek.nodes
        new.append(first)
        sought, claimed = _climb(first, True, siblings, None, False, new, pairs)
    if data.block is not None:
        leaf = leaf_node(data.block.index, data.block.value)
        new.append(leaf)
        return _climb(leaf, False, data.block.nodes, sought, claimed, new, pairs)
    if data.hash is not None:
        if not data.hash.nodes or data.hash.nodes[0].index != data.hash.index:
            raise InvalidProof(f"expected tree node {data.hash.index} first")
        first, *siblings = data.hash.nodes
        new.append(first)
        return _climb(first, True, siblings, sought, claimed, new, pairs)
    return sought, claimed


def _climb(
    tip: Node,
    claimed: bool,
    siblings: Sequence[Node],
    extra: Node | None,
    extra_claimed: bool,
    new: list[Node],
    pairs: list[tuple[Node, Node]],
) -> tuple[Node, bool]:
    """Hash upwards from `tip` until all siblings, and the extra node that may replace one, are used."""
    size, digest = tip.size, tip.hash
    place = tip.index + 1
    level = place & -place
    used, count = 0, len(siblings)
    while used < count or extra is not None:
        other = place ^ (level << 1)
        if extra is not None and extra.index == other - 1:
            node, node_claimed, extra = extra, extra_claimed, None
        elif used < count and siblings[used].index == other - 1:
            node, node_claimed = siblings[used], True
            used += 1
            new.append(node)
        else:
            raise InvalidProof(f"tree node {other - 1} is missing from the proof")
        if claimed and node_claimed:
            pairs.append((tip, node))
        claimed = False
        size += node.size
        if size > MAX_SAFE_INTEGER:
            raise InvalidProof(f"a tree of {size} bytes is not possible")
        if other > place:
            digest = parent_hash(size, digest, node.hash)
        else:
            digest = parent_hash(size, node.hash, digest)
        place = (place | level << 1) ^ level
        level <<= 1
        tip = new_node((place - 1, size, digest))
        new.append(tip)
    return tip, claimed
