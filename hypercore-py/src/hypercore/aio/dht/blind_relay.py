"""Connects to a peer through a blind relay: a third peer that forwards the encrypted packets of two streams.

Source: holepunchto/blind-relay index.js (1.6.1), `Client`; hyperdht lib/connect.js (6.34.0),
`relayConnection`. Both sides connect to the relay as to any peer and name the same token; the relay then has
a stream for each of them. Packets to it must come from the socket of the connection to the relay.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import NamedTuple

from ...codec import Reader
from ...dht.address import Address
from ...dht.messages import Pair
from ...dht.messages.handshake import RelayThrough
from ...dht.messages.pairing import PROTOCOL
from ...errors import HypercoreError, PeerUnreachable
from ...mux import Channel, CloseReason
from ..cores.link import Link
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import UdpSocket
from ..net.udx_transport import StreamTransport
from .context import NodeContext

PAIR_SECONDS = 15.0
"""Seconds for both sides to connect to the relay (hyperdht lib/connect.js)."""


class Relayed(NamedTuple):
    """A path through a relay. It ends with the connection to the relay."""

    address: Address
    socket: UdpSocket
    stream_id: int
    """The relay's id of the peer's stream."""
    connection: SecretConnection
    """The connection to the relay."""


class Rendezvous:
    """One attempt to meet a peer at a relay: the peer names the same token in the other role."""

    def __init__(
        self, context: NodeContext, relay: RelayThrough, *, is_initiator: bool, stream_id: int
    ) -> None:
        """`stream_id`: our own stream for the peer."""
        self._context = context
        self._relay = relay
        self._is_initiator = is_initiator
        self._stream_id = stream_id
        self._connection: SecretConnection | None = None

    def passes(self, address: tuple[str, int]) -> bool:
        """Whether `address` is the relay's: the peer's packets may arrive before the relay's answer."""
        return self._connection is not None and self._connection.remote_address == address

    async def run(self, timeout: float = PAIR_SECONDS) -> Relayed:
        """Returns the relayed stream. Raises PeerUnreachable if the relay cannot be reached or does not pair
        us."""
        try:
            async with asyncio.timeout(timeout):
                self._connection = await self._context.connect_directly(self._relay.public_key)
                paired = await self._pair(self._connection)
        except BaseException as error:
            if self._connection is not None:
                self._connection.destroy()
            if isinstance(error, TimeoutError):
                raise PeerUnreachable("the peer did not come to the relay") from None
            if isinstance(error, HypercoreError):
                raise PeerUnreachable(f"the relay cannot be used: {error}") from error
            raise
        address, socket = self._connection.remote_address, self._connection.stream.socket
        assert address is not None and socket is not None
        return Relayed(Address(*address), socket, paired.id, self._connection)

    async def _pair(self, connection: SecretConnection) -> Pair:
        pairing = _Pairing(connection, self._relay.token, is_initiator=self._is_initiator)
        return await pairing.run(self._stream_id)


def close_relay_with(stream: StreamTransport, relayed: Relayed) -> None:
    """Close the connection to the relay when the stream closes. The peer may move to a direct path before."""
    stream.roaming = True
    stream.add_close_listener(relayed.connection.close)


class _Pairing:
    """The channel to the relay, and its answer."""

    def __init__(self, connection: SecretConnection, token: bytes, *, is_initiator: bool) -> None:
        self._connection = connection
        self._token = token
        self._is_initiator = is_initiator
        loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Pair] = loop.create_future()
        self._link = Link(connection, loop=loop, on_close=lambda link, error: self._failed())
        muxer = self._link.muxer
        self._channel: Channel = muxer.create_channel(PROTOCOL, connection.public_key, self)
        self._channel.open(b"", monotonic())

    async def run(self, stream_id: int) -> Pair:
        """Pair both sides through the relay. Raises PeerUnreachable."""
        self._channel.send_frame(Pair(is_initiator=self._is_initiator, token=self._token, id=stream_id))
        return await self._answer

    def channel_opened(self, handshake: Reader, now: float) -> None:
        pass

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        if type_id != Pair.type_id or self._answer.done():
            return
        pair = Pair.decode(message)
        if pair.token == self._token and pair.is_initiator is self._is_initiator:
            self._answer.set_result(pair)

    def channel_flush(self, now: float) -> None:
        pass

    def channel_writable(self, now: float) -> None:
        pass

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self._failed()

    def _failed(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(PeerUnreachable("the relay refused"))
