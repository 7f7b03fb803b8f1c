"""Telling a conflict from a lie: two trees of the same fork, both signed, that differ.

Source: hypercore lib/core.js, `checkConflict` (11.37.1).
"""

from __future__ import annotations

from ..errors import RemoteProtocolError
from ..manifest import Manifest
from ..wire.data import Data
from .head import TreeHead
from .source import NodeSource
from .verify import verify_standalone


def is_conflict(data: Data, head: TreeHead, nodes: NodeSource, key: bytes, manifest: Manifest) -> bool:
    """Whether `data`, a whole tree from a peer on our fork, is signed and still differs from ours.

    A writer who made both has lost control of the core: nothing of it can be trusted beyond the common part.
    Trees longer than ours, and roots that we do not hold, are no evidence.
    """
    upgrade = data.upgrade
    if upgrade is None or data.fork != head.fork or upgrade.start + upgrade.length > head.length:
        return False
    try:
        verify_standalone(data, key, manifest)
    except RemoteProtocolError:
        return False
    for node in upgrade.nodes:
        stored = nodes.get(node.index)
        if stored is not None and stored.hash != node.hash:
            return True
    return False
