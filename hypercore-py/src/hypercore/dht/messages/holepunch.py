"""PEER_HOLEPUNCH: the envelope that relays forward, and the sealed payload that only the two ends can read.

Format: hyperdht lib/messages.js `holepunch`, `holepunchPayload`; lib/secure-payload.js.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from ...codec import Reader, Writer
from ...crypto import blake2b_256
from ...errors import FrameDecodeError
from ..address import Address, read_address, read_addresses, write_address, write_addresses

NONCE_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Holepunch:
    """Flag bit: 1 peer address."""

    mode: int
    id: int
    """The server's slot, from its handshake. Servers answer with 0."""
    payload: bytes
    peer_address: Address | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        w = Writer().uint(1 if self.peer_address else 0).uint(self.mode).uint(self.id).buffer(self.payload)
        if self.peer_address:
            write_address(w, self.peer_address)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> Holepunch:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        flags = r.uint()
        return cls(
            mode=r.uint(),
            id=r.uint(),
            payload=r.buffer(),
            peer_address=read_address(r) if flags & 1 else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HolepunchPayload:
    """Flag bits: 1 connected, 2 punching, 4 addresses, 8 remote address, 16 token, 32 remote token."""

    error: int = 0
    firewall: int = 0
    round: int = 0
    connected: bool = False
    punching: bool = False
    """Whether the sender punches, or will when this is answered."""
    addresses: tuple[Address, ...] | None = None
    """Addresses of the sender; port 0 if its NAT uses another port for each destination."""
    remote_address: Address | None = None
    """The address for which the sender has just made a mapping in its NAT."""
    token: bytes | None = None
    """Sent back by the other side, as proof that it receives at its address."""
    remote_token: bytes | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        flags = (
            (1 if self.connected else 0)
            | (2 if self.punching else 0)
            | (4 if self.addresses is not None else 0)
            | (8 if self.remote_address else 0)
            | (16 if self.token else 0)
            | (32 if self.remote_token else 0)
        )
        w = Writer().uint(flags).uint(self.error).uint(self.firewall).uint(self.round)
        if self.addresses is not None:
            write_addresses(w, self.addresses)
        if self.remote_address:
            write_address(w, self.remote_address)
        if self.token:
            w.fixed32(self.token)
        if self.remote_token:
            w.fixed32(self.remote_token)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> HolepunchPayload:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        flags = r.uint()
        return cls(
            connected=bool(flags & 1),
            punching=bool(flags & 2),
            error=r.uint(),
            firewall=r.uint(),
            round=r.uint(),
            addresses=read_addresses(r) if flags & 4 else None,
            remote_address=read_address(r) if flags & 8 else None,
            token=r.fixed32() if flags & 16 else None,
            remote_token=r.fixed32() if flags & 32 else None,
        )


class SecurePayload:
    """Seals and opens hole-punch payloads of one handshake: nonce (24), then a secretbox."""

    __slots__ = ("_local_secret", "_random_bytes", "_secret")

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """`secret` is shared by both ends (see `noise.holepunch_secret`)."""
        self._secret = secret
        self._random_bytes = random_bytes
        self._local_secret = random_bytes(32)

    def seal(self, payload: HolepunchPayload) -> bytes:
        """Encrypt a payload with a new nonce, which comes first."""
        nonce = self._random_bytes(NONCE_BYTES)
        return nonce + crypto_secretbox(payload.encode(), nonce, self._secret)

    def open(self, sealed: bytes) -> HolepunchPayload:
        """Decrypt a payload. Raises FrameDecodeError if the other end did not seal it."""
        try:
            plain = crypto_secretbox_open(sealed[NONCE_BYTES:], sealed[:NONCE_BYTES], self._secret)
        except (CryptoError, ValueError):
            raise FrameDecodeError("a hole-punch payload does not open") from None
        return HolepunchPayload.decode(plain)

    def token(self, host: str) -> bytes:
        """The token that a peer at `host` must send back."""
        return blake2b_256(host.encode(), key=self._local_secret)
