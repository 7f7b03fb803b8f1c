"""Sums over the cores of a key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model.kind import Kind, Role
from .cold import Cold
from .tracked_core import TrackedCore


class SeedTotals(NamedTuple):
    """Totals over the cores of a key, and its peers."""

    kind: Kind | None
    blocks: int
    have_blocks: int
    bytes: int
    have_bytes: int
    peers: int
    unavailable_blocks: int = 0
    """Missing blocks that no peer is known to have."""
    unavailable_bytes: int = 0


class Head(NamedTuple):
    """The fields of a core in a `core` event."""

    role: Role
    length: int
    fork: int
    byte_length: int


def totals_of(kind: Kind | None, parts: Iterable[TrackedCore], peers: int) -> SeedTotals:
    """Sum over `parts`. `peers`: how many replicate the key."""
    blocks = have_blocks = size = have_size = lost = lost_size = 0
    for part in parts:
        core = part.core
        blocks += core.head.length
        size += core.head.byte_length
        have_blocks += core.bitfield.count
        have_size += core.have_bytes
        unavailable, unavailable_size = part.unavailable
        lost += unavailable
        lost_size += unavailable_size
    return SeedTotals(kind, blocks, have_blocks, size, have_size, peers, lost, lost_size)


def recorded(cold: Cold) -> tuple[dict[bytes, Head], SeedTotals]:
    """The heads by core key, and the totals, that were emitted before the key was put away."""
    heads = {
        part.key: Head(part.role, part.length, part.fork, part.byte_length)
        for part in cold.cores
        if part.role is not None
    }
    lost, lost_size = cold.blocks - cold.have_blocks, cold.bytes - cold.have_bytes
    totals = SeedTotals(
        cold.kind, cold.blocks, cold.have_blocks, cold.bytes, cold.have_bytes, 0, lost, lost_size
    )
    return heads, totals
