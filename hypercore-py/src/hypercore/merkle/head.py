"""The head of a core: length, roots and signature."""

from __future__ import annotations

from dataclasses import dataclass

from ..node import Node
from .hashing import tree_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """A state of the tree. Heads of one fork continue each other; a higher fork is another history."""

    fork: int = 0
    length: int = 0
    """Blocks."""
    byte_length: int = 0
    roots: tuple[Node, ...] = ()
    """Left to right; `flat_tree.full_roots(length)` are their indices."""
    signature: bytes | None = None
    """As it came with the upgrade. None for an empty core, and within the prologue on fork 0."""

    def hash(self) -> bytes:
        """The tree hash."""
        return tree_hash(self.roots)
