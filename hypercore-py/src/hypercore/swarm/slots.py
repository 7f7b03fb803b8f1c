"""Slots for peers that dial us: the number in all and per address, and which connection is closed when all
are taken.

Official swarms accept every peer. A publicly known seeder needs a bound, and one host must not use it up: at
the bound a connection of the address with most of them is closed, then the one silent longest. Peers that we
dialled do not count and are not closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MAX_CONNECTIONS = 512
"""Connections of peers that dialled us."""

HOST_SHARE = 4
"""Divisor: the share of one address."""

MIN_PER_HOST = 4
"""Slots that one address always has."""

LISTEN_INTERVAL = 0.5
"""Seconds between two checks of activity: a flood of handshakes must not cause a check each time."""

SILENCE = 60.0
"""Seconds without a message in either direction after which a connection may be closed for a new one."""


class Verdict(NamedTuple):
    """The decision about a peer that dials us."""

    accept: bool
    evict: bytes | None = None
    """Public key of the peer to close for it, if any."""


ACCEPT, REFUSE = Verdict(True), Verdict(False)


class _Slot:
    __slots__ = ("host", "messages", "spoke_at")

    def __init__(self, host: str, now: float) -> None:
        self.host = host
        self.messages = 0
        self.spoke_at = now


class Slots:
    """`messages(public_key)` returns the number of messages of a connection so far; it is called only when
    all slots are taken."""

    def __init__(self, messages: Callable[[bytes], int], *, limit: int = MAX_CONNECTIONS) -> None:
        self.limit = limit
        self.rejected = 0
        """Number of peers refused or closed for others."""
        self._messages = messages
        self._listened_at = float("-inf")
        self._taken: dict[bytes, _Slot] = {}
        self._hosts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def per_host(self) -> int:
        """Connections that one address may have."""
        return max(MIN_PER_HOST, self.limit // HOST_SHARE)

    def opened(self, public_key: bytes, host: str, now: float) -> None:
        """A peer that dialled us is connected."""
        self.closed(public_key)
        self._taken[public_key] = _Slot(host, now)
        self._hosts[host] = self._hosts.get(host, 0) + 1

    def closed(self, public_key: bytes) -> None:
        """The peer is disconnected; it may have had no slot."""
        slot = self._taken.pop(public_key, None)
        if slot is not None:
            left = self._hosts[slot.host] - 1
            if left:
                self._hosts[slot.host] = left
            else:
                del self._hosts[slot.host]

    def admit(self, host: str, now: float) -> Verdict:
        """Whether one more peer from that address is accepted, and which peer is closed for it."""
        mine = self._hosts.get(host, 0)
        if mine >= self.per_host:
            return REFUSE
        if len(self._taken) < self.limit:
            return ACCEPT
        self._listen(now)
        crowd = max(self._hosts, key=self._hosts.__getitem__, default=host)
        if self._hosts.get(crowd, 0) > mine + 1:
            return Verdict(True, self._quietest(crowd))
        quietest = self._quietest(None)
        if quietest is not None and now - self._taken[quietest].spoke_at >= SILENCE:
            return Verdict(True, quietest)
        return REFUSE

    def _listen(self, now: float) -> None:
        if now - self._listened_at < LISTEN_INTERVAL:
            return
        self._listened_at = now
        for public_key, slot in self._taken.items():
            messages = self._messages(public_key)
            if messages != slot.messages:
                slot.messages, slot.spoke_at = messages, now

    def _quietest(self, host: str | None) -> bytes | None:
        """The connection silent longest of one address, or of all; the oldest of several."""
        able = (key for key, slot in self._taken.items() if host is None or slot.host == host)
        return min(able, key=lambda key: self._taken[key].spoke_at, default=None)
