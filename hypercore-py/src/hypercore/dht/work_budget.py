"""A budget for work whose sender has proven little: requests that cost much of a processor.

Each /24 network has a bucket, and all networks together another one. A part is reserved for networks that
have sent none lately.
"""

from __future__ import annotations

from typing import NamedTuple

from .reply_budget import Account
from .ttl_map import TtlMap

MAX_NETWORKS = 4096
"""Networks kept per generation: about 1 MB."""
NETWORK_SECONDS = 60.0
"""Nominal seconds for which a network is kept."""


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


class _Network:
    __slots__ = ("account", "seen")

    def __init__(self, rate: Rate, now: float) -> None:
        self.account = Account(rate.burst, rate.per_second, now)
        self.seen = 0


class WorkBudget:
    """The budget of one node. `now` is seconds of any monotonic clock."""

    def __init__(self, rates: Rates, now: float = 0.0) -> None:
        self.refused = 0
        """Pieces of work that were not done."""
        self._rates = rates
        self._all = Account(rates.together.burst, rates.together.per_second, now)
        self._newcomers = Account(rates.newcomers.burst, rates.newcomers.per_second, now)
        self._networks: TtlMap[str, _Network] = TtlMap(
            max_items=MAX_NETWORKS, lifetime=NETWORK_SECONDS, now=now
        )

    def take_for(self, name: str, now: float) -> bool:
        """Count one more piece of a network. Returns whether to do it."""
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
