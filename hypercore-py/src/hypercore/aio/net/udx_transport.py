"""A UDX stream on real sockets: feeds the sans-IO stream, sends its packets, keeps its timer."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic, thread_time
from typing import NamedTuple

from ..._types import Buffer
from ...errors import ConnectionClosed
from ...udx.events import Closed, Data, Drained, Ended, Event, Message, RemoteChanged
from ...udx.limits import TIME_WAIT_SECONDS
from ...udx.packet import HEADER_BYTES, RawPacket
from ...udx.stream import UdxStream
from ...udx.time_wait import TimeWait
from .recvmmsg import Address, Source, source_of
from .udp_socket import Endpoint, UdpSocket

BURSTS_PER_FLUSH = 4
"""After this many sends other streams, and other work of the loop, get their turn."""

TIMER_TICK = 0.001
"""Shortest timer in seconds: the loop's timers are no finer."""


MAX_AMPLIFICATION = 3
"""Factor: an address that has acknowledged nothing is sent at most this many times the bytes of UDP payload
that came from it (as in QUIC, RFC 9000 section 8)."""

AcceptHook = Callable[[UdpSocket, Address], bool]
FollowHook = Callable[[UdpSocket, Address], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHandler:
    """The reactions of a stream's owner, which reads and writes it, to its events. None: no reaction."""

    on_data: Callable[[list[Buffer]], None] | None = None
    """The next bytes."""
    on_end: Callable[[], None] | None = None
    """The peer ended its side."""
    on_drain: Callable[[], None] | None = None
    """`write` may continue."""
    on_message: Callable[[bytes], None] | None = None
    """An unordered message."""
    on_remote_changed: Callable[[], None] | None = None
    """See `StreamTransport.change_remote`."""
    on_work: Callable[[float], None] | None = None
    """Packets of the peer, or sending to it, have just taken that many seconds of this thread's processor
    time, other callbacks included."""
    on_close: Callable[[ConnectionClosed | None], None] | None = None
    """The stream ended, called once; no error when both sides had ended."""


NO_HANDLER = StreamHandler()
"""That of a stream without an owner."""


class _Unsent(NamedTuple):
    """Datagrams that the kernel's buffer had no space for."""

    buffers: list[Buffer]
    segment_size: int
    packets: int


class StreamTransport:
    """A reliable byte stream between two ids, at first not connected, with a local id of its own.

    It has one owner at a time, whose callbacks are its `handler`; others use `add_close_listener`.
    """

    def __init__(
        self, endpoint: Endpoint, *, heartbeat: float | None = None, accept: AcceptHook | None = None
    ) -> None:
        """`heartbeat`: idle seconds after which the stream asks the peer for a sign of life.

        `accept(socket, address)`: a packet came before `connect`. True lets it in. It may call `connect`.
        Without it such packets are dropped. Raises OSError when the endpoint has MAX_STREAMS streams.
        """
        self.local_id = local_id = endpoint.allocate_id()
        self.socket: UdpSocket | None = None
        self.remote_address: Address | None = None
        self.source: Source = b""
        self.handler = NO_HANDLER
        """The owner's, to be set before control returns to the loop. A new owner replaces all of it."""
        self.roaming = False
        """Whether the peer may move to another address after packets from its known one."""
        self._accept = accept
        self._may_follow: FollowHook | None = None
        self._close_listeners: list[Callable[[], None]] = []
        self._endpoint = endpoint
        self._loop = endpoint.loop
        self._core = UdxStream(
            monotonic(), heartbeat=heartbeat, cycle_offset=local_id, memory=endpoint.memory
        )
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._flush_is_scheduled = False
        self._unsent: _Unsent | None = None
        self._gone = False
        self._overruns = 0  # drops of the socket that are accounted for
        self._heard = False  # a packet came from the peer's address
        self._restricted = False  # it is not proven that the peer receives at its address
        self._proven: tuple[UdpSocket, Source] | None = None  # the last path for which it is
        endpoint.register(local_id, self)

    # --- the application's side ---------------------------------------------------------------------------

    @property
    def core(self) -> UdxStream:
        """The state machine, to read its counters."""
        return self._core

    @property
    def connected(self) -> bool:
        return self._core.connected

    @property
    def closed(self) -> bool:
        return self._core.closed

    @property
    def writable(self) -> bool:
        """Whether a writer need not wait for `on_drain`."""
        return self._core.writable

    @property
    def send_queue_bytes(self) -> int:
        """Bytes written and not yet sent for the first time."""
        return self._core.send_queue_bytes

    @property
    def rtt(self) -> float:
        """Smoothed round trip in seconds, 0 before any sample."""
        return self._core.rtt

    def connect(
        self,
        remote_id: int,
        address: Address,
        socket: UdpSocket | None = None,
        *,
        budget: int | None = None,
        timeout_budget: int = 0,
        may_follow: FollowHook | None = None,
    ) -> None:
        """The peer's stream id and address. Packets go out over `socket`, or else the endpoint's first
        one. `budget` bounds what is sent before anything is acknowledged, see `UdxStream.connect`.

        `may_follow(socket, address)`: the peer's data came from another address than the known one. Returns
        the peer's stream id there, or None to stay. Without it the stream follows, and the id stays the same.
        Not called after a packet from the peer's address, unless it is `roaming`.
        """
        self._may_follow = may_follow
        self._set_path(address, socket)
        self._core.connect(remote_id, budget=budget, timeout_budget=timeout_budget)
        self._restricted = budget is not None
        self._schedule_flush()

    def change_remote(self, remote_id: int, address: Address, socket: UdpSocket | None = None) -> None:
        """Moves a connected stream to another path. `on_remote_changed` follows when it has taken over."""
        self._core.change_remote(remote_id)
        self._core.sender.restrict(None)
        self._restricted = False
        self._set_path(address, socket)
        self._schedule_flush()

    def write(self, data: Buffer) -> bool:
        """Queue bytes, which must not change any more. False: wait for `on_drain` before more.

        Bytes written in one turn of the loop share packets.
        """
        ready = self._core.write(data)
        self._schedule_flush()
        return ready

    def end(self) -> None:
        """No more writes; the stream closes when the peer has ended too."""
        self._core.end()
        self._schedule_flush()

    def destroy(self, error: ConnectionClosed | None = None) -> None:
        """End the stream now. One packet, which may get lost, notifies the peer; `on_close` gets `error`."""
        if not self._core.closed:
            self._core.destroy(error)
            self._pump()

    abandon = destroy

    def add_close_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` once when the stream closes, after `on_close`; never if it is closed already."""
        self._close_listeners.append(listener)

    def send_message(self, payload: bytes) -> bool:
        """Sends an unordered, unreliable message of at most a packet. False when it was dropped."""
        sent = self._core.send_message(payload)
        self._schedule_flush()
        return sent

    def pause_reading(self) -> None:
        """Stop `on_data`. The peer may fill our window and must then wait."""
        self._core.pause()

    def resume_reading(self) -> None:
        self._core.resume()
        self._schedule_flush()

    # --- the endpoint's side ------------------------------------------------------------------------------

    def accepts(self, socket: UdpSocket, address: Address) -> bool:
        if self._core.connected:
            return address[1] > 0 and (self.roaming or not self._heard)
        if self._accept is None:
            return False
        try:
            return self._accept(socket, address)
        except Exception as error:
            self._report(error)
            return False

    def receive_strays(self, packets: list[RawPacket], socket: UdpSocket, address: Address) -> None:
        """Packets that came before `connect`, or from another address than the peer's. The peer may have
        moved there: then we follow, and send little until something is acknowledged."""
        began = thread_time()
        if not self._core.connected or (socket is self.socket and address == self.remote_address):
            self._receive(packets, socket)
        elif self._core.receive_strays(packets, monotonic()):
            self._follow(socket, address, _size_of(packets))
            self._pump()
        else:
            self._schedule_flush()
        self._worked_since(began)

    def _follow(self, socket: UdpSocket, address: Address, size: int) -> None:
        if self._may_follow is not None:
            try:
                remote_id = self._may_follow(socket, address)
            except Exception as error:
                self._report(error)
                return
            if remote_id is None:
                return
            if remote_id != self._core.remote_id:
                self._core.change_remote(remote_id)
        before = self.socket
        if before is not None and self._core.sender.budget is None:
            self._proven = (before, self.source)
        self._set_path(address, socket)
        self._heard = True
        self._restricted = self._proven != (socket, self.source)
        self._core.sender.restrict(MAX_AMPLIFICATION * size if self._restricted else None)
        if before is not None and before is not socket and before.temporary:
            before.close()

    def receive_packets(self, packets: list[RawPacket], socket: UdpSocket) -> None:
        began = thread_time()
        self._receive(packets, socket)
        self._worked_since(began)

    def _worked_since(self, began: float) -> None:
        if (on_work := self.handler.on_work) is not None:
            on_work(thread_time() - began)

    def _receive(self, packets: list[RawPacket], socket: UdpSocket) -> None:
        self._heard = True
        if self._restricted:
            self._core.sender.allow(MAX_AMPLIFICATION * _size_of(packets))
            self._restricted = self._core.sender.budget is not None
        now = monotonic()
        self._core.receive(packets, now)
        if self._core.has_gaps and (rx_dropped := socket.rx_dropped()) != self._overruns:
            self._overruns = rx_dropped
            self._core.on_rx_dropped(socket.receive_capacity, now)
        if self._core.owes_ack:
            self._pump()
        else:
            # There may be more acknowledgements to read: output follows once, after all of them
            self._schedule_flush()

    def _set_path(self, address: Address, socket: UdpSocket | None) -> None:
        self.socket = socket or self._endpoint.sockets[0]
        self.remote_address = address
        self.source = source_of(address)
        self._heard = False
        self._overruns = self.socket.rx_dropped()

    # --- the pump -----------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        if not self._flush_is_scheduled and not self._gone:
            self._flush_is_scheduled = True
            self._endpoint.flush_soon(self)

    def flush(self) -> None:
        """Send output. For the endpoint, after `flush_soon`."""
        self._flush_is_scheduled = False
        began = thread_time()
        self._pump()
        self._worked_since(began)

    def _pump(self) -> None:
        """Deliver events, send output, set the timer.

        A callback may call us again, or raise: then its error goes to the loop's exception handler, and the
        stream continues.
        """
        if self._gone:
            return
        closed = self._dispatch()
        self._send(monotonic())
        closed = self._dispatch() or closed
        if closed is not None:
            self._finish(closed)
        else:
            self._set_timer()

    def _dispatch(self) -> Closed | None:
        """Calls back for all events but `Closed`, which is returned."""
        next_event = self._core.next_event
        while (event := next_event()) is not None:
            if isinstance(event, Closed):
                return event
            try:
                self._call_back(event)
            except Exception as error:
                self._report(error)
        return None

    def _call_back(self, event: Event) -> None:
        handler = self.handler
        match event:
            case Data(chunks):
                if handler.on_data is not None:
                    handler.on_data(chunks)
            case Drained():
                if handler.on_drain is not None:
                    handler.on_drain()
            case Ended():
                if handler.on_end is not None:
                    handler.on_end()
            case Message(payload):
                if handler.on_message is not None:
                    handler.on_message(payload)
            case RemoteChanged():
                if handler.on_remote_changed is not None:
                    handler.on_remote_changed()

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {"message": "a callback of a UDX stream failed", "exception": error}
        )

    def _send(self, now: float) -> None:
        udp, address = self.socket, self.remote_address
        if self._gone or udp is None or address is None or self._unsent is not None:
            return
        take_output = self._core.take_output
        for _ in range(BURSTS_PER_FLUSH):
            burst = take_output(now)
            if burst is None:
                return
            buffers, size, packets = burst
            sent = udp.send_segments(buffers, size, packets, address)
            if sent < packets:
                rest = buffers[sent * (len(buffers) // packets) :]
                self._unsent = _Unsent(rest, size, packets - sent)
                udp.call_when_writable(self._on_writable)
                return
        self._schedule_flush()

    def _on_writable(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is None or self.socket is None or self.remote_address is None:
            return
        sent = self.socket.send_segments(*unsent, self.remote_address)
        if sent < unsent.packets:
            rest = unsent.buffers[sent * (len(unsent.buffers) // unsent.packets) :]
            self._unsent = unsent._replace(buffers=rest, packets=unsent.packets - sent)
            self.socket.call_when_writable(self._on_writable)
            return
        self._pump()

    def _set_timer(self) -> None:
        """Set the timer. One that fires too early stays: most deadlines move before they come.

        There is no deadline once the stream is closed.
        """
        deadline = self._core.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        wait = max(deadline - monotonic(), TIMER_TICK)
        self._timer = self._loop.call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = monotonic()
        deadline = self._core.next_deadline()
        if deadline is not None and deadline <= now:
            began = thread_time()
            self._core.handle_timer(now)
            self._pump()
            self._worked_since(began)
        else:
            self._set_timer()

    def _finish(self, closed: Closed) -> None:
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        time_wait = self._core.time_wait()
        if time_wait is not None and self.socket is not None and self.remote_address is not None:
            remains = TimeWaitStream(time_wait, self.socket, self.remote_address)
            self._endpoint.enter_time_wait(self.local_id, remains, TIME_WAIT_SECONDS)
        else:
            self._endpoint.unregister(self.local_id)
        self._unsent = None
        self._core.release()
        on_close = self.handler.on_close
        # The callbacks may keep a whole connection in memory; a closed stream does not need them.
        self._accept = self._may_follow = None
        self.handler = NO_HANDLER
        callbacks, self._close_listeners = self._close_listeners, []
        if on_close is not None:
            callbacks.insert(0, partial(on_close, closed.error))
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                self._report(error)


class TimeWaitStream:
    """A closed stream that answers a peer that missed its end."""

    def __init__(self, time_wait: TimeWait, socket: UdpSocket, address: Address) -> None:
        self.socket: UdpSocket | None = socket
        self.source = source_of(address)
        self._time_wait = time_wait
        self._address = address

    def accepts(self, socket: UdpSocket, address: Address) -> bool:
        return False

    def receive_packets(self, packets: list[RawPacket], socket: UdpSocket) -> None:
        answer = self._time_wait.answer(packets)
        if answer is not None:
            socket.send(answer, self._address)

    def receive_strays(self, packets: list[RawPacket], socket: UdpSocket, address: Address) -> None:
        """Packets from other addresses are not accepted."""

    def abandon(self) -> None:
        """End without notifying the peer."""


def _size_of(packets: list[RawPacket]) -> int:
    """Bytes of UDP payload."""
    return sum(HEADER_BYTES + len(rest) for _, rest in packets)
