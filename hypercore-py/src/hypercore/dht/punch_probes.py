"""The single bytes that a side sends while it punches, and their times.

Source: hyperdht lib/holepuncher.js (6.34.0). Two NATs that keep one public port per socket (CONSISTENT) only
need a mapping for each other. Behind one that uses another port for each destination (RANDOM), a side opens
many ports for the other side, which guesses until it hits one (the birthday paradox).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .address import Address

PUNCH = b"\0"
"""A probe; only its length of one byte matters."""
LOW_TTL = 5
"""TTL that passes our own NAT and does not reach the other one, where it would look like an attack."""
TICKS = 10
"""Rounds of bytes between two consistent NATs before the punch fails (holepuncher.js)."""
TICK_SECONDS = 1.0
"""Seconds between two rounds."""
UNVERIFIED_TICKS = 4
"""Addresses without proof of receipt get a byte every so many ticks."""
MAX_HOLES = 256
"""Sockets opened behind a random NAT (holepuncher.js BIRTHDAY_SOCKETS). One guess in 252 hits one of them."""
HOLES_AT_ONCE = 16
"""Sockets opened per step, to spare us and the router a burst."""
MAX_GUESSES = 1750
"""Bytes that each side sends where one NAT is random. One punch in a thousand fails."""
GUESS_SECONDS = 0.02
"""Seconds between two of these bytes: 50 a second, half a minute in all."""
LEAD_SECONDS = 0.1
"""Seconds from the opening of the last socket to the first byte that should arrive."""
PORTS = range(1000, 65536)
"""Ports that are guessed (holepuncher.js `randomPort`)."""


class Probe(NamedTuple):
    """One byte to send."""

    address: Address
    ttl: int | None = None
    hole: int | None = None
    """Number of the punch's own socket to send it from. None: the usual socket."""


Volley = tuple[list[Probe], float]
"""Bytes to send now, and seconds until the next volley."""


def consistent_probes(addresses: Callable[[], dict[Address, bool]]) -> Iterator[Volley]:
    """For two consistent NATs. `addresses()`: possible addresses of the other side, and whether it has proven
    them."""
    for tick in range(1, TICKS + 1):
        unverified_too = tick % UNVERIFIED_TICKS == 0
        shots = [Probe(a) for a, verified in addresses().items() if a.port and (verified or unverified_too)]
        yield shots, TICK_SECONDS


def random_port_probes(host: str, random_bytes: Callable[[int], bytes]) -> Iterator[Volley]:
    """For a random NAT of the other side: guess its ports."""
    for _ in range(MAX_GUESSES):
        port = PORTS[int.from_bytes(random_bytes(4), "big") % len(PORTS)]
        yield [Probe(Address(host, port))], GUESS_SECONDS


def birthday_probes(address: Address) -> Iterator[Volley]:
    """For our own random NAT: open many ports and keep them open."""
    for first in range(0, MAX_HOLES, HOLES_AT_ONCE):
        opened = range(first, min(first + HOLES_AT_ONCE, MAX_HOLES))
        last = opened.stop == MAX_HOLES
        yield (
            [Probe(address, LOW_TTL, hole) for hole in opened],
            LEAD_SECONDS if last else GUESS_SECONDS,
        )
    for number in range(MAX_GUESSES):
        # The other side guesses by now; bytes that come earlier may look like an attack
        ttl = LOW_TTL if number < MAX_HOLES else None
        yield [Probe(address, ttl, number % MAX_HOLES)], GUESS_SECONDS
