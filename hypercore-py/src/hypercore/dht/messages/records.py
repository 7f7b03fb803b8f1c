"""Records of storing nodes. Format: hyperdht lib/messages.js, `peer` to `pluginRequest`."""

from __future__ import annotations

from dataclasses import dataclass

from ...codec import Reader, Writer
from ..address import Address, read_addresses, write_addresses

MAX_PEERS_PER_REPLY = 64
"""Records used from one LOOKUP reply; official nodes send at most 21 (persistent.js)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord:
    """A peer that can be reached by key, and the nodes that relay to it (storing nodes keep three)."""

    public_key: bytes
    relay_addresses: tuple[Address, ...] = ()

    def write(self, w: Writer) -> Writer:
        """Write the record."""
        return write_addresses(w.fixed32(self.public_key), self.relay_addresses)

    @classmethod
    def read(cls, r: Reader) -> PeerRecord:
        """Read a record. Raises FrameDecodeError."""
        return cls(public_key=r.fixed32(), relay_addresses=read_addresses(r))

    def encode(self) -> bytes:
        """Return the encoded message."""
        return bytes(self.write(Writer()))

    @classmethod
    def decode(cls, value: bytes) -> PeerRecord:
        """Decode a whole message. Raises FrameDecodeError."""
        return cls.read(Reader(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupReply:
    """The records of a topic at a storing node."""

    peers: tuple[PeerRecord, ...]
    bump: int = 0
    """Unix milliseconds of the last announcement that asked for attention; older nodes leave it out."""

    def encode(self) -> bytes:
        """Return the encoded message."""
        return bytes(Writer().array(self.peers, lambda w, peer: peer.write(w)).uint(self.bump))

    @classmethod
    def decode(cls, value: bytes) -> LookupReply:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        peers = r.array(PeerRecord.read, limit=MAX_PEERS_PER_REPLY)
        return cls(peers=tuple(peers), bump=r.uint() if r.remaining else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """The value of ANNOUNCE and UNANNOUNCE. Flag bits: 1 peer, 2 refresh, 4 signature, 8 bump."""

    peer: PeerRecord | None = None
    refresh: bytes | None = None
    signature: bytes | None = None
    bump: int = 0

    def encode(self) -> bytes:
        """Return the encoded message."""
        flags = (
            (1 if self.peer else 0)
            | (2 if self.refresh else 0)
            | (4 if self.signature else 0)
            | (8 if self.bump else 0)
        )
        w = Writer().uint(flags)
        if self.peer:
            self.peer.write(w)
        if self.refresh:
            w.fixed32(self.refresh)
        if self.signature:
            w.fixed64(self.signature)
        if self.bump:
            w.uint(self.bump)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> Announce:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        flags = r.uint()
        return cls(
            peer=PeerRecord.read(r) if flags & 1 else None,
            refresh=r.fixed32() if flags & 2 else None,
            signature=r.fixed64() if flags & 4 else None,
            bump=r.uint() if flags & 8 else 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MutableRecord:
    """The reply to MUTABLE_GET."""

    seq: int
    value: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Return the encoded message."""
        return bytes(Writer().uint(self.seq).buffer(self.value).fixed64(self.signature))

    @classmethod
    def decode(cls, value: bytes) -> MutableRecord:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        return cls(seq=r.uint(), value=r.buffer(), signature=r.fixed64())


@dataclass(frozen=True, slots=True, kw_only=True)
class MutablePut:
    """The value of MUTABLE_PUT."""

    public_key: bytes
    seq: int
    value: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Return the encoded message."""
        w = Writer().fixed32(self.public_key).uint(self.seq).buffer(self.value)
        return bytes(w.fixed64(self.signature))

    @classmethod
    def decode(cls, value: bytes) -> MutablePut:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        return cls(public_key=r.fixed32(), seq=r.uint(), value=r.buffer(), signature=r.fixed64())


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRequest:
    """The value of PLUGIN. Flag bit: 1 value."""

    plugin: str
    version: int
    command: int
    value: bytes | None = None

    def encode(self) -> bytes:
        """Return the encoded message."""
        w = Writer().string(self.plugin).uint(self.version).uint(self.command)
        w.uint(1 if self.value is not None else 0)
        if self.value is not None:
            w.buffer(self.value)
        return bytes(w)

    @classmethod
    def decode(cls, value: bytes) -> PluginRequest:
        """Decode a whole message. Raises FrameDecodeError."""
        r = Reader(value)
        plugin, version, command, flags = r.string(), r.uint(), r.uint(), r.uint()
        return cls(plugin=plugin, version=version, command=command, value=r.buffer() if flags & 1 else None)
