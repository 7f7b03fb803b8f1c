"""Makes a node persistent (it stores and relays for others) while other hosts reach it.

Source: dht-rpc index.js (6.27.0), `_updateNetworkState`: a node whose address has been open and the same for
a while becomes persistent, and ephemeral again when that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ...dht.address import Address, is_bogon

STABLE_SECONDS = 20 * 60.0
"""Seconds that other hosts must have reached us at one address (dht-rpc: 240 ticks of 5 s)."""
CHECK_SECONDS = 15.0
"""Seconds between two checks."""


async def run_persistence(
    public_address: Callable[[], Address | None],
    become_persistent: Callable[[Address], None],
    become_ephemeral: Callable[[], None],
) -> None:
    """Make a node persistent, and ephemeral again. Runs as long as the node.

    `public_address()` returns where other hosts reach it now, or None.
    """
    address: Address | None = None
    since = 0.0
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        now, public = monotonic(), public_address()
        if public is not None and is_bogon(public.host):
            public = None
        if public != address:
            address, since = public, now
            become_ephemeral()
        elif address is not None and now - since >= STABLE_SECONDS:
            become_persistent(address)
