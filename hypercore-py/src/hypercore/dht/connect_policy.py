"""A client's decisions after the handshake: which paths to the server to try.

Source: hyperdht lib/connect.js (6.34.0), `holepunch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import FrameDecodeError
from ..noise import HandshakeResult
from .address import Address, is_bogon, is_reserved, nearest_first
from .constants import Firewall, HandshakeStatus, Mode
from .messages import Handshake, Holepunch, NoisePayload, RelayInfo
from .messages.handshake import VERSION
from .network_profile import NetworkProfile
from .rpc import Reply

MAX_PARALLEL_HANDSHAKES = 2
"""Nodes asked to relay our handshake at a time, beside those that the caller named."""
PASSIVE_SECONDS = 10.0
"""Seconds for a server to connect to us, if every host can reach us."""


MAX_LAN_ADDRESSES = 4
"""Local addresses of the server that are tried; it sends all that its machine has."""


class Contact(NamedTuple):
    """An answered handshake."""

    relay: Address
    """The node that was asked. The server itself, if it was not relayed."""
    server: Address
    """The server's address as the relay sees it."""
    client: Address
    """Our address as the relay sees it."""
    relayed: bool
    payload: NoisePayload
    result: HandshakeResult
    noise: bytes = b""
    """The server's Noise message: only the server can produce this answer."""


class HandshakeAnswer(NamedTuple):
    """The server's Noise message, its address (the relay's view of it, if one answered for it)."""

    noise: bytes
    server: Address
    relayed: bool


class HolepunchAnswer(NamedTuple):
    """The server's sealed payload, and its address as the relay sees it."""

    payload: bytes
    server: Address


def read_handshake_answer(reply: Reply) -> HandshakeAnswer | None:
    """A node's answer to our PEER_HANDSHAKE; None if it does not relay to the server, or its answer is
    invalid."""
    try:
        message = Handshake.decode(reply.value or b"")
    except FrameDecodeError:
        return None
    if message.mode != Mode.REPLY or not message.noise:
        return None
    peer = message.peer_address
    if peer is not None and not peer.port:
        return None
    return HandshakeAnswer(message.noise, peer or reply.source, peer is not None)


def read_holepunch_answer(reply: Reply) -> HolepunchAnswer | None:
    """A node's answer to our PEER_HOLEPUNCH; None if it is invalid."""
    try:
        message = Holepunch.decode(reply.value or b"")
    except FrameDecodeError:
        return None
    if message.mode != Mode.REPLY:
        return None
    return HolepunchAnswer(message.payload, message.peer_address or reply.source)


def acceptable(payload: NoisePayload) -> bool:
    """Whether the server accepts the connection, with a version that we support."""
    if payload.version != VERSION or payload.error != HandshakeStatus.NONE:
        return False
    return payload.udx is not None and payload.udx.usable


class Route(NamedTuple):
    """Paths to the server, tried at once. All empty: there is none."""

    direct: Address | None = None
    """Connect here; nothing else is needed."""
    passive: bool = False
    """Wait for the server: it can reach us, and we cannot reach it."""
    lan: tuple[Address, ...] = ()
    """Try these addresses of our own network, the likeliest first."""
    punch: RelayInfo | None = None
    """Punch a hole, through this relay of the server first."""


def choose_route(contact: Contact, ours: NetworkProfile, *, lan: bool = True) -> Route:
    """The paths to try. `lan`: whether addresses of our own network are tried."""
    payload = contact.payload
    relays = payload.holepunch.relays if payload.holepunch else ()
    if not contact.relayed:
        return Route(direct=contact.relay)
    if payload.firewall == Firewall.OPEN or not relays:
        return Route(direct=_first_public(payload.addresses4) or contact.server)
    if ours.public is not None:
        return Route(passive=True)
    same_network = lan and contact.client.host == contact.server.host
    return Route(
        lan=_lan_addresses(payload.addresses4, ours) if same_network else (),
        punch=pick_relay(relays, contact.relay),
    )


def pick_relay(relays: Iterable[RelayInfo], ours: Address) -> RelayInfo:
    """The server's relay that is ours as well, else its first. `relays` must not be empty."""
    choices = list(relays)
    return next((relay for relay in choices if relay.relay_address == ours), choices[0])


def _first_public(addresses: Iterable[Address]) -> Address | None:
    return next((a for a in addresses if a.port and not is_bogon(a.host)), None)


def _lan_addresses(addresses: Iterable[Address], ours: NetworkProfile) -> tuple[Address, ...]:
    """Addresses of our own network that are not ours: container bridges have the same address on many
    machines."""
    candidates = [a for a in addresses if a.port and not is_reserved(a.host) and a not in ours.local]
    return tuple(nearest_first(ours.local, candidates)[:MAX_LAN_ADDRESSES])
