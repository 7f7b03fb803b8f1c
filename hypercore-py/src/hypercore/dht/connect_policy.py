"""A client's decisions after the handshake: which way to go to the server.

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
"""Addresses of our own network where the server is looked for: it names all that its machine has."""


class Contact(NamedTuple):
    """A handshake that was answered."""

    relay: Address
    """The node that was asked. The server itself, if it was not relayed."""
    server: Address
    """Where the relay sees the server."""
    client: Address
    """Where the relay sees us."""
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
    """A node's answer to our PEER_HANDSHAKE. None: it does not know the way, or talks nonsense."""
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
    """A node's answer to our PEER_HOLEPUNCH. None: it talks nonsense."""
    try:
        message = Holepunch.decode(reply.value or b"")
    except FrameDecodeError:
        return None
    if message.mode != Mode.REPLY:
        return None
    return HolepunchAnswer(message.payload, message.peer_address or reply.source)


def acceptable(payload: NoisePayload) -> bool:
    """Whether the server wants to talk, in a way that we understand."""
    if payload.version != VERSION or payload.error != HandshakeStatus.NONE:
        return False
    return payload.udx is not None and payload.udx.usable


class Route(NamedTuple):
    """Ways to the server, to be tried at once. All empty: there is none."""

    direct: Address | None = None
    """Connect here; nothing else is needed."""
    passive: bool = False
    """Wait for the server: it can reach us, we cannot reach it."""
    lan: tuple[Address, ...] = ()
    """Look for the server at these addresses of our own network, the likeliest first."""
    punch: RelayInfo | None = None
    """Punch a hole, starting with this relay of the server's."""


def choose_route(contact: Contact, ours: NetworkProfile, *, lan: bool = True) -> Route:
    """How to get to the server. `lan`: whether addresses of the own network are tried."""
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
    """The server's relay that is ours as well, else its first: there must be one."""
    choices = list(relays)
    return next((relay for relay in choices if relay.relay_address == ours), choices[0])


def _first_public(addresses: Iterable[Address]) -> Address | None:
    return next((a for a in addresses if a.port and not is_bogon(a.host)), None)


def _lan_addresses(addresses: Iterable[Address], ours: NetworkProfile) -> tuple[Address, ...]:
    """Not our own: a machine's bridges to its containers have the same address everywhere."""
    candidates = [a for a in addresses if a.port and not is_reserved(a.host) and a not in ours.local]
    return tuple(nearest_first(ours.local, candidates)[:MAX_LAN_ADDRESSES])
