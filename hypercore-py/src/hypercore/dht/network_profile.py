"""How peers can reach us, as sent in every handshake."""

from __future__ import annotations

from typing import NamedTuple

from .address import Address
from .constants import Firewall
from .nat import NatSampler

MAX_LOCAL_ADDRESSES = 12
"""Local addresses that are sent, so that a handshake fits a datagram."""


class NetworkProfile(NamedTuple):
    """`public`: an address that every host can reach, None behind a NAT. `local`: addresses in our own
    network."""

    public: Address | None = None
    local: tuple[Address, ...] = ()
    firewall: Firewall = Firewall.UNKNOWN
    """The kind of NAT that a peer needs to punch a hole."""
    seen: tuple[Address, ...] | None = None
    """Our addresses as others see them."""

    @property
    def handshake_firewall(self) -> Firewall:
        """The firewall that a handshake reports: UNKNOWN for a NAT, which is measured later."""
        return Firewall.OPEN if self.public else Firewall.UNKNOWN

    @property
    def handshake_addresses(self) -> tuple[Address, ...]:
        public = () if self.public is None else (self.public,)
        return public + self.local[:MAX_LOCAL_ADDRESSES]


def profile_network(
    nat: NatSampler, *, firewalled: bool, local_port: int, local: tuple[Address, ...]
) -> NetworkProfile:
    """`local_port`: the bound port. If others see another one, they cannot reach us first."""
    public = None
    if not firewalled and nat.host is not None and nat.port == local_port:
        public = Address(nat.host, nat.port)
    return NetworkProfile(
        public=public,
        local=local,
        firewall=nat.firewall if firewalled else Firewall.OPEN,
        seen=nat.addresses,
    )
