"""Budgets for work whose sender has proven little: requests that cost much of a processor.

Each /24 network has a bucket, and all networks together another one. A part is reserved for networks that
have sent none lately. Work beyond the budget is not done, as if the request had been lost.
"""

from __future__ import annotations

from typing import NamedTuple

from .reply_budget import Account, network_of
from .ttl_map import TtlMap

MAX_NETWORKS = 4096
"""Networks kept per generation: about 1 MB."""
NETWORK_SECONDS = 60.0
"""Nominal seconds for which a network is kept."""

MAX_NETWORK_HANDSHAKES = 512
"""Handshakes of one /24 network at once. Ours."""
NETWORK_HANDSHAKES_PER_SECOND = 50
"""Handshakes a second by which that bucket refills."""
MAX_HANDSHAKES = 1024
"""Handshakes of all networks at once. Ours."""
HANDSHAKES_PER_SECOND = 200
"""Handshakes a second by which that bucket refills: a tenth of a processor, at half a millisecond each."""
MAX_NEWCOMER_HANDSHAKES = 256
"""Handshakes beyond that at once, of networks that have sent none lately. Ours."""
NEWCOMER_HANDSHAKES_PER_SECOND = 50
"""Handshakes a second by which that bucket refills."""
NEWCOMER_HANDSHAKES = 4
"""Handshakes after which a network is no newcomer: a client sends one for each dial."""

MAX_NETWORK_SIGNATURES = 2048
"""Signatures of one /24 network that are checked at once. Ours."""
NETWORK_SIGNATURES_PER_SECOND = 400
"""Signatures a second by which that bucket refills."""
MAX_SIGNATURES = 4096
"""Signatures of all networks at once. Ours."""
SIGNATURES_PER_SECOND = 1600
"""Signatures a second by which that bucket refills: a tenth of a processor, at 60 microseconds each."""
MAX_NEWCOMER_SIGNATURES = 1024
"""Signatures beyond that at once, of networks that have sent few lately. Ours."""
NEWCOMER_SIGNATURES_PER_SECOND = 400
"""Signatures a second by which that bucket refills."""
NEWCOMER_SIGNATURES = 16
"""Signatures after which a network is no newcomer."""


class Rate(NamedTuple):
    """The size of a bucket, and by how much it refills."""

    burst: int
    per_second: int


class Rates(NamedTuple):
    """The buckets of a budget, in pieces of work."""

    network: Rate
    together: Rate
    newcomers: Rate
    """Beyond that, for networks that have sent little."""
    newcomer: int
    """Pieces after which a network is no newcomer."""


HANDSHAKES = Rates(
    network=Rate(MAX_NETWORK_HANDSHAKES, NETWORK_HANDSHAKES_PER_SECOND),
    together=Rate(MAX_HANDSHAKES, HANDSHAKES_PER_SECOND),
    newcomers=Rate(MAX_NEWCOMER_HANDSHAKES, NEWCOMER_HANDSHAKES_PER_SECOND),
    newcomer=NEWCOMER_HANDSHAKES,
)
"""Handshakes that a node answers. A repeated one is answered from memory and counts once."""

SIGNATURES = Rates(
    network=Rate(MAX_NETWORK_SIGNATURES, NETWORK_SIGNATURES_PER_SECOND),
    together=Rate(MAX_SIGNATURES, SIGNATURES_PER_SECOND),
    newcomers=Rate(MAX_NEWCOMER_SIGNATURES, NEWCOMER_SIGNATURES_PER_SECOND),
    newcomer=NEWCOMER_SIGNATURES,
)
"""Signatures that a storing node checks: of announcements, their ends and mutable records. A valid token only
shows that the sender receives at its address."""


class _Network:
    __slots__ = ("account", "seen")

    def __init__(self, rate: Rate, now: float) -> None:
        self.account = Account(rate.burst, rate.per_second, now)
        self.seen = 0


class WorkBudget:
    """A budget of one node. `now` is seconds of any monotonic clock."""

    def __init__(self, rates: Rates, now: float = 0.0) -> None:
        self.refused = 0
        """Pieces of work that were not done."""
        self._rates = rates
        self._all = Account(rates.together.burst, rates.together.per_second, now)
        self._newcomers = Account(rates.newcomers.burst, rates.newcomers.per_second, now)
        self._networks: TtlMap[str, _Network] = TtlMap(
            max_items=MAX_NETWORKS, lifetime=NETWORK_SECONDS, now=now
        )

    def take(self, host: str, now: float) -> bool:
        """Count one more piece of work for `host`, an IPv4 address. Returns whether to do it."""
        name = network_of(host)
        network = self._networks.get(name, now)
        if network is None:
            network = _Network(self._rates.network, now)
            self._networks.set(name, network, now)
        network.seen += 1
        if network.account.has(1, now):
            for account in (self._all, self._newcomers):
                if account is self._newcomers and network.seen > self._rates.newcomer:
                    break
                if account.has(1, now):
                    account.spend(1)
                    network.account.spend(1)
                    return True
        self.refused += 1
        return False
