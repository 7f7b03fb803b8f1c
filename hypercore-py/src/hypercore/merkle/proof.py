"""Building proofs: the nodes by which a downloader can check a block, a hash, a seek or a longer tree.

Source: hypercore lib/merkle-tree.js, `generateProof` (11.37.1), with one difference: for a seek next to a
block outside of the first root the official code computes no position (NaN) and leaves the seek part out;
here it is right, which official verifiers accept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..errors import BlockNotAvailable, InvalidRequest
from ..manifest import Manifest
from ..node import Node
from ..wire.data import Data, DataBlock, DataHash, DataSeek, DataUpgrade
from ..wire.request import Request, RequestSeek, RequestUpgrade
from .batch import upgrade_nodes
from .flat_tree import contains, full_roots, left_child, left_span, parent, right_child, right_span, sibling
from .offsets import byte_offset, missing_nodes, seek, unpadded_size
from .source import NodeSource, require_node

__all__ = ["NodeSource", "byte_offset", "create_proof", "missing_nodes", "seek"]


class _Target(NamedTuple):
    """The requested block or hash."""

    node: int
    levels: int
    """Levels up to the first node that the requester has."""
    is_block: bool


def create_proof(
    nodes: NodeSource,
    length: int,
    signature: bytes | None,
    request: Request,
    value: bytes | None = None,
    *,
    prologue_length: int = 0,
    manifest: Manifest | None = None,
) -> Data:
    """The answer to `request` from a tree of `length` blocks, whose head carries `signature`.

    `value` is the requested block. The manifest is included if requested and given. Raises InvalidRequest for
    what cannot be proven (official: INVALID_OPERATION) and BlockNotAvailable for a missing node or block. The
    answer of an empty tree has no parts.
    """
    learned = manifest if request.manifest else None
    block = request.block
    if length == 0:
        return Data(request=request.id, fork=request.fork, manifest=learned)
    if block is not None and request.hash is None and request.seek is None and request.upgrade is None:
        # The most frequent request, handled first
        parts = _Parts()
        end = _climb_levels(2 * block.index, block.nodes, 2 * length)
        parts.node = _siblings(nodes, 2 * block.index, end)
    else:
        request = _cover_prologue(request, prologue_length)
        parts = _prove(nodes, length, request)
    if block is not None and value is None:
        raise BlockNotAvailable(f"block {block.index} is not stored")
    wanted_hash, wanted_seek, upgrade = request.hash, request.seek, request.upgrade
    return Data(
        request=request.id,
        fork=request.fork,
        block=None if block is None else DataBlock(block.index, value or b"", parts.node or []),
        hash=None if wanted_hash is None or block else DataHash(wanted_hash.index, parts.node or []),
        seek=None if wanted_seek is None or parts.seek is None else DataSeek(wanted_seek.bytes, parts.seek),
        upgrade=None
        if upgrade is None
        else DataUpgrade(upgrade.start, upgrade.length, parts.upgrade, parts.additional, signature),
        manifest=learned,
    )


class _Parts:
    """The node lists of an answer. None: no such part."""

    __slots__ = ("additional", "node", "seek", "upgrade")

    def __init__(self) -> None:
        self.node: list[Node] | None = None
        self.seek: list[Node] | None = None
        self.upgrade: list[Node] = []
        self.additional: list[Node] = []


def _cover_prologue(request: Request, prologue_length: int) -> Request:
    """An upgrade that starts inside of the prologue becomes one from nothing to the end of the prologue.

    With a block or hash behind the prologue it goes to the requested length, so that both can be proven. (The
    official prover cannot, and ends the connection.)
    """
    upgrade = request.upgrade
    if upgrade is None or upgrade.start >= prologue_length:
        return request
    end = prologue_length
    target = _target(request)
    if target is not None and right_span(target.node) >= 2 * prologue_length:
        end = max(end, upgrade.start + upgrade.length)
    return replace(request, upgrade=RequestUpgrade(0, end))


def _prove(nodes: NodeSource, length: int, request: Request) -> _Parts:
    upgrade, wanted = request.upgrade, request.seek
    start, end = (upgrade.start, upgrade.start + upgrade.length) if upgrade is not None else (0, length)
    if start >= end or end > length:
        raise InvalidRequest(f"no upgrade from {start} to {end} blocks in a tree of {length}")
    target = _target(request)
    if target is not None and upgrade is not None and wanted is not None and target.node >= 2 * start:
        raise InvalidRequest("a seek cannot be combined with a block of the same upgrade")
    parts = _Parts()
    inside: int | None = None
    """The node to prove up to a node of the upgrade."""
    if target is not None and (upgrade is None or right_span(target.node) < 2 * start):
        _prove_independent(nodes, length, 2 * end, target, wanted, parts)
    elif target is not None:
        inside = target.node
    elif wanted is not None and upgrade is not None:
        inside = _seek_roots(nodes, end, wanted)
    if upgrade is None:
        return parts
    for index in upgrade_nodes(start, end):
        if inside is not None and contains(index, inside):
            # The receiver computes this node from the block (or hash, or seek) part
            if target is None:
                parts.seek = [require_node(nodes, inside), *_siblings(nodes, inside, index)]
            else:
                parts.node = _own(nodes, target) + _siblings(nodes, inside, index)
            inside = None
        else:
            parts.upgrade.append(require_node(nodes, index))
    parts.additional = [require_node(nodes, index) for index in upgrade_nodes(end, length)]
    if target is not None and parts.node is None:
        raise InvalidRequest("the block or hash is neither below nor inside of the upgrade")
    return parts


def _target(request: Request) -> _Target | None:
    if request.block is not None:
        return _Target(2 * request.block.index, request.block.nodes, True)
    if request.hash is not None:
        return _Target(request.hash.index, request.hash.nodes, False)
    return None


def _own(nodes: NodeSource, target: _Target) -> list[Node]:
    """The target node, unless it is a block, which the receiver hashes."""
    return [] if target.is_block else [require_node(nodes, target.node)]


def _climb_levels(index: int, levels: int, end: int) -> int:
    """The node `levels` above `index`. Raises InvalidRequest beyond the tree that ends before leaf `end`."""
    place = index + 1
    level = place & -place
    if place + level > end:  # its right span
        raise InvalidRequest(f"tree node {index} is outside of the tree")
    if levels > end.bit_length():
        raise InvalidRequest("a proof of so many nodes leads out of the tree")
    top = level << levels
    place = place & -(2 * top) | top
    if place + top > end:
        raise InvalidRequest("a proof of so many nodes leads out of the tree")
    return place - 1


def _siblings(nodes: NodeSource, index: int, end: int) -> list[Node]:
    """The siblings on the way from `index` up to its ancestor `end`."""
    get = nodes.get
    found: list[Node] = []
    place, top = index + 1, end + 1
    level = place & -place
    while place != top:
        node = get((place ^ (level << 1)) - 1)
        if node is None:
            raise BlockNotAvailable(f"tree node {(place ^ (level << 1)) - 1} is not stored")
        found.append(node)
        place = (place | level << 1) ^ level
        level <<= 1
    return found


def _prove_independent(
    nodes: NodeSource, length: int, end: int, target: _Target, wanted: RequestSeek | None, parts: _Parts
) -> None:
    """A block or hash that the requester checks against nodes it has, with a seek into the same subtree."""
    top = _climb_levels(target.node, target.levels, end)
    if wanted is None:
        parts.node = _own(nodes, target) + _siblings(nodes, target.node, top)
        return
    sought = _seek_subtree(nodes, length, top, wanted)
    parts.node = _own(nodes, target)
    at = target.node
    while at != top:
        other = sibling(at)
        if other != sought and contains(other, sought):
            parts.seek = [require_node(nodes, sought), *_siblings(nodes, sought, other)]
        else:
            parts.node.append(require_node(nodes, other))
        at = parent(at)


# --- seeks


def _seek_subtree(nodes: NodeSource, length: int, top: int, wanted: RequestSeek) -> int:
    """The node below `top` at which byte `wanted.bytes` starts. Raises InvalidRequest if it is not below."""
    roots = [require_node(nodes, root) for root in full_roots(length)]
    offset = byte_offset(nodes, roots, top) - wanted.padding * (left_span(top) // 2)
    if offset > wanted.bytes:
        raise InvalidRequest("the seek leads to the left of the block's subtree")
    if offset == wanted.bytes:
        return top
    if unpadded_size(require_node(nodes, top), wanted.padding) <= wanted.bytes - offset:
        raise InvalidRequest("the seek leads to the right of the block's subtree")
    return _seek_down(nodes, top, wanted.bytes - offset, wanted.padding)


def _seek_roots(nodes: NodeSource, length: int, wanted: RequestSeek) -> int | None:
    """The same in a whole tree of `length` blocks. None beyond its end."""
    remaining = wanted.bytes
    for root in full_roots(length):
        size = unpadded_size(require_node(nodes, root), wanted.padding)
        if remaining == size:
            return root
        if remaining < size:
            return _seek_down(nodes, root, remaining, wanted.padding)
        remaining -= size
    return None


def _seek_down(nodes: NodeSource, at: int, remaining: int, padding: int) -> int:
    """Descend to the node at `remaining` bytes, or as far as nodes are stored."""
    if remaining == 0:
        return at
    while at & 1:
        left = nodes.get(left_child(at))
        if left is None:
            return at
        size = unpadded_size(left, padding)
        if size == remaining:
            return left.index
        if size > remaining:
            at = left.index
        else:
            remaining -= size
            at = right_child(at)
    return at
