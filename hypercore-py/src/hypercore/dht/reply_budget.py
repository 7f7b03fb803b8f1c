"""Limits the bytes that a storing node sends to addresses that may be forged.

A request for a record is some 50 bytes, the answer up to 1,500, and its sender may be forged to direct the
answer at a third host. The protocol's tokens come with the first answer, and official clients ask only once,
so records cannot require proof of receipt. Instead, the bytes of an answer beyond three times the request are
charged to the /24 network it goes to. A host that has used a token lately (by announcing or storing here) has
proven that it receives at its address, and has an account of its own.
"""

from __future__ import annotations

from .address import Address
from .ttl_map import TtlMap

MAX_REPLY_FACTOR = 3
"""Factor: answers up to this multiple of the request are free (as in QUIC, RFC 9000 section 8). Ours."""
MAX_UNPROVEN_BURST_BYTES = 64 << 10
"""Bytes beyond that to one /24 network at once: some forty full answers. Ours."""
UNPROVEN_BYTES_PER_SECOND = 16 << 10
"""Bytes a second by which that account refills."""
MAX_ALL_UNPROVEN_BURST_BYTES = 2 << 20
"""Bytes beyond that to all networks at once. Ours."""
ALL_UNPROVEN_BYTES_PER_SECOND = 512 << 10
"""Bytes a second by which that account refills."""
MAX_PROVEN_BURST_BYTES = 1 << 20
"""Bytes beyond that at once to one host that has used a token lately. Ours."""
PROVEN_BYTES_PER_SECOND = 256 << 10
"""Bytes a second by which that account refills."""
MAX_ACCOUNTS = 4096
"""Networks and hosts whose accounts are kept per generation."""
MAX_PROVEN_HOSTS = 16384
"""Hosts that have used a token, kept per generation."""
PROVEN_SECONDS = 1800.0
"""Nominal seconds for which such a host is kept: announcements are repeated every ten minutes."""
ACCOUNT_SECONDS = 60.0
"""Nominal seconds for which an account is kept: it is full again after some seconds."""


class Account:
    """A bucket of bytes that refills over time."""

    __slots__ = ("_at", "_level", "_rate", "_size")

    def __init__(self, size: int, rate: int, now: float) -> None:
        self._size, self._rate = size, rate
        self._level = float(size)
        self._at = now

    def has(self, amount: int, now: float) -> bool:
        self._level = min(self._size, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._level >= amount

    def spend(self, amount: int) -> None:
        self._level -= amount


class ReplyBudget:
    """The budget of one node."""

    def __init__(self, now: float) -> None:
        self._all = Account(MAX_ALL_UNPROVEN_BURST_BYTES, ALL_UNPROVEN_BYTES_PER_SECOND, now)
        self._accounts: TtlMap[str, Account] = TtlMap(
            max_items=MAX_ACCOUNTS, lifetime=ACCOUNT_SECONDS, now=now
        )
        self._proven: TtlMap[str, bool] = TtlMap(max_items=MAX_PROVEN_HOSTS, lifetime=PROVEN_SECONDS, now=now)

    def record_proven(self, host: str, now: float) -> None:
        """`host` has used one of our tokens: it receives at its address."""
        self._proven.set(host, True, now)

    def take(self, source: Address, request_bytes: int, reply_bytes: int, now: float) -> bool:
        """Whether a reply of that size may be sent to `source`. If so it is charged."""
        excess = reply_bytes - MAX_REPLY_FACTOR * request_bytes
        if excess <= 0:
            return True
        if self._proven.get(source.host, now):
            account = self._account(source.host, MAX_PROVEN_BURST_BYTES, PROVEN_BYTES_PER_SECOND, now)
            if not account.has(excess, now):
                return False
        else:
            network = network_of(source.host)
            account = self._account(network, MAX_UNPROVEN_BURST_BYTES, UNPROVEN_BYTES_PER_SECOND, now)
            if not account.has(excess, now) or not self._all.has(excess, now):
                return False
            self._all.spend(excess)
        account.spend(excess)
        return True

    def _account(self, name: str, size: int, rate: int, now: float) -> Account:
        account = self._accounts.get(name, now)
        if account is None:
            account = Account(size, rate, now)
            self._accounts.set(name, account, now)
        return account


def network_of(host: str) -> str:
    """The /24 network of an IPv4 address, as its first three numbers and a dot."""
    return host[: host.rfind(".") + 1]
