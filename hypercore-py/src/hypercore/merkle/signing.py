"""Signatures over the head of a tree: the signed bytes, verification, and signing.

Source: hypercore lib/caps.js (`treeSignable`, `treeSignableCompat`), lib/verifier.js, lib/multisig.js
(11.37.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..crypto import KeyPair, namespace, sign, verify
from ..errors import InvalidProof, LocalProtocolError, RemoteProtocolError
from ..manifest import Manifest
from ..multisig import MultiSignature, SignerProof
from ..node import Node
from ..wire.data import DataUpgrade
from .batch import TreeBatch, apply_upgrade, upgrade_nodes
from .flat_tree import right_span
from .source import NodeSource, require_node

_TREE = namespace("hypercore", 0)


class Tree(Protocol):
    """A signed tree: a `TreeHead` or a `TreeBatch`."""

    @property
    def fork(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def roots(self) -> Sequence[Node]: ...
    def hash(self) -> bytes: ...


def signable(context: bytes, tree: Tree) -> bytes:
    """The signed bytes. `context` separates cores; it is empty for compat cores."""
    return _TREE + context + tree.hash() + tree.length.to_bytes(8, "little") + tree.fork.to_bytes(8, "little")


def _context(manifest: Manifest, key: bytes, signer: int) -> bytes:
    if manifest.is_compat_with(key):
        return b""
    return manifest.signers[signer].namespace if manifest.version == 0 else key


def _has_bare_signature(manifest: Manifest, key: bytes) -> bool:
    """Whether the signature field is one raw signature of 64 bytes, as before manifests of version 1."""
    if manifest.is_compat_with(key):
        return True
    return manifest.version == 0 and not manifest.allow_patch and len(manifest.signers) == 1


# --- verifying


def verify_head(manifest: Manifest, key: bytes, tree: Tree, signature: bytes | None) -> bool:
    """Whether the signature of `tree` by the signers of core `key` is valid. Never raises for bad bytes."""
    if _has_bare_signature(manifest, key):
        signer = manifest.signers[0]
        return bool(signature) and verify(
            signable(_context(manifest, key, 0), tree), signature or b"", signer.public_key
        )
    prologue = manifest.prologue
    if manifest.version > 0 and prologue is not None and tree.length <= prologue.length:
        if tree.length != prologue.length or tree.hash() != prologue.hash:
            return False
        if tree.fork == 0:
            return True
        # The prologue does not cover forks. Without this check any peer could move the core to any fork and
        # make readers delete all blocks behind the prologue; the official verifier allows that
    if not signature or manifest.quorum == 0:
        return False
    try:
        multi = MultiSignature.decode(signature, version=manifest.version)
    except RemoteProtocolError:
        return False
    return _verify_quorum(manifest, key, tree, multi)


def _verify_quorum(manifest: Manifest, key: bytes, tree: Tree, multi: MultiSignature) -> bool:
    """Whether the first `quorum` proofs are valid and of different signers.

    A patch proves the hashes of the shorter tree, but only the sum of the sizes of a root and the sibling in
    the patch (see `batch.py`). So the signer with the shortest tree must have signed this tree, unless the
    sizes are known otherwise.
    """
    if len(multi.proofs) < manifest.quorum:
        return False
    patch = {node.index: node for node in multi.patch} if manifest.allow_patch else {}
    seen: set[int] = set()
    sizes_are_signed, sizes_are_claims = False, False
    for proof in multi.proofs[: manifest.quorum]:
        if proof.signer >= len(manifest.signers) or proof.signer in seen:
            return False
        seen.add(proof.signer)
        signed: Tree = tree
        if proof.patch and manifest.allow_patch:
            patched = _patched(tree, proof.patch, patch)
            if patched is None:
                return False
            sizes_are_claims |= bool(patched.pairs)
            signed = patched
        else:
            sizes_are_signed = True
        message = signable(_context(manifest, key, proof.signer), signed)
        if not verify(message, proof.signature, manifest.signers[proof.signer].public_key):
            return False
    return sizes_are_signed or not sizes_are_claims


def _patched(tree: Tree, length: int, patch: dict[int, Node]) -> TreeBatch | None:
    """The tree, longer by `length` blocks, that a signer signed. None if the nodes do not lead there."""
    nodes = []
    for index in upgrade_nodes(tree.length, tree.length + length):
        node = patch.get(index)
        if node is None:
            return None
        nodes.append(node)
    batch = TreeBatch(tree.roots, fork=tree.fork)
    if isinstance(tree, TreeBatch):
        batch.claimed |= tree.claimed
    try:
        apply_upgrade(batch, DataUpgrade(tree.length, length, nodes, [], None))
    except InvalidProof:
        return None
    return batch


# --- signing


class PartialSignature(NamedTuple):
    """The part of one signer in a multi-signature."""

    signer: int
    signature: bytes
    patch: int = 0
    """Blocks by which its tree is longer than that of the multi-signature."""
    nodes: tuple[Node, ...] = ()
    """Nodes that extend the shorter tree to the signed one."""


def sign_head(manifest: Manifest, key: bytes, tree: Tree, key_pair: KeyPair) -> bytes:
    """The signature field of a head whose manifest requires one signature.

    Raises LocalProtocolError otherwise.
    """
    if manifest.quorum != 1:
        raise LocalProtocolError(f"the manifest asks for {manifest.quorum} signatures; assemble partial ones")
    return assemble_signature(manifest, key, [partial_signature(manifest, key, tree, key_pair)])


def partial_signature(
    manifest: Manifest,
    key: bytes,
    tree: Tree,
    key_pair: KeyPair,
    *,
    nodes: NodeSource | None = None,
    verified_length: int | None = None,
) -> PartialSignature:
    """One signer's signature of `tree`.

    With `verified_length`, the multi-signature covers that shorter length, and `nodes` (the signer's own
    tree) give the patch. Raises LocalProtocolError if the key pair is not a signer.
    """
    keys = [signer.public_key for signer in manifest.signers]
    if key_pair.public_key not in keys:
        raise LocalProtocolError("the key pair is not one of the manifest's signers")
    index = keys.index(key_pair.public_key)
    signature = sign(signable(_context(manifest, key, index), tree), key_pair.secret_key)
    if verified_length is None or verified_length == tree.length:
        return PartialSignature(index, signature)
    if nodes is None or verified_length > tree.length:
        raise LocalProtocolError("a patch leads from a shorter tree to the signed one, and needs its nodes")
    patch = tuple(require_node(nodes, i) for i in upgrade_nodes(verified_length, tree.length))
    return PartialSignature(index, signature, tree.length - verified_length, patch)


def assemble_signature(manifest: Manifest, key: bytes, partials: Sequence[PartialSignature]) -> bytes:
    """The signature field made of the given partial signatures, in their order."""
    if _has_bare_signature(manifest, key):
        return partials[0].signature
    shared: dict[int, Node] = {}
    for partial in partials:
        for node in partial.nodes:
            shared.setdefault(node.index, node)
    places = {index: place for place, index in enumerate(shared)}
    proofs = tuple(
        SignerProof(
            partial.signer,
            partial.signature,
            partial.patch,
            right_span(partial.nodes[-1].index) // 2 + 1 if partial.nodes else 0,
            tuple(places[node.index] for node in partial.nodes),
        )
        for partial in partials
    )
    return MultiSignature(proofs=proofs, patch=tuple(shared.values())).encode(version=manifest.version)
