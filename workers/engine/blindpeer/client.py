"""One connection of a client: its channels, and what it asks on them."""

from __future__ import annotations

from typing import Protocol

from hypercore.aio.cores.link import Link
from hypercore.blindpeer import (
    PROTOCOL,
    AddCoreRequest,
    BlindPeerChannel,
    Cores,
    ErrorCode,
    Notification,
    RpcChannel,
    RpcReply,
    WakeupChannel,
)
from hypercore.blindpeer import rpc as rpc_channel
from hypercore.blindpeer import wakeup as wakeup_channel
from hypercore.blindpeer.rpc_values import ADMIN_ID
from hypercore.codec import Reader
from hypercore.crypto import discovery_key
from hypercore.errors import FrameDecodeError
from hypercore.mux import CloseReason

from .kept import Requester
from .rates import network_of

MAX_WAKEUPS = 256
"""Groups about which one connection gets hints. Ours."""

MAX_ALL_WAKEUPS = 1 << 14
"""The same of all connections together, of two kilobytes each; while there are more, only those with fewer
than MIN_WAKEUPS get more. Ours."""

MIN_WAKEUPS = 16
"""Groups about which each connection gets hints, however many others get. Ours."""


class ClientHost(Protocol):
    """The members of a blind peer that its clients use."""

    def name_cores(self, client: Client, cores: Cores, request: int | None, now: float, /) -> None:
        """A client names cores, and wants an answer if there is a request."""

    def add_core(self, client: Client, request: AddCoreRequest, reply: RpcReply, now: float, /) -> None:
        """Keep the core of a request, or refuse it, and answer."""

    def delete_core(self, client: Client, key: bytes, reply: RpcReply, /) -> None:
        """Delete a core for a client that may, and answer."""

    def query_top(self, client: Client, reply: RpcReply, /) -> None:
        """Answer with the addresses, referrers and clients that named most cores."""

    def find_referrer(self, name: bytes, /) -> bytes | None:
        """The referrer with that discovery key."""

    @property
    def wakeups(self) -> int:
        """Channels for hints, of all clients."""

    def wakeup_opened(self, channel: WakeupChannel, /) -> None:
        """The peer opened this channel."""

    def wakeup_active(self, channel: WakeupChannel, /) -> None:
        """The peer asks for hints."""

    def wakeup_closed(self, channel: WakeupChannel, /) -> None:
        """The channel ended."""


class Client:
    """A connection whose channels of a blind peer are accepted. `ignored`: it is on the ban list, so that its
    channels stay open and nothing happens: a client that is refused here dials again at once."""

    def __init__(self, link: Link, host: ClientHost, *, trusted: bool, ignored: bool) -> None:
        connection = link.connection
        self.link = link
        self.key = connection.remote_public_key
        address = connection.remote_address
        self.network = network_of(address[0]) if address else ""
        """Its address, or the network of it, for budgets."""
        self.trusted = trusted
        self.requester = Requester(link)
        self.malformed = 0
        """Messages that could not be read."""
        self.version = ""
        """Version of its software, if it has sent one."""
        self._ignored = ignored
        self._host = host
        self._own_key = connection.public_key
        self._wakeups: dict[bytes, WakeupChannel] = {}
        muxer = link.muxer
        muxer.on_open(PROTOCOL, self._accept)
        muxer.on_open(rpc_channel.PROTOCOL, self._accept_rpc)
        muxer.on_open(wakeup_channel.PROTOCOL, self._accept_wakeup)

    # --- channels

    def _accept(self, channel_id: bytes | None, now: float) -> bool:
        if channel_id is not None:
            return False
        channel = BlindPeerChannel(self.link.muxer, self)
        channel.open(now)
        self.version = channel.hello.version
        return True

    def _accept_rpc(self, channel_id: bytes | None, now: float) -> bool:
        if channel_id == self._own_key:
            methods: dict[str, rpc_channel.Method] = {
                "add-core": self._add_core,
                "delete-core": self._delete_core,
            }
        elif channel_id == ADMIN_ID:
            methods = {"query-top-k": lambda value, reply, now: self._host.query_top(self, reply)}
        else:
            return False
        if self._ignored:
            methods = dict.fromkeys(methods, _no_answer)
        RpcChannel(self.link.muxer, channel_id, methods).open(now)
        return True

    def _accept_wakeup(self, channel_id: bytes | None, now: float) -> bool:
        referrer = None if channel_id is None or self._ignored else self._host.find_referrer(channel_id)
        if referrer is None:
            return False
        return self.open_wakeup(referrer, now)

    def open_wakeup(self, referrer: bytes, now: float) -> bool:
        """Open the channel for hints about a group, if it is not open. A client that opened it before the
        group was known has been rejected, and opens it again when we do."""
        muxer = self.link.muxer
        if muxer.closed or muxer.channel(wakeup_channel.PROTOCOL, discovery_key(referrer)) is not None:
            return False
        open_here = len(self._wakeups)
        if open_here >= MAX_WAKEUPS or (open_here >= MIN_WAKEUPS and self._host.wakeups >= MAX_ALL_WAKEUPS):
            return False
        channel = WakeupChannel(
            muxer, referrer, on_active=self._host.wakeup_active, on_close=self._wakeup_closed
        )
        self._wakeups[referrer] = channel
        self._host.wakeup_opened(channel)
        channel.open(now)
        return True

    def _wakeup_closed(self, channel: WakeupChannel) -> None:
        self._wakeups.pop(channel.key, None)
        self._host.wakeup_closed(channel)

    # --- requests

    def cores_received(
        self, channel: BlindPeerChannel, cores: Cores, request: int | None, now: float
    ) -> None:
        if not self._ignored:
            self._host.name_cores(self, cores, request, now)
        elif request is not None:
            channel.fail(request, ErrorCode.RATE_LIMITED)

    def notification_received(
        self, channel: BlindPeerChannel, notification: Notification, request: int | None, now: float
    ) -> None:
        """There is no push gateway: as without one at an official server, nothing follows."""
        if request is not None:
            channel.acknowledge(request)

    def malformed_received(self, channel: BlindPeerChannel, error: FrameDecodeError, now: float) -> None:
        self.malformed += 1

    def channel_ended(self, channel: BlindPeerChannel, reason: CloseReason, now: float) -> None:
        """Do nothing: the client may open the channel again."""

    def _add_core(self, value: Reader, reply: RpcReply, now: float) -> None:
        self._host.add_core(self, AddCoreRequest.decode(value), reply, now)

    def _delete_core(self, value: Reader, reply: RpcReply, now: float) -> None:
        self._host.delete_core(self, value.fixed32(), reply)

    @property
    def channel(self) -> BlindPeerChannel | None:
        """Its `blind-peer` channel, to answer on."""
        channel = self.link.muxer.channel(PROTOCOL)
        return channel.handler if channel and isinstance(channel.handler, BlindPeerChannel) else None


def _no_answer(value: Reader, reply: RpcReply, now: float) -> None:
    """Clients repeat a call that fails at once."""
