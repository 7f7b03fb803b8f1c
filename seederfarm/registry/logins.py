"""Limits on login attempts. No clock, no network; the form is in `admin.login`.

Failed attempts are counted per account and address, per address, and per account over all addresses. Each
count falls by one after a while. At a bound no attempt is made until there is room, whether or not the
password is right. An address from which an account was logged in to before is not blocked by others' attempts
on that account.

Counts are in the memory of the process that serves the pages, and end with it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict
from typing import Final

from .buckets import Buckets, RateLimit

MAX_COUNTED: Final = 10_000
"""Accounts and addresses, of each of three kinds, whose attempts are counted; beyond it the least recently
used are removed. Ours: about 2 MB a kind."""
MAX_KNOWN: Final = 1_000
"""Pairs of account and address that logged in successfully. Ours."""
PAIR: Final = RateLimit(5, 60.0)
"""For one account from one address. Ours: about 1,400 guesses a day."""
ADDRESS: Final = RateLimit(20, 30.0)
"""For one address (IPv6: a /64), any account."""
ACCOUNT: Final = RateLimit(50, 30.0)
"""For one account, from addresses that never logged in to it."""


class LoginLimit:
    """Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._pairs = Buckets(PAIR, MAX_COUNTED)
        self._addresses = Buckets(ADDRESS, MAX_COUNTED)
        self._accounts = Buckets(ACCOUNT, MAX_COUNTED)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def wait(self, account: str, address: str, now: float) -> int:
        """Seconds to wait before an attempt; 0: now."""
        pair = _pair(account, address)
        waits = [self._pairs.wait(pair, now), self._addresses.wait(place_of(address), now)]
        if pair not in self._known:
            waits.append(self._accounts.wait(_account(account), now))
        return math.ceil(max(waits))

    def failed(self, account: str, address: str, now: float) -> None:
        """Count a failed attempt. `now` is seconds of a monotonic clock."""
        pair = _pair(account, address)
        self._pairs.add(pair, now)
        self._addresses.add(place_of(address), now)
        if pair not in self._known:
            self._accounts.add(_account(account), now)

    def succeeded(self, account: str, address: str) -> None:
        """Reset the count of this account and address, and remember the pair."""
        pair = _pair(account, address)
        self._pairs.remove(pair)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


def _account(name: str) -> bytes:
    return _digest("account", name.casefold())


def place_of(address: str) -> bytes:
    """Return the place of an address, for which attempts are counted: itself, of IPv6 its /64. Sixteen
    bytes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return _digest("place", address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed) >> 64 << 64)
    return _digest("place", str(parsed))


def _pair(account: str, address: str) -> bytes:
    return _account(account) + place_of(address)


def _digest(kind: str, text: str) -> bytes:
    """Sixteen bytes, however long the name."""
    return hashlib.blake2b(f"{kind}:{text}".encode("utf-8", "replace"), digest_size=16).digest()
