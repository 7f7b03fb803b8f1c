"""A hostile peer that poses as a relay: it passes on handshakes of clients that it makes up."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, Firewall, Mode
from hypercore.dht.messages import Handshake, NoisePayload, UdxInfo
from hypercore.dht.noise import ClientHandshake
from hypercore.dht.packet import Request, decode_packet
from hypercore.noise import HandshakeResult

ANSWER_SECONDS = 5.0


class Shaken(NamedTuple):
    """An answered handshake."""

    payload: NoisePayload
    result: HandshakeResult


class FalseRelay:
    """Made by `false_relay`. `sent` counts bytes of UDP payload."""

    def __init__(self, server: bytes, at: Address, socket: socket.socket) -> None:
        """`server` is the public key of a peer that listens at `at`."""
        self.sent = 0
        self._server = server
        self._at = at
        self._socket = socket
        self._number = 0

    def send(
        self,
        client: Address,
        *,
        stream_id: int = 1,
        firewall: int = Firewall.OPEN,
        identity: KeyPair | None = None,
    ) -> ClientHandshake:
        """Pass on a handshake of a client that is allegedly at `client`."""
        handshake = ClientHandshake(identity or KeyPair.from_seed(os.urandom(32)), self._server, os.urandom)
        noise = handshake.write(NoisePayload(firewall=firewall, udx=UdxInfo(stream_id), secret_stream=1))
        value = Handshake(mode=Mode.FROM_RELAY, noise=noise, peer_address=client).encode()
        self._number = (self._number + 1) % 65536
        request = Request(
            tid=self._number,
            to=self._at,
            command=Command.PEER_HANDSHAKE,
            internal=False,
            id=None,
            token=None,
            target=blake2b_256(self._server),
            value=value,
        ).encode()
        self._socket.sendto(request, self._at)
        self.sent += len(request)
        return handshake

    def shake(self, client: Address, **options: int) -> Shaken:
        """The same, and wait for the answer. Raises TimeoutError."""
        handshake = self.send(client, **options)
        self._socket.settimeout(ANSWER_SECONDS)
        while True:
            packet = decode_packet(self._socket.recv(2048))
            answer = Handshake.decode(packet.value or b"")
            if answer.mode == Mode.FROM_SERVER:
                return Shaken(*handshake.read(answer.noise))

    def answers(self) -> int:
        """How many handshakes were answered since the last call."""
        self._socket.setblocking(False)
        count = 0
        while True:
            try:
                packet = decode_packet(self._socket.recv(2048))
            except BlockingIOError:
                return count
            count += bool(packet.value) and Handshake.decode(packet.value or b"").mode == Mode.FROM_SERVER


@contextmanager
def false_relay(server: bytes, at: Address, host: str = "127.0.0.1") -> Iterator[FalseRelay]:
    """`host` is the address that it sends from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        own.bind((host, 0))
        yield FalseRelay(server, at, own)


class Bystander:
    """A third party that never asked for anything. Made by `bystander`."""

    def __init__(self, own: socket.socket) -> None:
        self._socket = own
        host, port = own.getsockname()
        self.address = Address(host, port)
        self.datagrams: list[bytes] = []
        """What has come so far, as of the last `poll`."""

    def poll(self) -> int:
        """Bytes that have come in all."""
        self._socket.setblocking(False)
        while True:
            try:
                self.datagrams.append(self._socket.recv(65536))
            except BlockingIOError:
                return sum(map(len, self.datagrams))


@contextmanager
def bystander(host: str = "127.0.0.1") -> Iterator[Bystander]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        own.bind((host, 0))
        yield Bystander(own)
