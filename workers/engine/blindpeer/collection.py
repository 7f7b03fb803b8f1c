"""Chooses the cores that make room when the store is nearly full.

Official blind peers delete by priority and last activity alone, so that one client with much data and a high
priority displaces all others. Here clients that take more than their share lose theirs first; then priority
and activity decide.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from .records import Record

HEADROOM_SHARE = 20
"""Divisor: the share of the room for content that collection keeps free."""


MAX_VICTIMS = 4096
"""Cores that are chosen at a time. Ours."""


class Victim(NamedTuple):
    """A core whose content is to be deleted."""

    key: bytes
    bytes: int
    """Each block with its overhead, as the room counts it."""


def shortage(*, left: int, total: int, lacking: int = 0) -> int:
    """Bytes to free: until a share of the room, or what a waiting download needs, is left; 0 while it is."""
    return max(0, max(total // HEADROOM_SHARE, lacking) - left)


def choose(
    records: Iterable[Record], need: int, is_protected: Callable[[bytes], bool]
) -> Generator[None, None, list[Victim]]:
    """Return the cores to delete so that `need` bytes become free, MAX_VICTIMS at most, and no more of them
    than is needed. It yields after each record that it visits: there may be hundreds of thousands. Records
    may change meanwhile.

    Announced and protected ones stay. First those of clients and addresses above their share: an equal part
    of all bytes in use for each client, and for each address.
    """
    clients, hosts = dict[bytes, int](), dict[str, int]()
    held = list[Record]()
    for record in records:
        used = record.used_bytes
        if used > 0:
            held.append(record)
            clients[record.client] = clients.get(record.client, 0) + used
            hosts[record.host] = hosts.get(record.host, 0) + used
        yield
    total = sum(clients.values())
    chosen: list[tuple[tuple[int, int, int, int], Victim]] = []
    """A heap: the first one is the last to go."""
    freed = 0
    for record in held:
        yield
        victim = Victim(record.key, record.used_bytes)
        if not victim.bytes or record.announce or is_protected(record.key):
            continue
        over = (hosts.get(record.host, 0) * len(hosts) > total) + (
            clients.get(record.client, 0) * len(clients) > total
        )
        last = (over, -record.priority, -record.active, -int.from_bytes(record.key, "big"))
        if freed >= need and chosen and last < chosen[0][0]:
            continue
        heappush(chosen, (last, victim))
        freed += victim.bytes
        while len(chosen) > MAX_VICTIMS or (chosen and freed - chosen[0][1].bytes >= need):
            freed -= heappop(chosen)[1].bytes
    return [victim for _, victim in sorted(chosen, reverse=True)]
