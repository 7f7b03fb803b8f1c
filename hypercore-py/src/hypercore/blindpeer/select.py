"""Which blind peers a client chooses, so that all members of a group choose the same.

Source: blind-peering 2.0.1 and, for groups, 2.6.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..codec import Reader
from ..errors import FrameDecodeError

MAX_ADDRESS_NODES = 16
"""Nodes in an address that are read. Ours."""


def choose_mirrors(
    target: bytes, mirrors: Sequence[bytes], count: int, groups: Mapping[bytes, str] | None = None
) -> list[bytes]:
    """`count` of the keys, the closest to `target` by XOR first. A group is used again only when each has
    been used; keys without one are always free."""
    groups = groups or {}
    left = sorted(mirrors, key=lambda key: int.from_bytes(key, "big") ^ int.from_bytes(target, "big"))
    chosen: list[bytes] = []
    used: set[str] = set()
    while left and len(chosen) < count:
        free = next((key for key in left if groups.get(key) not in used), None)
        if free is None:
            used.clear()
            free = left[0]
        left.remove(free)
        chosen.append(free)
        if free in groups:
            used.add(groups[free])
    return chosen


def read_address(r: Reader) -> tuple[bytes, list[tuple[str, int]]]:
    """A blind peer as an app may name it since 2.1: its key, and nodes of the DHT that know it.

    Format: hyperdht-address 1.1.1; the key alone is an address too. Raises FrameDecodeError.
    """
    key = r.fixed32()
    if not r.remaining or not r.uint() & 1:
        return key, []
    return key, r.array(_read_node, limit=MAX_ADDRESS_NODES)


def _read_node(r: Reader) -> tuple[str, int]:
    host = ".".join(map(str, r.fixed(4)))
    port = r.uint16()
    if not port:
        raise FrameDecodeError("a node has no port")
    return host, port
