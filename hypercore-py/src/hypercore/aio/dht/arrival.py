"""A client on its way to us: its stream, from the answer to its handshake until its stream header has come.

Where it comes from is known only then. Until a packet of its stream arrives there is no more than a relay's
word for it, and so nothing is sent but a greeting at most, and that again twice.
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
from ..net.udx_transport import StreamTransport
from .blind_relay import Relayed, Rendezvous
from .context import NodeContext

MAX_GREETING_BYTES = HEADER_BYTES + LENGTH_BYTES + HEADER_FRAME_BYTES
"""A packet with a stream header: all that goes to an address of which nothing is known but a relay's word.
Bytes of UDP payload."""

GREETING_REPEATS = 2
"""How often that is repeated, after 1 and 3 seconds, in case it was lost. All together stay below three times
the handshake that named the address. Ours."""


class Arrival:
    """`on_arrived()` is called once, when the client's header has come over a path that is known.
    `on_closed()` is called if the stream ends before."""

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
        self.stream: StreamTransport = context.create_stream()
        self.connection: SecretConnection | None = None
        self.rendezvous: Rendezvous | None = None
        self._context = context
        self._remote_id = remote_id
        self._result: HandshakeResult | None = None
        self._direct: Address | None = None
        self._on_arrived = on_arrived
        self._on_closed = on_closed
        self._at_relay = False
        """The client comes through a relay that has not reported its stream id yet."""
        self.stream.may_follow = self._may_follow
        self.stream.connect(remote_id, client, context.socket, allowance=0)
        self.stream.on_data = lambda chunks: self._secure(b"".join(chunks))
        self.stream.on_close = lambda error: self._closed()

    def expect(self, result: HandshakeResult, direct: Address | None) -> None:
        """The handshake was answered. `direct`: the answer went straight to the client at this address."""
        self._result, self._direct = result, direct

    def greet(self) -> None:
        """Send our stream header to the reported address of the client, which waits for it. A few times at
        most: the client does nothing that would show that the first one was lost."""
        self.stream.core.sender.restrict(MAX_GREETING_BYTES, MAX_GREETING_BYTES, GREETING_REPEATS)
        self._secure()

    def meet(self, relayed: Relayed) -> None:
        """A blind relay passes on what we send there."""
        self.stream.change_remote(relayed.stream_id, relayed.address, relayed.socket)
        self._secure()
        self._at_relay = False
        if self.connection is not None and self.connection.header_received:
            self._arrived()

    def take(self) -> SecretConnection:
        """The connection, which is another one's from now on."""
        assert self.connection is not None
        self.connection.on_close = None
        self._on_arrived = self._on_closed = _ignore
        return self.connection

    def destroy(self) -> None:
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
        """The first bytes have come, or we speak first."""
        if self._result is None:
            return
        if self.connection is None:
            stream = self.stream
            if self._direct is not None and stream.remote_address == self._direct:
                stream.core.sender.restrict(None)  # it has learned our keys there: it reads there
            self.connection = SecretConnection(
                stream,
                self._result,
                loop=self._context.endpoint.loop,
                random=self._context.rng.randbytes,
                on_header=self._arrived,
            )
            self.connection.on_close = lambda error: self._closed()
        if early and self.stream.on_data is not None:
            self.stream.on_data([early])

    def _arrived(self) -> None:
        if not self._at_relay:
            self._on_arrived()

    def _closed(self) -> None:
        self._on_closed()


def _ignore() -> None:
    """It has arrived, or was given up."""
