"""State machines of hypercore-py that a peer drives: streams, channels, replication, the DHT."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hypercore.blindpeer import (
    AddCoreRequest,
    AddedCore,
    BlindPeerChannel,
    Cores,
    Notification,
    RpcChannel,
    WakeupChannel,
)
from hypercore.core import memory_store
from hypercore.crypto import blake2b_256, discovery_key
from hypercore.dht.address import Address
from hypercore.errors import RemoteProtocolError
from hypercore.mux import Muxer
from hypercore.noise import Handshake
from hypercore.replication import ALIAS, PROTOCOL, Replicator
from hypercore.secretstream import SecretStream
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.testing.serving_node import SERVER, ServingNode
from hypercore.udx.packet import FLAG_DATA, HEADER_BYTES, Packet, RawPacket, header_struct
from hypercore.udx.stream import UdxStream

from .target import Target, chunks, script
from .vectors import recorded

HASH = bytes(64)
WRITER = make_writer(sample_blocks(40))


def machines() -> Iterator[Target]:
    """Of everything that is driven by a peer. Their inputs are scripts: see `target.chunks`."""
    yield Target(name="udx stream", run=_udx_stream, seeds=_udx_packets, allowed=())
    yield Target(name="udx stream, unproven", run=_unproven_stream, seeds=_udx_packets, allowed=())
    yield Target(name="secret stream", run=_secret_stream, seeds=_frames)
    yield Target(name="replication, as reader", run=lambda data: _replicate(data, reader=True), seeds=_talk)
    yield Target(name="replication, as holder", run=lambda data: _replicate(data, reader=False), seeds=_talk)
    yield Target(name="replication, over several connections", run=_reconnect, seeds=_talk)
    yield Target(name="blind peer", run=_blind_peer, seeds=_blind_talk)
    yield Target(name="dht node", run=_dht_node, seeds=_datagrams, allowed=())


def _udx_stream(data: bytes) -> None:
    """Packets, and between them time and a reader that pauses."""
    now = 0.0
    stream = UdxStream(now, initial_ack=2**32 - 2)
    stream.connect(1)
    stream.write(bytes(4000))
    for op, piece in chunks(data):
        if op & 1:
            stream.pause()
        if op & 2:
            stream.resume()
        now += (op >> 2) * 0.3
        if len(piece) >= HEADER_BYTES:
            packet: RawPacket = header_struct.unpack_from(piece), memoryview(piece)[HEADER_BYTES:]  # type: ignore[assignment]
            stream.receive([packet], now)
        deadline = stream.next_deadline()
        if deadline is not None and deadline <= now:
            stream.handle_timer(now)
        while stream.next_event() is not None:
            pass
        for _ in range(50):
            if stream.take_output(now) is None:
                break


def _unproven_stream(data: bytes) -> None:
    """Packets from the peer's address and from others, of which none has acknowledged anything yet."""
    now = 0.0
    stream = UdxStream(now, initial_ack=2**32 - 2)
    stream.connect(1, budget=79, timeout_budget=100)
    stream.write(bytes(4000))
    sender, allowed, sent = stream.sender, 79, 0
    for op, piece in chunks(data):
        now += (op >> 2) * 0.3
        if len(piece) >= HEADER_BYTES:
            packet: RawPacket = header_struct.unpack_from(piece), memoryview(piece)[HEADER_BYTES:]  # type: ignore[assignment]
            sender.allow(3 * len(piece))
            allowed += 3 * len(piece)
            if op & 1:
                stream.receive([packet], now)
            elif stream.receive_strays([packet], now) and op & 2:
                sender.restrict(3 * len(piece))
                allowed, sent = 3 * len(piece), 0
        deadline = stream.next_deadline()
        if deadline is not None and deadline <= now:
            stream.handle_timer(now)
            allowed += sender.timeout_budget
        while stream.next_event() is not None:
            pass
        for _ in range(50):
            burst = stream.take_output(now)
            if burst is None:
                break
            sent += sum(map(len, burst.buffers))
        assert sender.budget is None or sent <= allowed


def _udx_packets() -> Iterator[bytes]:
    """Data in order and out of it, near the numbers of the stream above, and what was recorded."""
    first = 2**32 - 2
    for number in range(4):
        seq = (first + number) % 2**32
        packet = Packet(flags=FLAG_DATA, stream_id=1, window=1 << 20, seq=seq, ack=number, payload=b"x" * 30)
        yield script((0, packet.encode()), (4, packet.encode()), (2, packet.encode()))
    yield from (script((0, data)) for data in recorded() if data[:1] == b"\xff")


def _handshaken() -> tuple[SecretStream, SecretStream]:
    """Both ends of an encrypted stream, the same at each call."""
    random = Random(2).randbytes
    client, server = (
        Handshake("XX", initiator=side, static=SERVER, random=random, prologue=b"") for side in (True, False)
    )
    server.read(client.write())
    client.read(server.write())
    server.read(client.write())
    return SecretStream(client.result, random), SecretStream(server.result, random)


def _secret_stream(data: bytes) -> None:
    ours, theirs = _handshaken()
    for op, piece in chunks(data):
        if op & 1:
            ours.decrypt(theirs.start())
        elif op & 2:
            ours.decrypt(bytes(theirs.encrypt(piece)))
        else:
            ours.decrypt(piece)


def _frames() -> Iterator[bytes]:
    _, theirs = _handshaken()
    yield script((1, b""), (2, b"hello"), (2, b""), (0, bytes(theirs.encrypt(b"again"))))
    yield script((0, theirs.start()), (0, bytes(theirs.encrypt(b"hello"))))


def _site(reader: bool) -> Replicator:
    """A core that knows its head and half of the blocks, or all of them."""
    if not reader:
        return Replicator(make_writer(sample_blocks(40)).core)
    core = memory_store().open_core(WRITER.core.key)
    assert core is not None
    return Replicator(core)


def _attached(replicator: Replicator, muxer: Muxer) -> None:
    muxer.add_alias(ALIAS, PROTOCOL)
    muxer.on_open(PROTOCOL, lambda name, now: replicator.attach(muxer, now) is not None)
    replicator.attach(muxer, 0.0)


def _replicate(data: bytes, *, reader: bool) -> None:
    """Messages on the stream, and time."""
    now = 0.0
    muxer = Muxer(is_initiator=True, handshake_hash=HASH)
    replicator = _site(reader)
    _attached(replicator, muxer)
    for op, piece in chunks(data):
        now += op * 3.0
        muxer.receive(piece, now)
        muxer.take_output(now)
        while replicator.next_event() is not None:
            pass
        deadline = replicator.next_deadline()
        if deadline is not None and deadline <= now:
            replicator.handle_timer(now)


def _reconnect(data: bytes) -> None:
    """The same peer connects again and again, with whatever the last connection left behind."""
    now = 0.0
    replicator = _site(True)
    muxer = _connected(replicator)
    for op, piece in chunks(data):
        now += op * 0.5
        if op & 3 == 3:
            muxer.ended_by_peer = True
            muxer.shutdown(now)
            replicator.detach(muxer, now)
            replicator.suspicions.disconnected(SERVER.public_key)
            muxer = _connected(replicator)
        try:
            muxer.receive(piece, now)
        except RemoteProtocolError:
            muxer.shutdown(now)
            replicator.detach(muxer, now)
            muxer = _connected(replicator)
        muxer.take_output(now)
        while replicator.next_event() is not None:
            pass
        deadline = replicator.next_deadline()
        if deadline is not None and deadline <= now:
            replicator.handle_timer(now)


def _connected(replicator: Replicator) -> Muxer:
    muxer = Muxer(is_initiator=True, handshake_hash=HASH)
    muxer.remote_public_key = SERVER.public_key
    _attached(replicator, muxer)
    return muxer


def _talk() -> Iterator[bytes]:
    """What an honest peer says: to a reader as one who holds the core, to a holder as one who reads it."""
    for reader in (True, False):
        reported: list[tuple[int, bytes]] = []
        ours, theirs = (Muxer(is_initiator=side, handshake_hash=HASH) for side in (True, False))
        sites = _site(reader), _site(not reader)
        for replicator, muxer in zip(sites, (ours, theirs), strict=True):
            _attached(replicator, muxer)
        for turn in range(20):
            for message in theirs.take_output(turn * 0.01):
                reported.append((0, bytes(message)))
                ours.receive(message, turn * 0.01)
            for message in ours.take_output(turn * 0.01):
                theirs.receive(message, turn * 0.01)
            for replicator in sites:
                while replicator.next_event() is not None:
                    pass
        yield script(*reported)


class _BlindPeer:
    """Accepts what a blind peer accepts, and answers every request."""

    def __init__(self) -> None:
        self.muxer = muxer = Muxer(is_initiator=False, handshake_hash=HASH)
        muxer.on_open("blind-peer", self._blind_peer)
        muxer.on_open("protomux-rpc", self._rpc)
        muxer.on_open("wakeup", self._wakeup)

    def _blind_peer(self, channel_id: bytes | None, now: float) -> bool:
        BlindPeerChannel(self.muxer, self).open(now)
        return True

    def _rpc(self, channel_id: bytes | None, now: float) -> bool:
        methods = {"add-core": lambda value, reply, now: reply.answer(AddCoreRequest.decode(value).key)}
        RpcChannel(self.muxer, channel_id or bytes(1), methods).open(now)
        return channel_id is not None

    def _wakeup(self, channel_id: bytes | None, now: float) -> bool:
        channel = WakeupChannel(self.muxer, SERVER.public_key)
        if channel_id == discovery_key(SERVER.public_key):
            channel.open(now)
        return False

    def cores_received(
        self, channel: BlindPeerChannel, cores: Cores, request: int | None, now: float
    ) -> None:
        if request is not None:
            channel.respond(request, [AddedCore(*core, True) for core in cores.cores])

    def notification_received(
        self, channel: BlindPeerChannel, notification: Notification, request: int | None, now: float
    ) -> None:
        if request is not None:
            channel.acknowledge(request)

    def malformed_received(self, *_: object) -> None: ...

    def channel_ended(self, *_: object) -> None: ...


def _blind_peer(data: bytes) -> None:
    peer = _BlindPeer()
    for op, piece in chunks(data):
        peer.muxer.receive(piece, float(op))
        peer.muxer.take_output(float(op))


def _blind_talk() -> Iterator[bytes]:
    frames = [data for data in recorded() if data[:1] == b"\x01" and len(data) < 300]
    opens = [
        b"\x00\x01\x01\x0ablind-peer\x00",
        b"\x00\x01\x02\x0cprotomux-rpc\x20" + bytes(32),
        b"\x00\x01\x03\x06wakeup\x20" + discovery_key(SERVER.public_key) + bytes(34),
    ]
    for start in range(0, len(frames), 40):
        yield script(*((0, data) for data in (*opens, *frames[start : start + 40])))


def _dht_node(data: bytes) -> None:
    node = ServingNode(Random(1))
    for op, piece in chunks(data):
        node.feed(piece, Address(f"79.0.0.{op}", 1000 + op))


def _datagrams() -> Iterator[bytes]:
    packets = [data for data in recorded() if len(data) > 10 and data[0] & 0x0F == 3]
    target = blake2b_256(SERVER.public_key)
    for start in range(0, len(packets), 3):
        yield script(*((op, data) for op, data in enumerate(packets[start : start + 3])))
    yield from (script((1, data.replace(data[-32:], target))) for data in packets if len(data) > 60)
