"""Limits what a storing node sends to addresses that may be forged.

A request for a record is some 50 bytes, the answer up to 1,500, and its sender may be forged to direct the
answer at a third host. The protocol's tokens come with the first answer, and official clients ask only once,
so a record cannot require proof of receipt. Instead, what answers carry beyond three times the request is
counted against the /24 network they go to. A host that has lately used a token, as every host that announces
or stores something here has, reads what it is sent: it has an account of its own.
"""

from __future__ import annotations

from .address import Address
from .ttl_map import TtlMap

MAX_REPLY_FACTOR = 3
"""Answers of at most this multiple of the request cost nothing (as in QUIC, RFC 9000 section 8). Ours."""
MAX_UNPROVEN_BURST_BYTES = 64 << 10
"""Beyond that to one /24 network at once: some forty full answers. Ours."""
UNPROVEN_BYTES_PER_SECOND = 16 << 10
"""What comes back of it each second."""
MAX_ALL_UNPROVEN_BURST_BYTES = 2 << 20
"""The same over all networks. Ours."""
ALL_UNPROVEN_BYTES_PER_SECOND = 512 << 10
"""What comes back of that each second."""
MAX_PROVEN_BURST_BYTES = 1 << 20
"""To one host that has used a token lately. Ours."""
PROVEN_BYTES_PER_SECOND = 256 << 10
"""What comes back of that each second."""
MAX_ACCOUNTS = 4096
"""Networks and hosts whose accounts are kept per generation."""
MAX_PROVEN_HOSTS = 16384
"""Hosts remembered that have used a token, per generation."""
PROVEN_SECONDS = 1800.0
"""For how long, nominal: announcements are repeated every ten minutes."""
ACCOUNT_SECONDS = 60.0
"""How long an account is kept, nominal: it is full again after some seconds."""


class Account:
    """Bytes that may be sent now: a bucket that fills by itself."""

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
    """Of one node."""

    def __init__(self, now: float) -> None:
        self._all = Account(MAX_ALL_UNPROVEN_BURST_BYTES, ALL_UNPROVEN_BYTES_PER_SECOND, now)
        self._accounts: TtlMap[str, Account] = TtlMap(
            max_items=MAX_ACCOUNTS, lifetime=ACCOUNT_SECONDS, now=now
        )
        self._proven: TtlMap[str, bool] = TtlMap(max_items=MAX_PROVEN_HOSTS, lifetime=PROVEN_SECONDS, now=now)

    def note_proven(self, host: str, now: float) -> None:
        """`host` has used one of our tokens: it reads what it is sent."""
        self._proven.set(host, True, now)

    def take(self, source: Address, request_bytes: int, reply_bytes: int, now: float) -> bool:
        """Whether a reply of that size may go to who seems to have sent the request. If so it is counted."""
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
    """The /24 network of an IPv4 address, as its first three numbers and a dot: what one owner mostly has."""
    return host[: host.rfind(".") + 1]
