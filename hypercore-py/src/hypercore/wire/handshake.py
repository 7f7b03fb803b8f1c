"""What a `hypercore/alpha` channel is opened with.

Format: hypercore lib/messages.js, `handshake`; lib/caps.js. Flag bits: 1 seeks (requests may carry a seek
with padding; always set since 10.29).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codec import Reader, Writer
from ..crypto import blake2b_256, namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHandshake:
    """See the module."""

    capability: bytes
    """32 bytes that prove knowledge of the core key on this very connection."""
    seeks: bool = True

    def encode(self, w: Writer) -> None:
        w.uint(1 if self.seeks else 0).fixed32(self.capability)

    @classmethod
    def decode(cls, r: Reader) -> ChannelHandshake:
        return cls(seeks=bool(r.uint() & 1), capability=r.fixed32())


def capability(core_key: bytes, handshake_hash: bytes, *, sender_is_initiator: bool) -> bytes:
    """The capability that the Noise initiator (or responder) sends for `core_key`.

    `handshake_hash` is the 64-byte Noise hash of the connection.
    """
    role = namespace("hypercore", 1 if sender_is_initiator else 2)
    return blake2b_256(role, core_key, key=handshake_hash)
