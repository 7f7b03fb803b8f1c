"""Reports about the use of drives: bytes served, and the peers of watched drives."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .message import Count, Key, Message

MAX_SERVED = 500
"""Drives in a report whose served bytes are counted; those of others come with the next one. Ours."""
MAX_WATCHED = 50
"""Drives of a farm whose peers workers report at a time: those whose pages are open. Ours."""
MAX_WATCH_SECONDS = 300.0
"""Longest time for which one order has peers reported. Ours."""
MAX_PEERS = 20
"""Peers of a copy that are listed, the busiest first. Ours."""
MAX_PEER_LISTS = 20
"""Copies in a report whose peers are listed. Ours."""

Way = Literal["direct", "punched", "relayed"]
Rate = Annotated[float, Meta(ge=0, le=1e15)]


class Served(Message, frozen=True, kw_only=True):
    """Bytes of blocks that a worker has sent to peers of a drive since its last report of them."""

    key: Key
    bytes: Count


class Watch(Message, frozen=True, kw_only=True):
    """Report the peers of these drives for a while, and of no others."""

    keys: Annotated[list[Key], Meta(max_length=MAX_WATCHED)]
    seconds: Annotated[float, Meta(gt=0, le=MAX_WATCH_SECONDS)]


class PeerTraffic(Message, frozen=True, kw_only=True):
    """A peer of a drive, and what it exchanged since it connected. Rates in bytes a second."""

    id: Key
    """Its public key."""
    way: Way
    bytes_in: Count
    """Bytes of verified blocks received from it."""
    bytes_out: Count
    down: Rate
    up: Rate
    seconds: Rate
    """For how long it has been connected."""


class PeerList(Message, frozen=True, kw_only=True):
    """The peers of one copy now."""

    key: Key
    total: Count
    """All of them."""
    peers: Annotated[list[PeerTraffic], Meta(max_length=MAX_PEERS)]
