"""What `protomux-rpc` methods of a blind peer take and return.

Format: blind-peer-encodings 3.3.0.

    add-core       AddCoreRequest      CoreRecord
    delete-core    key (32 bytes)      1 if it was there, else 0
    query-top-k    nothing             TopK; on the channel with ADMIN_ID
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codec import Reader, Writer

ADMIN_ID = b"blind-peer-admin-rpc"
"""Id of the channel of operators. Other calls use the server's public key as the id."""

MAX_COUNTS = 1024
"""Entries of each list of a `TopK` that are read. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCoreRequest:
    """Keep this core. Flag bits: 1 referrer, 2 and 4 two retired keys (skipped), 8 priority, 16 announce."""

    key: bytes
    referrer: bytes | None = None
    priority: int = 0
    announce: bool = False

    def encode(self, w: Writer) -> None:
        """Write it."""
        w.uint((self.referrer is not None) | bool(self.priority) << 3 | self.announce << 4).fixed32(self.key)
        if self.referrer is not None:
            w.fixed32(self.referrer)
        if self.priority:
            w.uint(self.priority)

    @classmethod
    def decode(cls, r: Reader) -> AddCoreRequest:
        """Read it. Raises FrameDecodeError."""
        flags, key = r.uint(), r.fixed32()
        referrer = r.fixed32() if flags & 1 else None
        for retired in (2, 4):
            if flags & retired:
                r.fixed32()
        priority = r.uint() if flags & 8 else 0
        return cls(key=key, referrer=referrer, priority=priority, announce=bool(flags & 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRecord:
    """What a blind peer knows of a core. Flag bits: 1 announce, 2 referrer, 4 and 8 the cleared amounts."""

    key: bytes
    length: int = 0
    bytes_allocated: int = 0
    """Bytes of its blocks without the cleared ones."""
    updated: int = 0
    """Milliseconds of the Unix clock: when the length changed last."""
    active: int = 0
    """Milliseconds of the Unix clock: when it was read or written last."""
    priority: int = 0
    announce: bool = False
    referrer: bytes | None = None
    blocks_cleared: int = 0
    bytes_cleared: int = 0

    def encode(self, w: Writer) -> None:
        """Write it."""
        w.fixed32(self.key).uint(self.length).uint(self.bytes_allocated)
        w.uint(self.updated).uint(self.active).uint(self.priority)
        has = (self.announce, self.referrer is not None, bool(self.blocks_cleared), bool(self.bytes_cleared))
        w.uint(sum(1 << i for i, each in enumerate(has) if each))
        if self.referrer is not None:
            w.fixed32(self.referrer)
        for amount in (self.blocks_cleared, self.bytes_cleared):
            if amount:
                w.uint(amount)

    @classmethod
    def decode(cls, r: Reader) -> CoreRecord:
        """Read it. Raises FrameDecodeError."""
        key, length, size, updated, active, priority = r.fixed32(), *(r.uint() for _ in range(5))
        flags = r.uint()
        return cls(
            key=key,
            length=length,
            bytes_allocated=size,
            updated=updated,
            active=active,
            priority=priority,
            announce=bool(flags & 1),
            referrer=r.fixed32() if flags & 2 else None,
            blocks_cleared=r.uint() if flags & 4 else 0,
            bytes_cleared=r.uint() if flags & 8 else 0,
        )


Counts = tuple[tuple[str, int], ...]
"""Names with their numbers of requests, the largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """Which addresses, referrers and peers have asked most."""

    addresses: Counts = ()
    referrers: Counts = ()
    peers: Counts = ()

    def encode(self, w: Writer) -> None:
        """Write it."""
        w.uint(1)
        for counts in (self.addresses, self.referrers, self.peers):
            w.array(counts, lambda w, each: w.buffer(bytes(Writer().string(each[0]).uint(each[1]))))

    @classmethod
    def decode(cls, r: Reader) -> TopK:
        """Read it. Raises FrameDecodeError."""
        r.uint()  # the version of the type
        lists = [tuple(r.array(_read_count, limit=MAX_COUNTS)) for _ in range(3)]
        return cls(addresses=lists[0], referrers=lists[1], peers=lists[2])


def _read_count(r: Reader) -> tuple[str, int]:
    entry = Reader(r.buffer())
    return entry.string(), entry.uint()
