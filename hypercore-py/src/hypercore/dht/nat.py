"""What other nodes tell us about our own address, and what follows from it about our NAT.

Source: nat-sampler index.js (1.0.1), hyperdht lib/nat.js (6.34.0). Every response carries the address that
the responder saw.
"""

from __future__ import annotations

from collections import Counter, deque

from .address import Address
from .constants import Firewall

MAX_SAMPLES = 16
"""Latest observations that count. One node contributes one in half an hour, so one liar cannot fill them."""
MIN_SAMPLES = 3
"""Observations without which nothing is said of the kind of NAT: each may have seen another port (nat.js)."""


class NatSampler:
    """A vote over the latest observations of our public address."""

    __slots__ = ("_samples", "host", "port")

    def __init__(self) -> None:
        self._samples: deque[Address] = deque(maxlen=MAX_SAMPLES)
        self.host: str | None = None
        """Our public host, as far as the samples agree on one."""
        self.port = 0
        """Our public port; 0 if they disagree."""

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, seen: Address) -> None:
        """One more node saw us at `seen`."""
        self._samples.append(seen)
        needed = self._needed()
        address, votes = Counter(self._samples).most_common(1)[0]
        if votes >= needed:
            self.host, self.port = address
            return
        host, votes = Counter(sample.host for sample in self._samples).most_common(1)[0]
        self.host, self.port = (host, 0) if votes >= needed else (None, 0)

    def _needed(self) -> int:
        """Votes for a verdict: all of the first three, then with one, two, three dissenters allowed."""
        size = len(self._samples)
        return size - (0 if size < 4 else 1 if size < 8 else 2 if size < 12 else 3)

    @property
    def firewall(self) -> Firewall:
        """The kind of NAT, as told to a peer who wants to punch through it."""
        if self.host is None or len(self._samples) < MIN_SAMPLES:
            return Firewall.UNKNOWN
        return Firewall.CONSISTENT if self.port else Firewall.RANDOM

    @property
    def addresses(self) -> tuple[Address, ...] | None:
        """Where we can be reached from outside. Port 0 if the NAT picks another one for every destination."""
        return None if self.host is None else (Address(self.host, self.port),)
