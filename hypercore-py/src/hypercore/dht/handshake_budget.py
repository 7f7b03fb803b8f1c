"""A budget for the handshakes of clients that a node answers.

A handshake costs half a millisecond of CPU, and its sender has proven nothing: two thousand a second would
take a whole processor. So each /24 network has a bucket, and all networks together another one. A part is
reserved for networks that have sent none lately. A repeated handshake is answered from memory and counts
once.

Our own relays forward the handshakes of others: there the client's network counts.
"""

from __future__ import annotations

from .address import Address
from .reply_budget import network_of
from .work_budget import Rate, Rates, WorkBudget

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

RATES = Rates(
    network=Rate(MAX_NETWORK_BURST, NETWORK_PER_SECOND),
    together=Rate(MAX_BURST, PER_SECOND),
    newcomers=Rate(MAX_NEWCOMER_BURST, NEWCOMERS_PER_SECOND),
    newcomer=NEWCOMER_HANDSHAKES,
)


class HandshakeBudget(WorkBudget):
    """The budget of one node. `now` is seconds of any monotonic clock."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(RATES, now)

    def take(self, source: Address, client: Address, now: float, *, own_relay: bool) -> bool:
        """Count one more handshake of `client` that came from `source`. Returns whether to answer it.

        `own_relay`: `source` is one of our relays, so that the client's network counts.
        """
        return self.take_for(network_of(client.host if own_relay else source.host), now)
