"""Chooses the cores that make room when the store is nearly full.

Official blind peers delete by priority and last activity alone, so that one client with much data and a high
priority displaces all others. Here clients that take more than their share lose theirs first; then priority
and activity decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .records import Record

HEADROOM_SHARE = 20
"""Divisor: the share of the room for content that collection keeps free."""


class Victim(NamedTuple):
    """A core whose content is to be deleted."""

    key: bytes
    bytes: int
    """Each block with its overhead, as the room counts it."""


def shortage(*, left: int, total: int, lacking: int = 0) -> int:
    """Bytes to free: until a share of the room, or what a waiting download needs, is left; 0 while it is."""
    return max(0, max(total // HEADROOM_SHARE, lacking) - left)


def choose(records: Iterable[Record], need: int, is_protected: Callable[[bytes], bool]) -> list[Victim]:
    """The cores to delete so that `need` bytes become free, and no more of them.

    Announced and protected ones stay. First those of clients and addresses above their share: an equal part
    of all bytes in use for each client, and for each address.
    """
    held = [record for record in records if record.used_bytes > 0]
    clients, hosts = _sums(held, lambda record: record.client), _sums(held, lambda record: record.host)
    total = sum(clients.values())

    def order(record: Record) -> tuple[int, int, int, bytes]:
        over = (hosts[record.host] * len(hosts) > total) + (clients[record.client] * len(clients) > total)
        return -over, record.priority, record.active, record.key

    chosen: list[Victim] = []
    for record in sorted(held, key=order):
        if need <= 0:
            break
        if record.announce or is_protected(record.key):
            continue
        chosen.append(Victim(record.key, record.used_bytes))
        need -= record.used_bytes
    return chosen


def _sums(records: Iterable[Record], of: Callable[[Record], bytes | str]) -> dict[bytes | str, int]:
    sums: dict[bytes | str, int] = {}
    for record in records:
        sums[of(record)] = sums.get(of(record), 0) + record.used_bytes
    return sums
