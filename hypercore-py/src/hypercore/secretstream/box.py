"""Unordered messages: sealed one by one, sent as UDX MESSAGE packets beside the stream.

Form: counter (8 bytes LE), then XSalsa20-Poly1305 (MAC first) with the nonce counter || 16 zero bytes
(@hyperswarm/secret-stream index.js 6.9.2). Replication does not use them.
"""

from __future__ import annotations

from collections.abc import Callable

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from ..crypto import blake2b_256, namespace
from ..noise import HandshakeResult

COUNTER_BYTES = 8
OVERHEAD_BYTES = COUNTER_BYTES + 16
_NAMESPACE = "hyperswarm/secret-stream"


def _send_key(handshake_hash: bytes, *, is_initiator: bool) -> bytes:
    role = namespace(_NAMESPACE, 0 if is_initiator else 1)
    return blake2b_256(role, namespace(_NAMESPACE, 2), key=handshake_hash)


class UnorderedBox:
    """Seals and opens unordered messages. `random(size)` gives the first value of the counter."""

    __slots__ = ("_counter", "_rx", "_tx")

    def __init__(self, result: HandshakeResult, random: Callable[[int], bytes]) -> None:
        self._counter = int.from_bytes(random(COUNTER_BYTES), "little")
        self._tx = _send_key(result.hash, is_initiator=result.is_initiator)
        self._rx = _send_key(result.hash, is_initiator=not result.is_initiator)

    def seal(self, message: bytes) -> bytes:
        """The datagram payload, OVERHEAD_BYTES longer than `message`."""
        self._counter = (self._counter + 1) % 2**64
        counter = self._counter.to_bytes(COUNTER_BYTES, "little")
        return counter + crypto_secretbox(message, counter + bytes(16), self._tx)

    def open(self, payload: bytes) -> bytes | None:
        """The message, or None when `payload` is not one: there is no order and no session to end."""
        if len(payload) < OVERHEAD_BYTES:
            return None
        counter, sealed = payload[:COUNTER_BYTES], payload[COUNTER_BYTES:]
        try:
            return crypto_secretbox_open(sealed, counter + bytes(16), self._rx)
        except CryptoError:
            return None
