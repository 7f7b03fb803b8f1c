"""Merkle trees: proofs made and checked, heads signed and verified, forks followed.

Format and rules: holepunchto/hypercore lib/merkle-tree.js, lib/verifier.js (11.37.1). All functions depend
only on stored nodes and a peer's messages; no module stores or sends.
"""

from .head import TreeHead
from .proof import create_proof
from .reorg import Reorg
from .signing import sign_head, verify_head
from .source import NodeSource
from .verify import Verified, verify_data, verify_standalone

__all__ = [
    "NodeSource",
    "Reorg",
    "TreeHead",
    "Verified",
    "create_proof",
    "sign_head",
    "verify_data",
    "verify_head",
    "verify_standalone",
]
