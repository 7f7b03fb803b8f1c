"""Whether other hosts reach a node without a relay, measured again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from ...dht.address import Address
from ...dht.ttl_map import TtlMap
from .context import NodeContext
from .reachability import ReachabilityTest

REACHABILITY_DELAY_SECONDS = 5.0
"""Seconds between a change of the network and the test whether other hosts reach us."""
REACHABILITY_SECONDS = 3600.0
"""Seconds between two such tests otherwise."""
CONTACT_SECONDS = 900.0
"""Seconds for which a host that we sent a packet to does not count as unknown: a NAT may still have a mapping
for it."""
MAX_CONTACTS = 8192
"""Hosts kept for CONTACT_SECONDS, per generation."""


class ReachabilityWatch:
    """`firewalled` is the state to begin with. Unless it is `measured`, it stays so.

    `on_change` is called when a measurement has changed it.
    """

    def __init__(self, *, firewalled: bool, measured: bool, on_change: Callable[[], None]) -> None:
        self.firewalled = firewalled
        self.measured = measured
        self._on_change = on_change
        self._test: ReachabilityTest | None = None
        self._test_again = asyncio.Event()
        self._contacts: TtlMap[str, bool] = TtlMap(
            max_items=MAX_CONTACTS, lifetime=CONTACT_SECONDS, now=monotonic()
        )

    def on_sent(self, host: str, now: float) -> None:
        """A packet was sent to a host: it is not unknown for a while."""
        if self.measured:
            self._contacts.set(host, True, now)

    def on_message(self, data: bytes, source: Address) -> None:
        """A datagram came to the usual port."""
        if self._test is not None:
            self._test.heard(data, source)

    def on_address_changed(self) -> None:
        """Others see us elsewhere: measure soon."""
        self._test_again.set()

    def on_network_changed(self) -> None:
        """Count the host as unreachable until it is measured again: punching works in both cases."""
        self.firewalled = self.firewalled or self.measured

    async def run(self, context: NodeContext) -> None:
        """Measure until cancelled: networks change. Call it when the DHT was reached."""
        while True:
            self._test_again.clear()
            await asyncio.sleep(REACHABILITY_DELAY_SECONDS)
            await self.measure(context)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._test_again.wait(), REACHABILITY_SECONDS)

    async def measure(self, context: NodeContext) -> bool | None:
        """Ask unknown nodes to send us something. None: too few to decide."""
        now = monotonic()
        self._test = ReachabilityTest(context, lambda host: self._contacts.get(host, now) is None)
        try:
            reached = await self._test.run()
        finally:
            self._test = None
        if reached is not None and reached is self.firewalled:
            self.firewalled = not reached
            self._on_change()
        return reached
