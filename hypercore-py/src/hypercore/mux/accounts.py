"""What a peer has been given, and how often it asked wrongly, kept beyond the channels it was on.

A channel can be closed and opened again for nothing, so its own counters would begin again.
"""

from __future__ import annotations

MAX_ACCOUNTS = 128
"""Accounts kept of one connection, of some 200 bytes; the one that was given least makes way. Ours."""


class Account:
    """Counters of one connection and one id of channels."""

    __slots__ = ("given", "invalid", "refused")

    def __init__(self) -> None:
        self.given = 0
        """Blocks that were sent."""
        self.refused = 0
        """Requests that were refused."""
        self.invalid = 0
        """Of these, requests that no peer could answer."""


class Accounts:
    """The accounts of one connection."""

    __slots__ = ("_accounts",)

    def __init__(self) -> None:
        self._accounts: dict[bytes, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def of(self, channel_id: bytes) -> Account:
        """The account of channels with that id, a new one if there is none or it had to make way."""
        account = self._accounts.get(channel_id)
        if account is None:
            if len(self._accounts) >= MAX_ACCOUNTS:
                del self._accounts[min(self._accounts, key=lambda each: self._accounts[each].given)]
            account = self._accounts[channel_id] = Account()
        return account
