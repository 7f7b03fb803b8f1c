"""A budget for the signatures that a storing node checks: of announcements, their ends and mutable records.

A check costs some 60 microseconds, and a valid token only shows that the sender receives at its address. A
request beyond the budget gets no answer, as if it had been lost.
"""

from __future__ import annotations

from .address import Address
from .reply_budget import network_of
from .work_budget import Rate, Rates, WorkBudget

MAX_NETWORK_BURST = 2048
"""Signatures of one /24 network that are checked at once."""
NETWORK_PER_SECOND = 400
"""Signatures a second by which that bucket refills."""
MAX_BURST = 4096
"""Signatures of all networks at once."""
PER_SECOND = 1600
"""Signatures a second by which that bucket refills: a tenth of a processor."""
MAX_NEWCOMER_BURST = 1024
"""Signatures beyond that at once, of networks that have sent few lately."""
NEWCOMERS_PER_SECOND = 400
"""Signatures a second by which that bucket refills."""
NEWCOMER_SIGNATURES = 16
"""Signatures after which a network is no newcomer."""

RATES = Rates(
    network=Rate(MAX_NETWORK_BURST, NETWORK_PER_SECOND),
    together=Rate(MAX_BURST, PER_SECOND),
    newcomers=Rate(MAX_NEWCOMER_BURST, NEWCOMERS_PER_SECOND),
    newcomer=NEWCOMER_SIGNATURES,
)


class SignatureBudget(WorkBudget):
    """The budget of one node. `now` is seconds of any monotonic clock."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(RATES, now)

    def take(self, source: Address, now: float) -> bool:
        """Count one more signature in a request from `source`. Returns whether to check it."""
        return self.take_for(network_of(source.host), now)
