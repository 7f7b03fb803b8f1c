"""The Noise handshake of a connection, carried by the DHT.

Source: hyperdht lib/noise-wrap.js (6.34.0). Two messages of pattern IK, each with a payload about how
to reach the sender.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from ..crypto import KeyPair, blake2b_256
from ..errors import HandshakeError
from ..noise import Handshake, HandshakeResult
from .constants import NS_PEER_HANDSHAKE, NS_PEER_HOLEPUNCH
from .messages import NoisePayload

RandomBytes = Callable[[int], bytes]


def holepunch_secret(handshake_hash: bytes) -> bytes:
    """The key that hole-punch payloads are sealed with, from the 64-byte transcript hash."""
    return blake2b_256(NS_PEER_HOLEPUNCH, key=handshake_hash)


class ClientHandshake:
    """Our side when we connect. The message goes to several relays; the first valid answer counts."""

    def __init__(self, key_pair: KeyPair, remote_public_key: bytes, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._handshake = Handshake(
            "IK",
            initiator=True,
            static=key_pair,
            random=random_bytes,
            prologue=NS_PEER_HANDSHAKE,
            remote_public_key=remote_public_key,
        )

    def write(self, payload: NoisePayload) -> bytes:
        return self._handshake.write(payload.encode())

    def read(self, noise: bytes) -> tuple[NoisePayload, HandshakeResult]:
        """The server's answer. Raises RemoteProtocolError for an invalid one, and may then be called
        again."""
        # An invalid answer, which any relay can send, breaks a handshake: each answer gets its own copy
        attempt = deepcopy(self._handshake, {id(self._random_bytes): self._random_bytes})
        payload = NoisePayload.decode(attempt.read(noise))
        return payload, attempt.result


class ServerHandshake:
    """Our side of a handshake that a client starts."""

    def __init__(self, key_pair: KeyPair, random_bytes: RandomBytes) -> None:
        self._handshake = Handshake(
            "IK", initiator=False, static=key_pair, random=random_bytes, prologue=NS_PEER_HANDSHAKE
        )

    def read(self, noise: bytes) -> tuple[NoisePayload, bytes]:
        """The client's payload and public key. Raises RemoteProtocolError."""
        payload = NoisePayload.decode(self._handshake.read(noise))
        remote = self._handshake.remote_public_key
        if remote is None:
            raise HandshakeError("the client sent no public key")
        return payload, remote

    def write(self, payload: NoisePayload) -> tuple[bytes, HandshakeResult]:
        noise = self._handshake.write(payload.encode())
        return noise, self._handshake.result
