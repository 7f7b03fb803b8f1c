"""The muxer: pairs channels by (protocol, id), numbers them, and packs and unpacks messages.

Format (protomux index.js, 3.12.1): every message is `uint` channel (the *sender's* number of it), `uint`
type, payload. Channel 0 is for control: 0 batch, 1 open, 2 reject, 3 close.

Numbers: a side may open only free numbers, at most one above the highest it ever used. A number is free again
when a paired channel is closed by either side, when its open is rejected, or, if its owner closed before the
peer's open came, once that open (which is then ignored) or a reject has come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from .._types import Buffer
from ..codec import Reader, Writer, encode_uint
from ..errors import FrameDecodeError, LocalProtocolError, RemoteProtocolError
from .accounts import Accounts
from .channel import Channel, ChannelHandler, CloseReason
from .outbox import ENTRY_OVERHEAD, HIGH_WATER_BYTES, MAX_BATCH_BYTES, Outbox
from .undecided import Key, Pending, Undecided, UndecidedBudget

OpenHandler = Callable[[bytes | None, float], bool]
"""Called with the id of a channel that the peer opened, and the time. It may open the same channel on the
muxer before it returns. Otherwise True means that it decides later (`create_channel` or `reject`), and False
rejects."""

BATCH, OPEN, REJECT, CLOSE = range(4)

MAX_QUEUED_REJECTS = 4096
"""Queued messages at which a peer that causes another reject and does not read is disconnected. Ours."""


def _never() -> bool:
    return False


class Muxer:
    """Pass whole messages of the stream to `receive`; send those that `take_output` returns.

    `is_initiator` and `handshake_hash` (64 bytes) are those of the Noise connection; protocols bind to them.
    `on_output` is called when there is output after there was none, so that idle muxers cost no time.
    `undecided` is a shared budget for messages of channels that wait for a decision.
    """

    def __init__(
        self,
        *,
        is_initiator: bool,
        handshake_hash: bytes,
        on_output: Callable[[], None] | None = None,
        undecided: UndecidedBudget | None = None,
    ) -> None:
        self.is_initiator = is_initiator
        self.handshake_hash = handshake_hash
        self._on_output = on_output
        self.remote_public_key = b""
        """Public key of the peer, if the shell knows it."""
        self.answered_at = float("-inf")
        """When the peer last answered a request, on any channel. Set by protocols."""
        self.ended_by_peer = False
        """Whether the peer has destroyed the connection. Set by the shell before `shutdown`."""
        self.rtt: float | None = None
        """Smoothed round-trip time of the connection in seconds, if the shell knows it. Protocols size
        windows by it."""
        self.closed = False
        self.holding = False
        """Whether the shell has no room for answers now."""
        self.useful = 0
        """Pieces of useful work so far: channels opened (beyond the highest number before) and those that
        protocols add (blocks that moved). The shell shares time among connections by it."""
        self.useful_bytes = 0
        """Bytes of the blocks among them."""
        self.received = 0
        """The part of `useful` that served us: blocks that the peer gave."""
        self.requested = 0
        """Blocks that protocols have requested from the peer without an answer yet. Counted by them."""
        self.accounts = Accounts()
        """What protocols must remember of the peer when a channel is closed and opened again."""
        self.backlog_bytes = 0
        """Bytes of memory for requests that wait on channels. Counted by protocols."""
        self._max_channels = 0
        self._batch: Reader | None = None
        """The rest of the current batch."""
        self._batch_channel = 0
        self._outbox = Outbox()
        self._announced = False
        self._local: dict[int, Channel] = {}
        self._highest_local = 0
        self._free: list[int] = []
        self._remote: dict[int, Channel | Pending] = {}
        self._highest_remote = 0
        self._channels: dict[Key, Channel] = {}
        self._outgoing: dict[Key, list[int]] = {}
        self._unanswered: dict[int, Key] = {}
        self._undecided = Undecided(undecided or UndecidedBudget())
        self._handlers: dict[Key, OpenHandler] = {}
        self._aliases: dict[str, str] = {}
        self._dirty: OrderedDict[Channel, None] = OrderedDict()
        self._waiting: OrderedDict[Channel, None] = OrderedDict()
        self._closing: Iterator[Channel] = iter(())
        """The channels that `shutdown` has not closed yet, among some that are closed."""
        self._closed_at = 0.0

    def __iter__(self) -> Iterator[Channel]:
        """The channels that we have opened; the peer may not have answered yet."""
        return iter(tuple(self._local.values()))

    # --- for protocols --------------------------------------------------------------------------------------

    def on_open(self, protocol: str, handler: OpenHandler, channel_id: bytes | None = None) -> None:
        """Set the handler for channels that the peer opens: those of one id, or, without `channel_id`, of all
        ids without their own handler."""
        self._handlers[protocol, channel_id] = handler

    def add_alias(self, alias: str, protocol: str) -> None:
        """Treat opens of `alias` by the peer as opens of `protocol`. We never open under an alias."""
        self._aliases[alias] = protocol

    def channel(self, protocol: str, channel_id: bytes | None = None) -> Channel | None:
        """Our open channel, if there is one."""
        return self._channels.get((protocol, channel_id or None))

    def create_channel(self, protocol: str, channel_id: bytes | None, handler: ChannelHandler) -> Channel:
        """Make a channel; open it with `Channel.open`. Raises LocalProtocolError if (protocol, id) has
        one."""
        if self.closed:
            raise LocalProtocolError("the connection is closed")
        if (protocol, channel_id or None) in self._channels:
            raise LocalProtocolError(f"a channel of {protocol} with this id is open already")
        return Channel(self, protocol, channel_id or None, handler)

    def reject(self, protocol: str, channel_id: bytes | None = None) -> None:
        """Reject a channel whose `on_open` handler returned True."""
        while (pending := self._undecided.take_oldest((protocol, channel_id or None))) is not None:
            del self._remote[pending.remote_id]
            self._send_reject(pending.remote_id)

    # --- for the shell --------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the shell should stop reading until a channel is decided on."""
        return self._undecided.paused

    @property
    def writable(self) -> bool:
        """Whether answers may be sent: earlier ones have been taken."""
        return not self.holding and self._outbox.size < HIGH_WATER_BYTES

    @property
    def opened_channels(self) -> int:
        """Channels that both sides have open."""
        return len(self._remote) - len(self._undecided)

    @property
    def used(self) -> bool:
        """Whether both sides ever had a channel open."""
        return self._max_channels > 0

    @property
    def waits(self) -> bool:
        """Whether channels have requests to answer."""
        return bool(self._waiting)

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something to do."""
        return bool(self._outbox or self._dirty or (self._waiting and self.writable))

    @property
    def unanswered(self) -> int:
        """Channels opened here that the peer has neither opened nor rejected."""
        return len(self._unanswered)

    @property
    def batch_bytes(self) -> int:
        """Bytes of the current batch, which is held until all of it is processed."""
        return 0 if self._batch is None else len(self._batch.data)

    @property
    def unread_bytes(self) -> int:
        """Bytes of the current batch that are not processed yet."""
        batch = self._batch
        return 0 if batch is None else batch.end - batch.pos

    @property
    def channels(self) -> int:
        """Channels that we have opened, including those that the peer has not answered yet. After the end of
        the connection, those that `shutdown` has still to close."""
        return len(self._local)

    @property
    def queued_bytes(self) -> int:
        """Bytes queued, overhead included."""
        return self._outbox.size + ENTRY_OVERHEAD * len(self._outbox)

    def receive(self, message: bytes | memoryview, now: float) -> None:
        """One whole message of the stream; empty ones are keep-alives. Any RemoteProtocolError ends the
        connection."""
        self.begin(message, now)
        self.go_on(now)

    def begin(self, message: bytes | memoryview, now: float) -> None:
        """`receive` in portions: a batch is then processed by `go_on`. The message before must be done."""
        if not message or self.closed:
            return
        r = Reader(message)
        channel_id, type_id = r.uint(), r.uint()
        if channel_id == 0 and type_id == BATCH:
            self._batch_channel = r.uint()
            self._batch = r
        else:
            self._dispatch(channel_id, type_id, r, now)

    def go_on(self, now: float, expired: Callable[[], bool] = _never) -> bool:
        """Process the current batch until `expired()`, which is checked after each entry. True if it is
        done."""
        r = self._batch
        if r is None:
            return True
        try:
            if self._receive_entries(r, now, expired):
                self._batch = None
        except RemoteProtocolError:
            self._batch = None
            raise
        return self._batch is None

    def take_output(
        self, now: float, *, limit: int = HIGH_WATER_BYTES, expired: Callable[[], bool] = _never
    ) -> list[bytes]:
        """Messages to send, about `limit` bytes. Call it once per turn of the loop, repeatedly until it
        returns nothing or the transport is full; then not before the transport has drained. When `expired()`
        holds, the rest is left for the next call (`has_output`)."""
        self._announced = True
        while self._dirty:
            channel, _ = self._dirty.popitem(last=False)
            if not channel.closed:
                channel.handler.channel_flush(now)
            if expired():
                break
        while self._waiting and self.writable:
            channel, _ = self._waiting.popitem(last=False)
            channel.handler.channel_writable(now)
            if expired():  # one at least: input may use up every slice
                break
        out = self._outbox.take(limit)
        self._announced = False
        return out

    def shutdown(self, now: float, expired: Callable[[], bool] = _never) -> bool:
        """The connection is closed: drop all output and close every channel.

        Of the channels it closes one at least, and as many as it can until `expired()`. True if it has
        closed all; if not, call it again. Nothing is sent or delivered on the others meanwhile. Handlers get
        the time of the first call.
        """
        if not self.closed:
            self.closed = True
            self._closed_at = now
            self._closing = iter([*self._local.values()])
            for table in (self._remote, self._channels, self._outgoing, self._unanswered):
                table.clear()
            self._undecided.clear()
            self._handlers.clear()
            self._dirty.clear()
            self._waiting.clear()
            self._outbox.clear()
            self._batch = None
        for channel in self._closing:
            if not channel.closed:
                self._disconnect(channel)
                if expired():
                    break
        return not self._local

    def _disconnect(self, channel: Channel) -> None:
        del self._local[channel.local_id]
        channel.over(CloseReason.DISCONNECTED, self._closed_at)

    # --- for channels ---------------------------------------------------------------------------------------

    def queue(self, local_id: int, size: int, parts: Sequence[Buffer]) -> None:
        if self.closed:
            return
        self._outbox.push(local_id, size, parts)
        self._has_output()

    def mark_dirty(self, channel: Channel) -> None:
        """Call `channel_flush` of a channel before the next output is taken."""
        if self.closed:
            return
        self._dirty[channel] = None
        self._has_output()

    def wait_writable(self, channel: Channel) -> None:
        """Call `channel_writable` of a channel when there is room for output."""
        if self.closed:
            return
        self._waiting[channel] = None
        self._has_output()

    def local_open(self, channel: Channel, handshake: bytes, now: float) -> None:
        """Number the channel, send the open, and pair it if the peer was first."""
        key = (channel.protocol, channel.id)
        if self.closed or key in self._channels:
            raise LocalProtocolError(f"a channel of {channel.protocol} with this id cannot be opened now")
        if self._free:
            local_id = self._free.pop()
        else:
            self._highest_local = local_id = self._highest_local + 1
        channel.local_id = local_id
        self._local[local_id] = self._channels[key] = channel
        w = (
            Writer()
            .uint(OPEN)
            .uint(local_id)
            .string(channel.protocol)
            .optional_buffer(channel.id)
            .raw(handshake)
        )
        self.queue(0, len(w), [w.data])
        pending = self._undecided.take_oldest(key)
        if pending is None:
            self._unanswered[local_id] = key
            self._outgoing.setdefault(key, []).append(local_id)
            return
        self._remote[pending.remote_id] = channel
        self._pair(channel, pending.remote_id, Reader(pending.handshake), now)
        for type_id, payload in pending.messages:
            if channel.closed:
                break
            channel.handler.channel_message(type_id, Reader(payload), now)

    def local_close(self, channel: Channel, now: float) -> None:
        if self.closed:
            self._disconnect(channel)  # before `shutdown` comes to it
            return
        self._send_control(CLOSE, channel.local_id)
        self._discard(channel)
        channel.over(CloseReason.LOCAL, now)

    # --- receiving ------------------------------------------------------------------------------------------

    def _receive_entries(self, r: Reader, now: float, expired: Callable[[], bool]) -> bool:
        """The next entries of a batch. True if it was the last one."""
        end, channel_id = r.end, self._batch_channel
        while r.pos < end and not self.closed:
            size = r.uint()
            if size == 0:
                channel_id = r.uint()
                if r.pos == end:
                    break
                size = r.uint()
                if size == 0:
                    raise RemoteProtocolError("a batch goes on to a channel and says nothing on it")
            stop = r.pos + size
            if stop > end:
                raise FrameDecodeError(f"batch ends after {end - r.pos} of {size} bytes of an entry")
            r.end = stop
            type_id = r.uint()
            if channel_id == 0 and type_id == BATCH:
                raise RemoteProtocolError("a batch inside a batch")
            self._dispatch(channel_id, type_id, r, now)
            r.pos, r.end = stop, end
            if expired():
                self._batch_channel = channel_id
                return r.pos >= end
        return True

    def _dispatch(self, channel_id: int, type_id: int, r: Reader, now: float) -> None:
        if channel_id == 0:
            if type_id == OPEN:
                self._receive_open(r, now)
            elif type_id == REJECT:
                self._receive_reject(r, now)
            elif type_id == CLOSE:
                self._receive_close(r, now)
            return
        remote = self._remote.get(channel_id)
        if type(remote) is Channel:
            remote.handler.channel_message(type_id, r, now)
        elif type(remote) is Pending:
            self._undecided.buffer(remote, type_id, r.rest())
        # Otherwise we have closed it, and the peer sent this before it knew

    def _receive_open(self, r: Reader, now: float) -> None:
        remote_id, name, channel_id = r.uint(), r.string(), r.optional_buffer()
        if remote_id == 0 or remote_id > self._highest_remote + 1 or remote_id in self._remote:
            raise RemoteProtocolError(f"channel number {remote_id} cannot be opened")
        self._highest_remote = max(self._highest_remote, remote_id)
        key = (self._aliases.get(name, name), channel_id)
        local_id = self._next_outgoing(key)
        if local_id is not None:
            channel = self._local.get(local_id)
            if (
                channel is None
            ):  # We closed it meanwhile; the peer has that close or will get it. Both numbers are free
                self._free.append(local_id)
                return
            self._remote[remote_id] = channel
            self._pair(channel, remote_id, r, now)
            return
        handler = self._handlers.get(key) or self._handlers.get((key[0], None))
        if handler is None or key in self._channels or self._undecided.full:
            self._send_reject(remote_id)
            return
        pending = self._remote[remote_id] = self._undecided.add(remote_id, key, r.rest())
        if not handler(channel_id, now) and self._remote.get(remote_id) is pending:
            self._reject_pending(pending)

    def _receive_reject(self, r: Reader, now: float) -> None:
        local_id = r.uint()
        key = self._unanswered.pop(local_id, None)
        if key is None:
            raise RemoteProtocolError(
                f"reject of channel number {local_id}, which is not waiting for an answer"
            )
        queue = self._outgoing[key]
        queue.remove(local_id)
        if not queue:
            del self._outgoing[key]
        self._free.append(local_id)
        channel = self._local.pop(local_id, None)
        if channel is not None:
            self._remove(channel)
            channel.over(CloseReason.REJECTED, now)

    def _receive_close(self, r: Reader, now: float) -> None:
        remote = self._remote.get(r.uint())
        if type(remote) is Channel:
            self._discard(remote)
            remote.over(CloseReason.REMOTE, now)
        elif type(remote) is Pending:
            # Its number stays taken at the peer until we answer, and the channel is closed: reject it
            self._reject_pending(remote)

    # --- tables ---------------------------------------------------------------------------------------------

    def _pair(self, channel: Channel, remote_id: int, handshake: Reader, now: float) -> None:
        channel.paired(remote_id, handshake, now)
        if self.opened_channels > self._max_channels:
            self._max_channels = self.opened_channels
            self._outbox.max_batch = MAX_BATCH_BYTES
            self.useful += 1

    def _next_outgoing(self, key: Key) -> int | None:
        """Remove and return the number of our oldest unanswered open of `key`."""
        queue = self._outgoing.get(key)
        if queue is None:
            return None
        local_id = queue.pop(0)
        if not queue:
            del self._outgoing[key]
        del self._unanswered[local_id]
        return local_id

    def _reject_pending(self, pending: Pending) -> None:
        self._undecided.discard(pending)
        del self._remote[pending.remote_id]
        self._send_reject(pending.remote_id)

    def _discard(self, channel: Channel) -> None:
        """Remove a channel from the tables. Its number is free at once if the peer had opened it too."""
        del self._local[channel.local_id]
        if channel.opened:
            del self._remote[channel.remote_id]
            self._free.append(channel.local_id)
        self._remove(channel)

    def _remove(self, channel: Channel) -> None:
        self._channels.pop((channel.protocol, channel.id), None)
        self._dirty.pop(channel, None)
        self._waiting.pop(channel, None)

    # --- sending --------------------------------------------------------------------------------------------

    def _send_control(self, type_id: int, number: int) -> None:
        payload = encode_uint(type_id) + encode_uint(number)
        self.queue(0, len(payload), (payload,))

    def _send_reject(self, remote_id: int) -> None:
        if len(self._outbox) >= MAX_QUEUED_REJECTS:
            raise RemoteProtocolError("the peer opens channels and does not read the answers")
        self._send_control(REJECT, remote_id)

    def _has_output(self) -> None:
        if not self._announced:
            self._announced = True
            if self._on_output is not None:
                self._on_output()
