"""Connections of our own nodes to a peer that has just started."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from hypercore.aio.dht.node import DhtNode
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.errors import PeerNotFound

KNOWN_WITHIN: Final = 30.0
"""Seconds until the nodes of the network know a peer that is ready, on a machine that is busy with other
tests."""
DIAL_AGAIN: Final = 0.1


async def connect_when_known(node: DhtNode, public_key: bytes) -> SecretConnection:
    """Connect to a peer that is ready. It says so before its first announcement has reached the nodes of the
    network: until then they know no such peer. Raises as `DhtNode.connect`."""
    until = time.monotonic() + KNOWN_WITHIN
    while True:
        try:
            return await node.connect(public_key)
        except PeerNotFound:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(DIAL_AGAIN)
