"""A budget for the handshakes of clients that a node answers.

A handshake costs half a millisecond of CPU, and its sender has proven nothing: two thousand a second would
take a whole processor. So each /24 network has a bucket, and all networks together another one. A part is
reserved for networks that have sent none lately. A repeated handshake is answered from memory and counts
once.

Our own relays forward the handshakes of others: there the client's network counts.
"""

from __future__ import annotations

from .address import Address
from .reply_budget import Account, network_of
from .ttl_map import TtlMap

MAX_NETWORK_BURST = 512
"""Handshakes of one /24 network at once. Ours."""
NETWORK_PER_SECOND = 50
"""Handshakes a second by which that bucket refills."""
MAX_BURST = 1024
"""Handshakes of all networks at once. Ours."""
PER_SECOND = 200
"""Handshakes a second by which that bucket refills: a tenth of a processor."""
MAX_NEWCOMER_BURST = 256
"""Handshakes beyond that at once, of networks that have sent none lately. Ours."""
NEWCOMERS_PER_SECOND = 50
"""Handshakes a second by which that bucket refills."""
NEWCOMER_HANDSHAKES = 4
"""Handshakes after which a network is no newcomer: a client sends one for each dial."""
MAX_NETWORKS = 4096
"""Networks kept per generation: about 1 MB."""
NETWORK_SECONDS = 60.0
"""Nominal seconds for which a network is kept."""


class _Network:
    __slots__ = ("account", "seen")

    def __init__(self, now: float) -> None:
        self.account = Account(MAX_NETWORK_BURST, NETWORK_PER_SECOND, now)
        self.seen = 0


class HandshakeBudget:
    """The budget of one node. `now` is seconds of any monotonic clock."""

    def __init__(self, now: float = 0.0) -> None:
        self.refused = 0
        """Handshakes that were not answered."""
        self._all = Account(MAX_BURST, PER_SECOND, now)
        self._newcomers = Account(MAX_NEWCOMER_BURST, NEWCOMERS_PER_SECOND, now)
        self._networks: TtlMap[str, _Network] = TtlMap(
            max_items=MAX_NETWORKS, lifetime=NETWORK_SECONDS, now=now
        )

    def take(self, source: Address, client: Address, now: float, *, own_relay: bool) -> bool:
        """Count one more handshake of `client` that came from `source`. Returns whether to answer it.

        `own_relay`: `source` is one of our relays, so that the client's network counts.
        """
        name = network_of(client.host if own_relay else source.host)
        network = self._networks.get(name, now)
        if network is None:
            network = _Network(now)
            self._networks.set(name, network, now)
        network.seen += 1
        if network.account.has(1, now):
            for account in (self._all, self._newcomers):
                if account is self._newcomers and network.seen > NEWCOMER_HANDSHAKES:
                    break
                if account.has(1, now):
                    account.spend(1)
                    network.account.spend(1)
                    return True
        self.refused += 1
        return False
