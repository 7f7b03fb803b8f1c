"""A peer of our own making that keeps to no rules: it connects like any other, and says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hypercore.aio.cores.link import Link
from hypercore.aio.dht.node import DhtNode
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.codec import Reader, Writer, encode_uint
from hypercore.crypto import KeyPair, discovery_key
from hypercore.mux import Channel, CloseReason, Muxer
from hypercore.replication import PROTOCOL
from hypercore.wire.handshake import ChannelHandshake, capability
from hypercore.wire.registry import MESSAGES, Message

from .dialling import connect_when_known


class HostilePeer:
    """Made by `meet`."""

    def __init__(self, connection: SecretConnection) -> None:
        self.connection = connection
        self.closed = asyncio.Event()
        """Set when the other side has ended the connection."""
        self.heard: list[Message] = []
        """What was received on our channels."""
        self.on_message: Callable[[Channel, Message], None] | None = None
        self._link = Link(
            connection, loop=asyncio.get_running_loop(), on_close=lambda link, error: self.closed.set()
        )

    @property
    def muxer(self) -> Muxer:
        return self._link.muxer

    def open(self, key: bytes, *, proof: bytes | None = None, name: bytes | None = None) -> Talk:
        """A replication channel of the core `key`, with a capability that holds unless `proof` is given."""
        talk = Talk(self)
        talk.channel = self.muxer.create_channel(PROTOCOL, name or discovery_key(key), talk)
        w = Writer()
        ours = capability(
            key, self.connection.handshake_hash, sender_is_initiator=self.connection.is_initiator
        )
        ChannelHandshake(capability=proof or ours).encode(w)
        talk.channel.open(bytes(w), asyncio.get_running_loop().time())
        return talk

    async def cut_off(self, timeout: float = 15.0) -> None:
        """Returns when the other side has ended the connection."""
        async with asyncio.timeout(timeout):
            await self.closed.wait()


class Talk:
    """One channel, from the hostile side."""

    channel: Channel

    def __init__(self, peer: HostilePeer) -> None:
        self._peer = peer
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()

    def send(self, *frames: Message) -> None:
        for frame in frames:
            self.channel.send_frame(frame)

    def batch(self, *frames: Message, times: int) -> bytes:
        """One message that says the frames so many times on this channel."""
        entries = b""
        for frame in frames:
            w = Writer()
            w.uint(frame.type_id)
            frame.encode(w)
            entries += encode_uint(len(w.data)) + w.data
        return b"\0\0" + encode_uint(self.channel.local_id) + entries * times

    def channel_opened(self, handshake: Reader, now: float) -> None:
        self.opened.set()

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        frame = MESSAGES[type_id].decode(message)
        self._peer.heard.append(frame)
        if self._peer.on_message is not None:
            self._peer.on_message(self.channel, frame)

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.ended.set()


@asynccontextmanager
async def meet(
    bootstrap: list[str], public_key: bytes, *, identity: KeyPair | None = None
) -> AsyncIterator[HostilePeer]:
    """A connection to a peer, as `identity` (a new identity unless given). Raises PeerUnreachable."""
    async with DhtNode(bootstrap=bootstrap, host="127.0.0.1", key_pair=identity) as node:
        peer = HostilePeer(await connect_when_known(node, public_key))
        try:
            yield peer
        finally:
            peer.connection.destroy()
