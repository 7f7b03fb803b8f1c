"""One channel: a protocol for one id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import ClassVar, Protocol

from .._types import Buffer
from ..codec import Reader, Writer, encode_uint
from ..errors import LocalProtocolError
from .outbox import PartsWriter


class CloseReason(Enum):
    """Why a channel was closed."""

    LOCAL = "we closed it"
    REMOTE = "the peer closed it"
    REJECTED = "the peer does not speak about this"
    DISCONNECTED = "the connection is gone"


class ChannelHandler(Protocol):
    """Callbacks of a channel to its owner. The first two may raise only RemoteProtocolError."""

    def channel_opened(self, handshake: Reader, now: float) -> None:
        """Both sides have opened it. `handshake` is from the peer's open."""

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        """A message came. The handler ignores unknown types."""

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        """The channel was closed. This is the last call."""

    def channel_flush(self, now: float) -> None:
        """Send pending messages: output is about to be taken. Called after `Channel.mark_dirty`."""

    def channel_writable(self, now: float) -> None:
        """Send answers: there is room. Called after `Channel.wait_writable`; call that again if more are
        left."""


class Frame(Protocol):
    """A message that can be sent."""

    @property
    def type_id(self) -> int:
        """The message type within its protocol."""

    def encode(self, w: Writer) -> None:
        """Write the fields of the message, without its type."""


class ChannelHost(Protocol):
    """The members of a muxer that a channel uses."""

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""

    @property
    def writable(self) -> bool:
        """Whether answers may be sent now."""

    def local_open(self, channel: Channel, handshake: bytes, now: float, /) -> None:
        """Number the channel, send the open, and pair it if the peer was first."""

    def local_close(self, channel: Channel, now: float, /) -> None:
        """Send the close, and remove the channel from the tables."""

    def queue(self, local_id: int, size: int, parts: Sequence[Buffer], /) -> None:
        """Queue a message of `size` bytes on a channel."""

    def mark_dirty(self, channel: Channel, /) -> None: ...

    def wait_writable(self, channel: Channel, /) -> None: ...


class ChannelState(Enum):
    """State of a channel on our side."""

    NEW = "new"
    OPENING = "opening"
    """The open message was sent and is not answered."""
    OPEN = "open"
    CLOSED = "closed"


class ChannelStep(Enum):
    """Inputs of a channel, except its close, which has a `CloseReason`."""

    OPEN = "opened"
    PAIR = "paired"
    """Both sides have opened it."""


TRANSITIONS: Mapping[tuple[ChannelState, ChannelStep | CloseReason], ChannelState] = {
    (ChannelState.NEW, ChannelStep.OPEN): ChannelState.OPENING,
    (ChannelState.NEW, CloseReason.LOCAL): ChannelState.CLOSED,
    (ChannelState.OPENING, ChannelStep.PAIR): ChannelState.OPEN,
    (ChannelState.OPENING, CloseReason.LOCAL): ChannelState.CLOSED,
    (ChannelState.OPENING, CloseReason.REJECTED): ChannelState.CLOSED,
    (ChannelState.OPENING, CloseReason.DISCONNECTED): ChannelState.CLOSED,
    (ChannelState.OPEN, CloseReason.LOCAL): ChannelState.CLOSED,
    (ChannelState.OPEN, CloseReason.REMOTE): ChannelState.CLOSED,
    (ChannelState.OPEN, CloseReason.DISCONNECTED): ChannelState.CLOSED,
}
"""All transitions of a channel. Others raise LocalProtocolError."""


class Channel:
    """Made by `Muxer.create_channel`; lives from `open` to `ChannelHandler.channel_closed`."""

    __slots__ = ("_muxer", "_state", "handler", "id", "local_id", "protocol", "remote_id")

    NO_ID: ClassVar[int] = 0

    def __init__(
        self, muxer: ChannelHost, protocol: str, channel_id: bytes | None, handler: ChannelHandler
    ) -> None:
        self._muxer = muxer
        self._state = ChannelState.NEW
        self.protocol = protocol
        self.id = channel_id
        self.handler = handler
        self.local_id = self.NO_ID
        """Our number of the channel, from 1."""
        self.remote_id = self.NO_ID
        """The peer's number of the channel, once both sides have opened it."""

    @property
    def opened(self) -> bool:
        """Whether both sides have opened the channel, neither has closed it, and the connection lasts."""
        return self._state is ChannelState.OPEN and not self._muxer.closed

    @property
    def closed(self) -> bool:
        """Whether it has been closed, by either side."""
        return self._state is ChannelState.CLOSED

    @property
    def writable(self) -> bool:
        """Whether answers may be sent now. If not, call `wait_writable`."""
        return self._muxer.writable

    def open(self, handshake: bytes, now: float) -> None:
        """Open the channel. If the peer has opened it already, `channel_opened` is called before this
        returns. Raises LocalProtocolError if the channel is not new."""
        self._move(ChannelStep.OPEN)
        self._muxer.local_open(self, handshake, now)

    def send(self, type_id: int, *parts: Buffer) -> None:
        """Queue a message. Ignored when the channel is closed, since the peer may have closed it."""
        if self._may_send():
            head = encode_uint(type_id)
            self._muxer.queue(self.local_id, len(head) + sum(map(len, parts)), (head, *parts))

    def send_frame(self, frame: Frame) -> None:
        """Queue a frame. Its long byte strings are copied only into the final message."""
        if self._may_send():
            w = PartsWriter()
            w.uint(frame.type_id)
            frame.encode(w)
            parts = w.finish()
            self._muxer.queue(self.local_id, w.size, parts)

    def mark_dirty(self) -> None:
        """Call `channel_flush` before output is taken."""
        if self._state is not ChannelState.CLOSED:
            self._muxer.mark_dirty(self)

    def wait_writable(self) -> None:
        """Call `channel_writable` when there is room; channels take turns."""
        if self._state is not ChannelState.CLOSED:
            self._muxer.wait_writable(self)

    def close(self, now: float) -> None:
        """Close the channel; the peer does not acknowledge that. A second close does nothing."""
        if self._state is ChannelState.NEW:
            self._move(CloseReason.LOCAL)
        elif self._state is not ChannelState.CLOSED:
            self._muxer.local_close(self, now)

    def paired(self, remote_id: int, handshake: Reader, now: float) -> None:
        """For the muxer: the peer has opened the channel too."""
        self._move(ChannelStep.PAIR)
        self.remote_id = remote_id
        self.handler.channel_opened(handshake, now)

    def over(self, reason: CloseReason, now: float) -> None:
        """For the muxer: the channel was removed from its tables."""
        self._move(reason)
        self.handler.channel_closed(reason, now)

    def _move(self, step: ChannelStep | CloseReason) -> None:
        state = TRANSITIONS.get((self._state, step))
        if state is None:
            raise LocalProtocolError(f"a channel that is {self._state.value} cannot be {step.value}")
        self._state = state

    def _may_send(self) -> bool:
        if self._state is ChannelState.NEW:
            raise LocalProtocolError("a channel is opened before anything is sent on it")
        return self._state is not ChannelState.CLOSED
