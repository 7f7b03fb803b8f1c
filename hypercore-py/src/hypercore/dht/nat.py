"""Our address as other nodes report it, and the kind of NAT that follows.

Source: nat-sampler index.js (1.0.1), hyperdht lib/nat.js (6.34.0). Every response carries the address that
the responder saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .address import Address
from .constants import Firewall

MAX_SAMPLES = 16
"""Nodes that vote: the last new ones. Each has one vote, so that one lying node decides nothing."""
MIN_SAMPLES = 3
"""Observations needed before the kind of NAT is decided: each may have seen another port (nat.js)."""


class NatSampler:
    """A vote of nodes over our public address."""

    __slots__ = ("_samples", "host", "port")

    def __init__(self) -> None:
        self._samples: dict[Address, Address] = {}
        self.host: str | None = None
        """Our public host, as far as the samples agree on one."""
        self.port = 0
        """Our public port; 0 if they disagree."""

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, seen: Address, by: Address) -> bool:
        """The node at `by` sees us at `seen`. Returns whether the derived address changed."""
        if self._samples.get(by) == seen:
            return False
        self._samples[by] = seen
        if len(self._samples) > MAX_SAMPLES and self._samples.pop(next(iter(self._samples))) == seen:
            return False  # the frequent case: the same vote again
        before = self.host, self.port
        self._count()
        return (self.host, self.port) != before

    def restart(self, votes: Iterable[tuple[Address, Address]]) -> None:
        """The network changed: earlier observations are dropped. `votes` are pairs of `by` and `seen`."""
        self._samples = dict(votes)
        self.host, self.port = None, 0
        if self._samples:
            self._count()

    def _count(self) -> None:
        needed = self._needed()
        address, votes = Counter(self._samples.values()).most_common(1)[0]
        if votes >= needed:
            self.host, self.port = address
            return
        host, votes = Counter(sample.host for sample in self._samples.values()).most_common(1)[0]
        self.host, self.port = (host, 0) if votes >= needed else (None, 0)

    def _needed(self) -> int:
        """Votes for a decision: all of the first three, later all but one, two or three."""
        size = len(self._samples)
        return size - (0 if size < 4 else 1 if size < 8 else 2 if size < 12 else 3)

    @property
    def agreeing(self) -> int:
        """Nodes that see us at our derived address, or at another port of our derived host."""
        if self.host is None:
            return 0
        return sum(seen.host == self.host and self.port in (0, seen.port) for seen in self._samples.values())

    @property
    def firewall(self) -> Firewall:
        """The kind of NAT, as reported to a peer that punches through it."""
        if self.host is None or len(self._samples) < MIN_SAMPLES:
            return Firewall.UNKNOWN
        return Firewall.CONSISTENT if self.port else Firewall.RANDOM

    @property
    def addresses(self) -> tuple[Address, ...] | None:
        """Our public addresses. Port 0 if the NAT uses another one for each destination."""
        return None if self.host is None else (Address(self.host, self.port),)
