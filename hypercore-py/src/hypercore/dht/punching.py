"""Hole punching between NATs that keep one public port per socket (CONSISTENT): both sides send single bytes
until one gets through.

Source: hyperdht lib/holepuncher.js (6.34.0). NATs that pick another port for every destination (RANDOM)
need many sockets or many guesses; that is not attempted here.
"""

from __future__ import annotations

from .address import Address
from .constants import Firewall
from .messages import HolepunchPayload

PUNCH = b"\0"
"""The datagram that is sent; what it says does not matter, only that it is one byte long."""
LOW_TTL = 5
"""Enough to get through our own NAT, too little to reach the other one and look like an attack."""
TICKS = 10
"""Rounds of bytes that are sent before it is given up (holepuncher.js)."""
TICK_SECONDS = 1.0
"""Between two rounds."""
UNVERIFIED_TICKS = 4
"""Addresses that nobody proved to read at get a byte every so many ticks."""
MAX_REMOTE_ADDRESSES = 8
"""Addresses of the other side that are punched at."""
MAX_ECHOES = 16
"""Single bytes that are answered per puncher, so that two peers cannot echo each other for ever."""
ECHO_SECONDS = 0.5
"""Time between two of these: the other side sends one a second, an echo of our echo comes at once."""


class Puncher:
    """What we know of the other side's addresses, and when to send it a byte."""

    def __init__(self, *, initiator: bool, remote_host: str, remote_firewall: int = Firewall.UNKNOWN) -> None:
        """`remote_host` is where the handshake says that the other side is."""
        self.remote_firewall = remote_firewall
        self.remote_punching = False
        self.punching = False
        self._initiator = initiator
        self._remote_host = remote_host
        self._addresses: dict[Address, bool] = {}
        self._tick = 0
        self._at: float | None = None
        self._echoes = 0
        self._echo_at = float("-inf")

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(self._addresses)

    def update(self, payload: HolepunchPayload, verified_host: str | None) -> None:
        """The other side told its state. `verified_host`: it proved to read what is sent there."""
        verified = {address.host for address, known in self._addresses.items() if known}
        if verified_host is not None:
            verified.add(verified_host)
        self._addresses = {
            address: address.host in verified for address in (payload.addresses or ())[:MAX_REMOTE_ADDRESSES]
        }
        self.remote_firewall = payload.firewall
        self.remote_punching = payload.punching

    def start(self, local_firewall: int, now: float) -> bool:
        """Begin to punch. False if that is of no use for these two NATs."""
        if self.punching:
            return True
        targets = [address for address in self._addresses if address.port]
        if not targets or not (_is_stable(local_firewall) and _is_stable(self.remote_firewall)):
            return False
        self.punching = True
        # The server has just answered with a byte of its own ("fast open"): it gives that a moment
        self._at = now if self._initiator else now + TICK_SECONDS
        return True

    def stop(self) -> None:
        self.punching = False
        self._at = None

    def next_deadline(self) -> float | None:
        return self._at

    @property
    def exhausted(self) -> bool:
        """All bytes were sent, and a while has passed."""
        return self._tick > TICKS

    def handle_timer(self, now: float) -> list[Address]:
        """Where to send a byte now."""
        if self._at is None or now < self._at:
            return []
        self._tick += 1
        if self.exhausted:
            self.stop()
            return []
        self._at = now + TICK_SECONDS
        everybody = self._tick % UNVERIFIED_TICKS == 0
        return [a for a, verified in self._addresses.items() if a.port and (verified or everybody)]

    def may_echo(self, source: Address, now: float) -> bool:
        """A byte came from `source`: whether to answer it. Only the side that did not start does."""
        if self._initiator or self._echoes >= MAX_ECHOES or now < self._echo_at:
            return False
        if not self.expects(source.host):
            return False
        self._echoes += 1
        self._echo_at = now + ECHO_SECONDS
        return True

    def expects(self, host: str) -> bool:
        """Whether the other side may be at `host`."""
        return host == self._remote_host or any(host == address.host for address in self._addresses)


def _is_stable(firewall: int) -> bool:
    return firewall in (Firewall.OPEN, Firewall.CONSISTENT)
