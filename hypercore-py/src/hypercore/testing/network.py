"""A simulated network between UDX streams: loss, reordering, duplication, bottlenecks, and a fake clock.

Everything random comes from a seeded generator, so that a seed reproduces a failure.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from .._types import Buffer, Random
from ..udx.events import Closed, Data, Drained, Ended, Message
from ..udx.packet import HEADER_BYTES, RawPacket, header_struct
from ..udx.stream import UdxStream
from ..udx.time_wait import TimeWait

IP_AND_UDP_BYTES = 28


class Path:
    """One direction of a network path, shared by all its senders.

    `delay` and `jitter` are seconds: a datagram takes `delay` plus up to `jitter`. `loss`, `duplication`
    and `reordering` are probabilities; a reordered datagram takes `delay` once more. `rate` is bytes per
    second with a queue of `queue_bytes` in front. Datagrams whose IP packet is longer than `mtu` vanish.
    """

    def __init__(
        self,
        rng: Random,
        *,
        delay: float = 0.02,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        rate: float | None = None,
        queue_bytes: int = 1 << 20,
        mtu: int = 1500,
    ) -> None:
        self.rng = rng
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.duplication = duplication
        self.reordering = reordering
        self.rate = rate
        self.queue_bytes = queue_bytes
        self.mtu = mtu
        self.datagrams = 0
        self.dropped = 0
        self._busy_until = 0.0

    def arrivals(self, now: float, size: int) -> list[float]:
        """When a datagram of `size` bytes that is sent now arrives: never, once or twice."""
        self.datagrams += 1
        chance = self.rng.random
        packet = size + IP_AND_UDP_BYTES
        if packet > self.mtu or (self.loss and chance() < self.loss):
            self.dropped += 1
            return []
        start = now
        if self.rate is not None:
            start = max(now, self._busy_until)
            if (start - now) * self.rate > self.queue_bytes:
                self.dropped += 1
                return []
            start = self._busy_until = start + packet / self.rate
        times = [start + self.delay + self.jitter * chance()]
        if self.reordering and chance() < self.reordering:
            times[0] += self.delay
        if self.duplication and chance() < self.duplication:
            times.append(times[0] + self.delay * chance())
        return times


class Peer:
    """One end of a stream in a simulation. Whatever arrives is collected."""

    def __init__(self, stream: UdxStream, local_id: int, path: Path) -> None:
        self.stream = stream
        self.local_id = local_id
        self.path = path
        """The way out."""
        self.other: Peer | None = None
        self.received = bytearray()
        self.messages: list[bytes] = []
        self.ended = False
        self.closed: Closed | None = None
        self.sent: list[bytes] | None = None
        """Every datagram sent, when a test has set this to a list."""
        self.on_drain: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.time_wait: TimeWait | None = None
        self._arrived: list[RawPacket] = []

    def collect(self) -> None:
        """Takes the events of the stream."""
        while (event := self.stream.next_event()) is not None:
            match event:
                case Data(chunks):
                    for chunk in chunks:
                        self.received += chunk
                case Message(payload):
                    self.messages.append(payload)
                case Ended():
                    self.ended = True
                    if self.on_end is not None:
                        self.on_end()
                case Drained():
                    if self.on_drain is not None:
                        self.on_drain()
                case Closed():
                    self.closed = event
                case _:
                    pass


class Simulation:
    """A network, its streams and their clock."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.peers: list[Peer] = []
        self._by_id: dict[int, Peer] = {}
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._sent = 0

    def add_pair(
        self,
        there: Path,
        back: Path,
        *,
        initial_seqs: tuple[int, int] = (0, 0),
        connect: bool = True,
    ) -> tuple[Peer, Peer]:
        """Two new streams that talk over the two paths."""
        first, second = initial_seqs
        number = len(self.peers)
        left = UdxStream(self.now, initial_seq=first, initial_ack=second, cycle_offset=number)
        right = UdxStream(self.now, initial_seq=second, initial_ack=first, cycle_offset=number + 1)
        peers = Peer(left, number + 1, there), Peer(right, number + 2, back)
        peers[0].other, peers[1].other = peers[1], peers[0]
        for peer in peers:
            self.peers.append(peer)
            self._by_id[peer.local_id] = peer
        if connect:
            left.connect(peers[1].local_id)
            right.connect(peers[0].local_id)
        return peers

    def inject(self, datagram: Buffer, at: float | None = None) -> None:
        """A datagram from nowhere."""
        self._sent += 1
        target = header_struct.unpack_from(datagram)[1] if len(datagram) >= HEADER_BYTES else 0
        heapq.heappush(self._queue, (self.now if at is None else at, self._sent, target, bytes(datagram)))

    def run(self, duration: float, *, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass until `until` holds (True), nothing can happen any more, or `duration` is over."""
        limit = self.now + duration
        while True:
            for peer in self.peers:
                self._flush(peer)
            if until is not None and until():
                return True
            times = [at for peer in self.peers if (at := peer.stream.next_deadline()) is not None]
            if self._queue:
                times.append(self._queue[0][0])
            if not times or min(times) > limit:
                self.now = limit if times else self.now
                return until is not None and until()
            self.now = max(self.now, *[min(times)])
            self._deliver()
            for peer in self.peers:
                deadline = peer.stream.next_deadline()
                if deadline is not None and deadline <= self.now:
                    peer.stream.handle_timer(self.now)
                peer.collect()

    def _deliver(self) -> None:
        touched = []
        while self._queue and self._queue[0][0] <= self.now:
            _, _, target, datagram = heapq.heappop(self._queue)
            peer = self._by_id.get(target)
            if peer is None:
                continue
            header = header_struct.unpack_from(datagram)
            peer._arrived.append((header, datagram[HEADER_BYTES:]))
            touched.append(peer)
        for peer in touched:
            packets, peer._arrived = peer._arrived, []
            if peer.time_wait is not None:
                answer = peer.time_wait.answer(packets)
                if answer is not None:
                    self._send(peer, answer)
            elif packets:
                peer.stream.receive(packets, self.now)
                peer.collect()

    def _flush(self, peer: Peer) -> None:
        stream = peer.stream
        peer.collect()
        while (burst := stream.take_output(self.now)) is not None:
            step = len(burst.buffers) // burst.packets
            for index in range(burst.packets):
                datagram = b"".join(burst.buffers[index * step : index * step + step])
                self._send(peer, datagram)
        peer.collect()
        if stream.closed and peer.time_wait is None:
            peer.time_wait = stream.time_wait()

    def _send(self, peer: Peer, datagram: bytes) -> None:
        if peer.sent is not None:
            peer.sent.append(datagram)
        for at in peer.path.arrivals(self.now, len(datagram)):
            self.inject(datagram, at)
