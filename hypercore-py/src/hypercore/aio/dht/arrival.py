"""The stream of a client, from the answer to its handshake until its stream header arrives.

Until a packet of the stream arrives, only a relay vouches for the client's address, so at most one greeting
is sent there, and repeated twice.
"""

from __future__ import annotations

from collections.abc import Callable

from ...dht.address import Address
from ...noise import HandshakeResult
from ...secretstream.framing import LENGTH_BYTES
from ...secretstream.stream import HEADER_FRAME_BYTES
from ...udx.packet import HEADER_BYTES
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import UdpSocket
from ..net.udx_transport import StreamHandler, StreamTransport
from .blind_relay import Relayed, Rendezvous
from .context import NodeContext

MAX_GREETING_BYTES = HEADER_BYTES + LENGTH_BYTES + HEADER_FRAME_BYTES
"""Bytes of UDP payload sent to an address that only a relay vouches for: a packet with a stream header."""

GREETING_REPEATS = 2
"""Repetitions of the greeting, after 1 and 3 seconds, in case it was lost. All together stay below three
times the size of the handshake that named the address. Ours."""


class Arrival:
    """Calls `on_arrived()` once, when the client's stream header has come from a known address, or
    `on_closed()` if the stream ends before."""

    def __init__(
        self,
        context: NodeContext,
        client: Address,
        remote_id: int,
        *,
        on_arrived: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`client` is its reported address. Raises OSError when there are too many streams."""
        self.stream: StreamTransport = context.create_stream(None)
        self.connection: SecretConnection | None = None
        self.rendezvous: Rendezvous | None = None
        self._context = context
        self._remote_id = remote_id
        self._result: HandshakeResult | None = None
        self._direct: Address | None = None
        self._on_arrived = on_arrived
        self._on_closed = on_closed
        self._at_relay = False
        """Whether the client uses a relay that has not reported its stream id yet."""
        self.stream.connect(remote_id, client, context.socket, budget=0, may_follow=self._may_follow)
        self.stream.handler = StreamHandler(
            on_data=lambda chunks: self._secure(b"".join(chunks)), on_close=lambda error: self._closed()
        )

    def expect(self, result: HandshakeResult, direct: Address | None) -> None:
        """The handshake was answered. `direct`: the client's address, if the answer went there without a
        relay."""
        self._result, self._direct = result, direct

    def greet(self) -> None:
        """Send our stream header to the reported address of the client, which waits for it. It is repeated
        GREETING_REPEATS times: the client sends nothing that would show a loss."""
        self.stream.core.sender.restrict(MAX_GREETING_BYTES, MAX_GREETING_BYTES, GREETING_REPEATS)
        self._secure()

    def meet(self, relayed: Relayed) -> None:
        """Use a blind relay that forwards to the client."""
        self.stream.change_remote(relayed.stream_id, relayed.address, relayed.socket)
        self._secure()
        self._at_relay = False
        if self.connection is not None and self.connection.header_received:
            self._arrived()

    def take(self) -> SecretConnection:
        """The connection. The caller owns it from now on."""
        assert self.connection is not None
        self.connection.on_close = None
        self._on_arrived = self._on_closed = _ignore
        return self.connection

    def destroy(self) -> None:
        """End the connection before it is handed over."""
        self._on_arrived = self._on_closed = _ignore
        self.stream.destroy()

    def _may_follow(self, socket: UdpSocket, address: tuple[str, int]) -> int | None:
        if self.rendezvous is not None and self.rendezvous.passes(address):
            self._at_relay = True
            return None
        was_at_relay, self._at_relay = self._at_relay, False
        if was_at_relay and self.connection is not None and self.connection.header_received:
            self._context.endpoint.loop.call_soon(self._arrived)
        return self._remote_id

    def _secure(self, early: bytes = b"") -> None:
        """Start the secret stream: the first bytes have come, or we send first."""
        if self._result is None:
            return
        if self.connection is None:
            stream = self.stream
            if self._direct is not None and stream.remote_address == self._direct:
                stream.core.sender.restrict(None)  # it decrypted our answer, so it receives at this address
            self.connection = SecretConnection(
                stream,
                self._result,
                loop=self._context.endpoint.loop,
                random=self._context.rng.randbytes,
                on_header=self._arrived,
            )
            self.connection.on_close = lambda error: self._closed()
        if early and (on_data := self.stream.handler.on_data) is not None:
            on_data([early])

    def _arrived(self) -> None:
        if not self._at_relay:
            self._on_arrived()

    def _closed(self) -> None:
        self._on_closed()


def _ignore() -> None:
    """Callback of an arrival that has ended."""
