"""Limits how many cores clients may name, and counts the clients that ask most."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

CLIENT_BURST = 1 << 15
"""Cores that a client may name at once: at each connection it names all that it has. Ours."""

CLIENT_RATE = 200.0
"""Cores a second that a client may name after that. Ours."""

HOST_BURST, HOST_RATE = 4 * CLIENT_BURST, 4 * CLIENT_RATE
"""The same for all clients of one address. Ours."""

MAX_BUCKETS = 8192
"""Clients, or addresses, that are counted; the one that was silent longest is dropped. Ours."""

MAX_COUNTERS = 1024
"""Names whose requests are counted. Another one takes the place and the number of the smallest. Ours."""

TOP = 20
"""Names in each list of an answer."""


class Buckets(Generic[K]):
    """A token bucket for each name."""

    def __init__(self, *, rate: float, burst: float, limit: int = MAX_BUCKETS) -> None:
        self._rate, self._burst, self._limit = rate, burst, limit
        self._buckets: OrderedDict[K, tuple[float, float]] = OrderedDict()
        """Tokens, and the time at which there were so many."""

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, name: K, now: float) -> float:
        """Tokens of a name now."""
        tokens, at = self._buckets.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._rate)

    def take(self, name: K, count: int, now: float) -> None:
        """Take tokens; check `left` before."""
        self._buckets[name] = (self.left(name, now) - count, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)


class RequestRates:
    """The rates of clients and of their addresses."""

    def __init__(self) -> None:
        self._clients: Buckets[bytes] = Buckets(rate=CLIENT_RATE, burst=CLIENT_BURST)
        self._hosts: Buckets[str] = Buckets(rate=HOST_RATE, burst=HOST_BURST)

    def admit(self, client: bytes, host: str, count: int, now: float) -> bool:
        """Whether a client may name `count` cores now; they are counted then."""
        count = max(1, count)
        if self._clients.left(client, now) < count or self._hosts.left(host, now) < count:
            return False
        self._clients.take(client, count, now)
        self._hosts.take(host, count, now)
        return True


class TopCounter:
    """Requests by name, exact for the most frequent names (the space-saving algorithm)."""

    def __init__(self, limit: int = MAX_COUNTERS) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Count a request."""
        if name not in self._counts and len(self._counts) >= self._limit:
            smallest = min(self._counts, key=self._counts.__getitem__)
            self._counts[name] = self._counts.pop(smallest)
        self._counts[name] = self._counts.get(name, 0) + 1

    def top(self, count: int = TOP) -> tuple[tuple[str, int], ...]:
        """The names with most requests, the largest first."""
        return tuple(sorted(self._counts.items(), key=lambda item: -item[1])[:count])


def network_of(host: str) -> str:
    """The address for which clients share rates and room: an IPv4 address, or the /64 network of an IPv6
    one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))
