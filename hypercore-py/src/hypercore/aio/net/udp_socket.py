"""UDP sockets that UDX streams and the DHT share.

A datagram goes to the stream whose local id it has, on any socket of the endpoint; other datagrams go to a
message handler (udx.c, hyperdht lib/socket-pool.js, dht-rpc lib/io.js). The loop only watches a file
descriptor for readability, so asyncio and uvloop behave alike.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from struct import Struct, pack
from struct import error as StructError
from time import monotonic
from typing import Protocol

from ..._types import Buffer
from ...udx.memory import ReceiveMemory
from ...udx.packet import HEADER_BYTES, MAGIC_AND_VERSION, RawPacket, header_struct
from .message_queue import MessageQueue
from .recvmmsg import SLOT_SHIFT, SOL_UDP, UDP_GRO, Address, BatchReader, Source, new_reader

__all__ = ["Address", "Endpoint", "MessageHandler", "PacketSink", "UdpSocket"]

UDP_SEGMENT = 103
SO_MEMINFO = 55
SO_RCVBUFFORCE = 33
IP_MTU_DISCOVER = 10
IP_PMTUDISC_PROBE = 3

RECEIVE_BUFFER_BYTES = 4 << 20
"""SO_RCVBUF. The start-up bursts of an official sender overflow the kernel's default."""

SEND_BUFFER_BYTES = 1 << 20
"""SO_SNDBUF."""

READ_SECONDS = 0.005
"""Seconds of reading after which other work of the loop gets its turn."""

FLUSH_SECONDS = 0.005
"""Seconds of sending, over all streams, after which other work of the loop gets its turn."""

BATCHES_PER_WAKE_UP = 4
"""After this many batches of datagrams other work of the loop gets its turn."""

MAX_STREAMS = 65536
"""Streams of an endpoint, including closed ones that still answer."""

MAX_TIME_WAITS = 4096
"""Closed streams that still answer their peer."""

MessageHandler = Callable[[bytes, Address, "UdpSocket"], None]
_unpack_header = header_struct.unpack_from
_unpack_meminfo = Struct("9I").unpack
_nowhere: list[RawPacket] = []


class PacketSink(Protocol):
    """The view of a stream that the endpoint has."""

    socket: UdpSocket | None
    source: Source
    """Source of the peer's packets over `socket`."""

    def accepts(self, socket: UdpSocket, address: Address) -> bool:
        """Whether a packet from another address is processed."""

    def receive_packets(self, packets: list[RawPacket], socket: UdpSocket) -> None:
        """Packets of one batch that came from the peer's address."""

    def receive_strays(self, packets: list[RawPacket], socket: UdpSocket, address: Address) -> None:
        """Packets of one batch from another address or socket, which `accepts` accepted."""

    def abandon(self) -> None:
        """The endpoint closes."""


class Flushable(Protocol):
    """A stream that may have output."""

    def flush(self) -> None:
        """Send it. Called once for each `Endpoint.flush_soon`."""


class Traffic:
    """Datagrams of all sockets of an endpoint since its start, those of closed sockets included."""

    __slots__ = ("bytes_sent", "packets_received", "packets_sent")

    def __init__(self) -> None:
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_received = 0

    def sent(self, packets: int, size: int) -> None:
        """Count datagrams with `size` bytes in all."""
        self.packets_sent += packets
        self.bytes_sent += size


class UdpSocket:
    """One bound IPv4 port. Made by `Endpoint.bind`."""

    def __init__(
        self, endpoint: Endpoint, sock: socket.socket, on_message: MessageHandler | None = None
    ) -> None:
        self._endpoint = endpoint
        self._sock = sock
        self._loop = endpoint.loop
        self._waiting: list[Callable[[], None]] = []
        host, port = sock.getsockname()
        self.local_address: Address = (host, port)
        self.on_message = on_message
        self.temporary = False
        """Whether the socket is closed with the stream that uses it."""
        self.closed = False
        # The kernel reports twice the requested size and uses about half of that for its own bookkeeping.
        self.receive_capacity: int = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        """About how many bytes of datagrams the kernel holds for us."""
        self.segmentation = endpoint.segmentation
        """Whether UDP_SEGMENT is used. Turned off when the kernel or a device refuses it."""
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def send(self, data: Buffer, address: Address, ttl: int | None = None) -> bool:
        """Sends one datagram; the host is a dotted IPv4 address.

        False when it was not sent: the buffer is full, the network refuses it, or the socket is closed. `ttl`
        applies to this datagram only.
        """
        if self.closed:
            return False
        try:
            if ttl is None:
                self._sock.sendto(data, address)
            else:
                control = [(socket.IPPROTO_IP, socket.IP_TTL, pack("i", ttl))]
                self._sock.sendmsg([data], control, 0, address)
        except OSError:
            return False
        self._endpoint.traffic.sent(1, len(data))
        return True

    def send_segments(
        self, buffers: Sequence[Buffer], segment_size: int, count: int, address: Address
    ) -> int:
        """Sends `count` datagrams, the buffers of each being `len(buffers) / count` neighbours in `buffers`.

        All but the last have `segment_size` bytes. Returns how many need not be tried again: fewer than
        `count` when the kernel's buffer is full.
        """
        if self.closed:
            return count
        if count > 1 and self.segmentation:
            control = [(SOL_UDP, UDP_SEGMENT, pack("H", segment_size))]
            try:
                # One flat buffer: the kernel takes longer over a vector than this does over the copy.
                size = self._sock.sendmsg((b"".join(buffers),), control, 0, address)
                self._endpoint.traffic.sent(count, size)
                return count
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT):
                    self.segmentation = False
                else:
                    return count
        step = len(buffers) // count
        for index in range(count):
            try:
                size = self._sock.sendmsg(buffers[index * step : index * step + step], (), 0, address)
                self._endpoint.traffic.sent(1, size)
            except BlockingIOError:
                return index
            except OSError:  # counts as a lost datagram
                pass
        return count

    def rx_dropped(self) -> int:
        """Datagrams that the kernel dropped because its buffer was full; 0 where it does not report them."""
        try:
            return int(_unpack_meminfo(self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8])
        except (OSError, StructError):
            return 0

    def call_when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once, when the kernel's buffer has space again."""
        if self.closed:
            return
        if not self._waiting:
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        self._waiting.append(callback)

    def close(self) -> None:
        """Stop reading and free the port. Streams on the socket are not notified."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._waiting:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._endpoint.discard(self)

    def _on_readable(self) -> None:
        until = monotonic() + READ_SECONDS
        for _ in range(BATCHES_PER_WAKE_UP):
            if self.closed or not self._endpoint.read_batch(self, self._sock) or monotonic() >= until:
                return

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()


class Endpoint:
    """A stream table over any number of UDP sockets.

    `segmentation`, `coalescing` and `mmsg` allow UDP_SEGMENT, UDP_GRO and recvmmsg where the system has them.
    `on_message(data, source, socket)` gets datagrams that are for no stream, from sockets without their own
    handler.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        rng: Random | None = None,
        segmentation: bool = True,
        coalescing: bool = True,
        mmsg: bool = True,
        on_message: MessageHandler | None = None,
    ) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.rng = rng or SystemRandom()
        self.segmentation = segmentation and hasattr(socket.socket, "sendmsg")
        self._coalescing = coalescing
        self._on_message = on_message
        self.memory = ReceiveMemory()
        """Budget for the bytes that all streams hold unread or out of order."""
        self.sockets: list[UdpSocket] = []
        self.closed = False
        self._streams: dict[int, PacketSink] = {}
        self._time_waits: dict[int, asyncio.TimerHandle] = {}
        self._to_flush: deque[Flushable] = deque()
        self._flush_is_scheduled = False
        self._reader: BatchReader = new_reader(mmsg=mmsg)
        self.traffic = Traffic()
        self._messages: MessageQueue[UdpSocket] = MessageQueue(self.loop, self._deliver_message)

    @property
    def streams(self) -> int:
        """Number of streams, those that closed lately included."""
        return len(self._streams)

    @property
    def bytes_received(self) -> int:
        """Bytes of all datagrams received since the start."""
        return self._reader.received

    def bind(
        self, host: str = "0.0.0.0", port: int = 0, *, on_message: MessageHandler | None = None
    ) -> UdpSocket:
        """Open a socket on a dotted IPv4 address. Raises OSError when the port is taken.

        `on_message` gets its datagrams that are for no stream, in place of the endpoint's handler.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            _set_receive_buffer(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            _try_option(sock, socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
            if self._coalescing:
                _try_option(sock, SOL_UDP, UDP_GRO, 1)
            sock.bind((host, port))
        except BaseException:
            sock.close()
            raise
        udp = UdpSocket(self, sock, on_message)
        self.sockets.append(udp)
        return udp

    def allocate_id(self) -> int:
        """An unused stream id. Raises OSError when there are MAX_STREAMS streams."""
        if len(self._streams) >= MAX_STREAMS:
            raise OSError(errno.EMFILE, "too many UDX streams")
        while (local_id := self.rng.getrandbits(32)) in self._streams:
            pass
        return local_id

    def flush_soon(self, stream: Flushable) -> None:
        """Call `stream.flush` in the next turn of the loop, or a later one if many wait."""
        self._to_flush.append(stream)
        if not self._flush_is_scheduled:
            self._flush_is_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Flush streams that wait, for FLUSH_SECONDS. Those added meanwhile wait for the next turn."""
        waiting = self._to_flush
        until = monotonic() + FLUSH_SECONDS
        for _ in range(len(waiting)):
            stream = waiting.popleft()
            try:
                stream.flush()
            except Exception as error:
                self._report(error)
            if monotonic() >= until:
                break
        self._flush_is_scheduled = bool(waiting)
        if waiting:
            self.loop.call_soon(self._flush)

    def register(self, local_id: int, sink: PacketSink) -> None:
        """Deliver packets for `local_id` to `sink`."""
        self._streams[local_id] = sink

    def unregister(self, local_id: int) -> None:
        """Deliver no more packets for `local_id`, and close a temporary socket of its stream."""
        sink = self._streams.pop(local_id, None)
        if sink is not None and sink.socket is not None and sink.socket.temporary:
            sink.socket.close()

    def enter_time_wait(self, local_id: int, sink: PacketSink, seconds: float) -> None:
        """Replace a closed stream by `sink` for `seconds`, or until MAX_TIME_WAITS others have followed."""
        if self.closed:
            self.unregister(local_id)
            return
        self._streams[local_id] = sink
        self._time_waits[local_id] = self.loop.call_later(seconds, self._end_time_wait, local_id)
        while len(self._time_waits) > MAX_TIME_WAITS:
            self._end_time_wait(next(iter(self._time_waits)))

    def _end_time_wait(self, local_id: int) -> None:
        self._time_waits.pop(local_id).cancel()
        self.unregister(local_id)

    def discard(self, udp: UdpSocket) -> None:
        """Remove a closed socket."""
        if udp in self.sockets:
            self.sockets.remove(udp)

    def _report(self, error: Exception) -> None:
        """One receiver's failure must not cost others their datagrams."""
        self.loop.call_exception_handler({"message": "a receiver of datagrams failed", "exception": error})

    def close(self) -> None:
        """Destroys all streams, then closes all sockets."""
        self.closed = True
        self._messages.close()
        for local_id in list(self._time_waits):
            self._end_time_wait(local_id)
        for sink in list(self._streams.values()):
            sink.abandon()
        for udp in list(self.sockets):
            udp.close()

    def read_batch(self, udp: UdpSocket, sock: socket.socket) -> bool:
        """Read one batch from `sock` and deliver it. False when there was nothing left to read."""
        reader = self._reader
        places = reader.read(sock)
        self.traffic.packets_received += len(places)
        buffer, sources = reader.buffer, reader.sources
        streams, put = self._streams, self._messages.put
        batches: dict[PacketSink, list[RawPacket]] = {}
        strays: dict[tuple[PacketSink, Address], list[RawPacket]] = {}
        last_id = -1
        last_source = b""
        one_source = len(set(sources)) < 2
        append = _nowhere.append  # later the list of packets for stream `last_id`
        for at, stop in places:
            body = at + HEADER_BYTES
            if stop >= body:
                header = _unpack_header(buffer, at)
                if header[0] & 0xFFFF == MAGIC_AND_VERSION:
                    if header[1] == last_id and (one_source or sources[at >> SLOT_SHIFT] == last_source):
                        append((header, buffer[body:stop] if stop > body else b""))
                        continue
                    source = sources[at >> SLOT_SHIFT]
                    sink = streams.get(header[1])
                    if sink is not None:
                        if sink.socket is udp and sink.source == source:
                            last_id, last_source = header[1], source
                            append = batches.setdefault(sink, []).append
                            append((header, buffer[body:stop]))
                        elif sink.accepts(udp, address := reader.address(at)):
                            strays.setdefault((sink, address), []).append((header, buffer[body:stop]))
                        continue
            if stop > at:
                put(bytes(buffer[at:stop]), reader.address(at), udp)
        for sink, batch in batches.items():
            try:
                sink.receive_packets(batch, udp)
            except Exception as error:
                self._report(error)
        for (sink, address), batch in strays.items():
            try:
                sink.receive_strays(batch, udp, address)
            except Exception as error:
                self._report(error)
        return bool(places)

    def _deliver_message(self, data: bytes, address: Address, udp: UdpSocket) -> None:
        handler = udp.on_message or self._on_message
        if handler is None or udp.closed:
            return
        try:
            handler(data, address, udp)
        except Exception as error:
            self._report(error)


def _set_receive_buffer(sock: socket.socket) -> None:
    """Set SO_RCVBUF beyond the system's limit if we may, else to the limit."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER_BYTES:
        _try_option(sock, socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)


def _try_option(sock: socket.socket, level: int, option: int, value: int) -> None:
    """Set an optional socket option. Returns whether the kernel has it."""
    with suppress(OSError):
        sock.setsockopt(level, option, value)
