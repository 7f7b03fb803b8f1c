"""What a side sends while it punches, and when: bytes to where the other side may be.

Source: hyperdht lib/holepuncher.js (6.34.0). Two NATs that keep one public port per socket (CONSISTENT) only
have to be opened towards each other. One that takes another port for every destination (RANDOM) is beaten by
the birthday paradox: its side opens many ports towards the other side, which guesses until it hits one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .address import Address

PUNCH = b"\0"
"""A probe; only its length of one byte matters."""
LOW_TTL = 5
"""Enough to get through our own NAT, too little to reach the other one and look like an attack."""
TICKS = 10
"""Rounds of bytes between two consistent NATs before it is given up (holepuncher.js)."""
TICK_SECONDS = 1.0
"""Between two of these rounds."""
UNVERIFIED_TICKS = 4
"""Addresses without proof of receipt get a byte every so many ticks."""
MAX_HOLES = 256
"""Sockets opened behind a random NAT (holepuncher.js BIRTHDAY_SOCKETS). One guess in 252 hits one of them."""
HOLES_AT_ONCE = 16
"""Sockets opened per step, so that neither we nor the router stumble."""
MAX_GUESSES = 1750
"""Bytes that each side sends where one NAT is random. They fail to meet once in a thousand times."""
GUESS_SECONDS = 0.02
"""Between two of these bytes: 50 a second, half a minute in all."""
SETTLE_SECONDS = 0.1
"""Between the opening of the last socket and the first byte that is meant to arrive."""
PORTS = range(1000, 65536)
"""Ports that are guessed (holepuncher.js `randomPort`)."""


class Probe(NamedTuple):
    """One byte to send."""

    address: Address
    ttl: int | None = None
    hole: int | None = None
    """Number of the socket to send it from, which only this punch uses. None: the usual one."""


Volley = tuple[list[Probe], float]
"""Bytes to send now, and seconds until the next volley."""


def consistent_probes(addresses: Callable[[], dict[Address, bool]]) -> Iterator[Volley]:
    """Both NATs keep their ports. `addresses()`: where the other side may be, and whether it proved to."""
    for tick in range(1, TICKS + 1):
        unverified_too = tick % UNVERIFIED_TICKS == 0
        shots = [Probe(a) for a, verified in addresses().items() if a.port and (verified or unverified_too)]
        yield shots, TICK_SECONDS


def random_port_probes(host: str, random_bytes: Callable[[int], bytes]) -> Iterator[Volley]:
    """The other side's NAT is random: guess."""
    for _ in range(MAX_GUESSES):
        port = PORTS[int.from_bytes(random_bytes(4), "big") % len(PORTS)]
        yield [Probe(Address(host, port))], GUESS_SECONDS


def birthday_probes(address: Address) -> Iterator[Volley]:
    """Our NAT is random: be there at many ports, and keep them open."""
    for first in range(0, MAX_HOLES, HOLES_AT_ONCE):
        opened = range(first, min(first + HOLES_AT_ONCE, MAX_HOLES))
        last = opened.stop == MAX_HOLES
        yield (
            [Probe(address, LOW_TTL, hole) for hole in opened],
            SETTLE_SECONDS if last else GUESS_SECONDS,
        )
    for number in range(MAX_GUESSES):
        # Whoever guesses has begun by now, but bytes that come too early may look like an attack
        ttl = LOW_TTL if number < MAX_HOLES else None
        yield [Probe(address, ttl, number % MAX_HOLES)], GUESS_SECONDS
