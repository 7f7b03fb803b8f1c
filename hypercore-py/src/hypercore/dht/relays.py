"""The nodes that relay handshakes to one of our servers.

Source: hyperdht lib/announcer.js (6.34.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .address import Address
from .messages import RelayInfo
from .rpc import Reply

RELAYS = 3
"""Nodes that a server announces itself to."""
PING_SECONDS = 3.0
"""Seconds between two pings, which keep our NAT's mapping for them."""
PING_ROUNDS = 100
"""Ping rounds (about five minutes) after which the announcement is renewed."""
GENERATIONS = 3
"""Announcements after which a former relay no longer counts as one."""


class AnnouncedRelays:
    """Current and recent relays of one server."""

    def __init__(self) -> None:
        self._generations: list[dict[Address, RelayInfo]] = [{} for _ in range(GENERATIONS)]

    @property
    def current(self) -> tuple[RelayInfo, ...]:
        return tuple(self._generations[-1].values())

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Addresses for our records, so that peers reach us without a search."""
        return tuple(self._generations[-1])

    def replace(self, relays: Iterable[RelayInfo]) -> list[Address]:
        """A new announcement went to `relays`. Returns the nodes that are no longer relays."""
        before = self._generations[-1]
        self._generations = [*self._generations[1:], {relay.relay_address: relay for relay in relays}]
        return [address for address in before if address not in self._generations[-1]]

    def is_relay(self, address: Address) -> bool:
        """Whether `address` is or recently was a relay: handshakes through old ones may still come."""
        return any(address in generation for generation in self._generations)


def best_replies(replies: Iterable[Reply], count: int = RELAYS) -> list[Reply]:
    """The nearest nodes that sent their id and a token, to which we can announce."""
    return [reply for reply in replies if reply.id is not None and reply.token is not None][:count]


def relays_alive(relays: Sequence[RelayInfo], answers: Sequence[Reply | None]) -> bool:
    """Whether the announcement is still right: all relays answer and see us at the same address."""
    return all(
        answer is not None and answer.to == relay.peer_address
        for relay, answer in zip(relays, answers, strict=True)
    )


def changed_addresses(
    relays: Sequence[RelayInfo], answers: Sequence[Reply | None]
) -> list[tuple[Address, Address]]:
    """Relays that see us at another address than before, with that address. Empty unless there are two, since
    one may be wrong."""
    moved = [
        (relay.relay_address, answer.to)
        for relay, answer in zip(relays, answers, strict=True)
        if answer is not None and answer.to != relay.peer_address
    ]
    return moved if len(moved) >= 2 else []
