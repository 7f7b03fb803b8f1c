"""Routes handshakes and hole-punch messages to our servers, or forwards them.

Source: hyperdht lib/router.js (6.34.0). A message is forwarded as a new request with the same tid, without
state: the client repeats lost packets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..errors import FrameDecodeError
from .address import Address
from .constants import Command, Mode
from .incoming_request import Inbound
from .messages import Handshake, Holepunch
from .ttl_map import SharedTtlMap

MAX_ROUTES = 16384
"""Self-announced peers that a storing node keeps per generation, of some 450 bytes. Ours: official nodes keep
four times as many."""
ROUTE_LIFETIME = 20 * 60.0
"""Seconds, nominal (hyperdht index.js `maxAge`)."""


class Route(NamedTuple):
    """A peer that announced itself here; it is reachable at the address that it announced from."""

    relay: Address
    record: bytes


class LocalServer(Protocol):
    """A server of this process. Both methods return the answer, or None for no answer."""

    def handshake(
        self, noise: bytes, client: Address, inbound: Inbound, now: float, *, direct: bool
    ) -> bytes | None:
        """Answer the Noise message of a client. `direct`: it came without a relay."""

    def holepunch(
        self, slot: int, payload: bytes, client: Address, inbound: Inbound, now: float
    ) -> bytes | None: ...


class Router:
    """Passes handshakes and hole-punch messages to our own servers and to peers that we relay for."""

    def __init__(self, now: float) -> None:
        self.servers: dict[bytes, LocalServer] = {}
        """Servers by target."""
        self.routes: SharedTtlMap[bytes, Route] = SharedTtlMap(
            max_items=MAX_ROUTES, lifetime=ROUTE_LIFETIME, now=now
        )

    def handlers(self) -> dict[int, Callable[[Inbound, float], None]]:
        """The commands that are answered here."""
        return {Command.PEER_HANDSHAKE: self.on_handshake, Command.PEER_HOLEPUNCH: self.on_holepunch}

    def on_handshake(self, inbound: Inbound, now: float) -> None:
        try:
            message = Handshake.decode(inbound.value or b"")
        except FrameDecodeError:
            return
        if inbound.target is None or not message.noise:
            return
        server = self.servers.get(inbound.target)
        if server is not None:
            self._serve_handshake(server, message, inbound, now)
        else:
            self._relay_handshake(inbound.target, message, inbound, now)

    def _serve_handshake(self, server: LocalServer, message: Handshake, inbound: Inbound, now: float) -> None:
        direct = message.peer_address is None
        client = message.peer_address or inbound.source
        if message.mode not in (Mode.FROM_CLIENT, Mode.FROM_RELAY, Mode.FROM_SECOND_RELAY):
            return
        noise = server.handshake(message.noise, client, inbound, now, direct=direct)
        if noise is None:
            return
        if message.mode == Mode.FROM_CLIENT:
            value = Handshake(mode=Mode.REPLY, noise=noise).encode()
            inbound.reply(value, token=False, closer_nodes=False)
            return
        back = inbound.source if message.mode == Mode.FROM_RELAY else message.relay_address
        if back is not None and back.port:
            answer = Handshake(mode=Mode.FROM_SERVER, noise=noise, peer_address=message.peer_address)
            inbound.relay(answer.encode(), back)

    def _relay_handshake(self, target: bytes, message: Handshake, inbound: Inbound, now: float) -> None:
        route = self.routes.get(target, now)
        match message.mode:
            case Mode.FROM_CLIENT:
                to = message.relay_address or (route.relay if route else None)
                if to is None or not to.port:
                    inbound.reply(token=False)
                    return
                onward = Handshake(mode=Mode.FROM_RELAY, noise=message.noise, peer_address=inbound.source)
                inbound.relay(onward.encode(), to)
            case Mode.FROM_RELAY if route is not None:
                onward = Handshake(
                    mode=Mode.FROM_SECOND_RELAY,
                    noise=message.noise,
                    peer_address=message.peer_address,
                    relay_address=inbound.source,
                )
                inbound.relay(onward.encode(), route.relay)
            case Mode.FROM_SERVER if message.peer_address is not None and message.peer_address.port:
                answer = Handshake(mode=Mode.REPLY, noise=message.noise, peer_address=inbound.source)
                inbound.reply(answer.encode(), token=False, closer_nodes=False, to=message.peer_address)

    def on_holepunch(self, inbound: Inbound, now: float) -> None:
        try:
            message = Holepunch.decode(inbound.value or b"")
        except FrameDecodeError:
            return
        if inbound.target is None:
            return
        peer = message.peer_address
        match message.mode:
            case Mode.FROM_CLIENT:
                route = self.routes.get(inbound.target, now)
                to = peer or (route.relay if route else None)
                if to is not None and to.port:
                    self._relay_holepunch(message, Mode.FROM_RELAY, inbound, to)
            case Mode.FROM_RELAY if peer is not None and peer.port:
                server = self.servers.get(inbound.target)
                if server is None:
                    return
                payload = server.holepunch(message.id, message.payload, peer, inbound, now)
                if payload is not None:
                    answer = Holepunch(mode=Mode.FROM_SERVER, id=0, payload=payload, peer_address=peer)
                    inbound.relay(answer.encode(), inbound.source)
            case Mode.FROM_SERVER if peer is not None and peer.port:
                answer = Holepunch(
                    mode=Mode.REPLY, id=message.id, payload=message.payload, peer_address=inbound.source
                )
                inbound.reply(answer.encode(), token=False, closer_nodes=False, to=peer)

    def _relay_holepunch(self, message: Holepunch, mode: Mode, inbound: Inbound, to: Address) -> None:
        onward = Holepunch(mode=mode, id=message.id, payload=message.payload, peer_address=inbound.source)
        inbound.relay(onward.encode(), to)
