"""Parsers of hypercore-py that a peer's bytes reach, each alone."""

from __future__ import annotations

import contextlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from random import Random

from farmwire.proofs import prove_block
from hypercore.bee.kind import detect_kind
from hypercore.bee.messages import BeeBlock, Header, decode_node
from hypercore.bee.seedlist import decode_seed
from hypercore.blindpeer import AddCoreRequest, CoreRecord, Cores, Hello, Notification, TopK
from hypercore.blindpeer.messages import read_added, read_error
from hypercore.blindpeer.rpc import read_response
from hypercore.blindpeer.select import read_address
from hypercore.blindpeer.wakeup import WakeupHandshake
from hypercore.codec import Reader
from hypercore.crypto import KeyPair
from hypercore.dht import messages as dht
from hypercore.dht.messages.records import Announce
from hypercore.dht.packet import decode_packet
from hypercore.dht.signing import verify_announce
from hypercore.drive import paths
from hypercore.drive.blockmap import BlockMap
from hypercore.drive.entries import decode_entry
from hypercore.errors import HandshakeError, InvalidPath, RemoteProtocolError
from hypercore.keys import decode_key
from hypercore.manifest import Manifest
from hypercore.merkle import verify_standalone
from hypercore.multisig import MultiSignature
from hypercore.noise import Handshake
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.udx.packet import Packet, decode_sacks
from hypercore.wire.control import BitfieldMessage, Cancel, Extension, NoData, Range, Sync, Unwant, Want
from hypercore.wire.data import Data
from hypercore.wire.handshake import ChannelHandshake
from hypercore.wire.request import Request

from .target import Target
from .vectors import recorded

WIRE = (
    ChannelHandshake,
    Sync,
    Request,
    Cancel,
    Data,
    NoData,
    Want,
    Unwant,
    BitfieldMessage,
    Range,
    Extension,
)
DHT = (
    dht.Announce,
    dht.Handshake,
    dht.Holepunch,
    dht.HolepunchPayload,
    dht.LookupReply,
    dht.MutablePut,
    dht.MutableRecord,
    dht.NoisePayload,
    dht.PeerRecord,
    dht.PluginRequest,
)
PAIRING = (dht.Pair, dht.Unpair)
BLIND_PEER = (AddCoreRequest, CoreRecord, Cores, Hello, Notification, TopK, WakeupHandshake)

WRITER = make_writer(sample_blocks(9))
SERVER = KeyPair.from_seed(bytes(32))


def parsers() -> Iterator[Target]:
    """Of everything that is read without a state."""
    for frame in (*WIRE, *PAIRING, *BLIND_PEER):
        yield Target(name=f"wire {frame.__name__}", run=_reading(frame.decode), seeds=recorded)
    for message in DHT:
        yield Target(name=f"dht {message.__name__}", run=message.decode, seeds=recorded)
    for read in (read_added, read_error, read_response, read_address):
        yield Target(name=f"blind peer {read.__name__}", run=_reading(read), seeds=recorded)
    yield Target(name="dht packet", run=decode_packet, seeds=recorded)
    yield Target(name="dht announce signature", run=_announce, seeds=recorded)
    yield Target(name="manifest", run=Manifest.from_bytes, seeds=recorded)
    yield Target(name="multisignature", run=_multisignature, seeds=recorded)
    yield Target(name="proof alone", run=_proof, seeds=_proofs)
    yield Target(name="udx packet", run=_udx_packet, seeds=recorded)
    for pattern in ("IK", "XX"):
        yield Target(name=f"noise {pattern}", run=_noise(pattern), seeds=recorded, allowed=(HandshakeError,))
    yield Target(name="bee header", run=Header.decode, seeds=recorded)
    yield Target(name="bee block", run=lambda data: BeeBlock.decode(3, data), seeds=recorded)
    yield Target(name="bee node", run=decode_node, seeds=recorded)
    yield Target(name="kind of a core", run=detect_kind, seeds=recorded)
    yield Target(name="seed of a list", run=_seed, seeds=recorded)
    yield Target(name="drive entry", run=lambda data: decode_entry("/a", 1, data), seeds=_entries)
    yield Target(name="drive block map", run=_block_map, seeds=recorded)
    yield Target(name="drive path", run=paths.decode, allowed=(RemoteProtocolError, InvalidPath))
    yield Target(name="key", run=lambda data: decode_key(data.decode("latin-1")), allowed=(ValueError,))


def _reading(decode: Callable[[Reader], object]) -> Callable[[bytes], object]:
    return lambda data: decode(Reader(data))


def _announce(data: bytes) -> None:
    verify_announce(Announce.decode(data), target=bytes(32), node_id=bytes(32), token=bytes(32))


def _multisignature(data: bytes) -> None:
    for version in (0, 1, 2):
        with contextlib.suppress(RemoteProtocolError):
            MultiSignature.decode(data, version=version)


def _proof(data: bytes) -> None:
    verify_standalone(Data.decode(Reader(data)), WRITER.core.key, None)


def _proofs() -> Iterator[bytes]:
    for block in (0, 4, 8):
        yield b64decode(prove_block(WRITER.core, block).data)


def _udx_packet(data: bytes) -> None:
    decode_sacks(data, len(data) // 2)
    Packet.decode(data)


def _noise(pattern: str) -> Callable[[bytes], object]:
    def run(data: bytes) -> None:
        random = Random(1).randbytes
        for initiator in (True, False):
            remote = SERVER.public_key if pattern == "IK" and initiator else None
            side = Handshake(
                pattern,  # type: ignore[arg-type]
                initiator=initiator,
                static=SERVER,
                random=random,
                prologue=b"",
                remote_public_key=remote,
            )
            if initiator:
                side.write()
            with contextlib.suppress(HandshakeError):
                side.read(data)

    return run


def _seed(data: bytes) -> None:
    decode_seed(data[:32], data[32:])


def _entries() -> Iterator[bytes]:
    yield b'{"blob":{"blockOffset":0,"blockLength":1,"byteOffset":0,"byteLength":5},"metadata":null}'
    yield b'{"executable":true,"linkname":"/x","blob":null,"metadata":{"a":[1,2.5,null,true]}}'


def _block_map(data: bytes) -> None:
    found = BlockMap()
    found.add(data)
    list(found.indices(0, len(found)))
