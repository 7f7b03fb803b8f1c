"""The messages around request and data: announcements and subscriptions.

Format: hypercore lib/messages.js, `wire.*`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..codec import Reader, Writer

REASON_NOT_AVAILABLE = 1
REASON_INVALID_REQUEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """My head, and what I believe yours to be.

    Flag bits: 1 canUpgrade, 2 uploading, 4 downloading, 8 hasManifest, 16 allowPush.
    """

    type_id: ClassVar[int] = 0

    fork: int
    length: int
    remote_length: int
    """The length the sender believes the receiver to have; 0 if their forks differ. Acknowledges a sync."""
    can_upgrade: bool = False
    uploading: bool = True
    downloading: bool = True
    has_manifest: bool = False
    allow_push: bool = False

    def encode(self, w: Writer) -> None:
        flags = (
            (1 if self.can_upgrade else 0)
            | (2 if self.uploading else 0)
            | (4 if self.downloading else 0)
            | (8 if self.has_manifest else 0)
            | (16 if self.allow_push else 0)
        )
        w.uint(flags).uint(self.fork).uint(self.length).uint(self.remote_length)

    @classmethod
    def decode(cls, r: Reader) -> Sync:
        flags = r.uint()
        return cls(
            can_upgrade=bool(flags & 1),
            uploading=bool(flags & 2),
            downloading=bool(flags & 4),
            has_manifest=bool(flags & 8),
            allow_push=bool(flags & 16),
            fork=r.uint(),
            length=r.uint(),
            remote_length=r.uint(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Forget my request; no answer is expected."""

    type_id: ClassVar[int] = 2

    request: int

    def encode(self, w: Writer) -> None:
        w.uint(self.request)

    @classmethod
    def decode(cls, r: Reader) -> Cancel:
        return cls(request=r.uint())


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """I will not answer that request. Peers before 11.13 send no reason."""

    type_id: ClassVar[int] = 4

    request: int
    reason: int = 0

    def encode(self, w: Writer) -> None:
        w.uint(self.request).uint(1 if self.reason else 0)
        if self.reason:
            w.uint(self.reason)

    @classmethod
    def decode(cls, r: Reader) -> NoData:
        request = r.uint()
        flags = r.uint() if r.remaining else 0
        return cls(request=request, reason=r.uint() if flags & 1 else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Request to announce which blocks of a range the sender of the answer has, now and later. With `any_`,
    one block of it is enough."""

    type_id: ClassVar[int] = 5

    start: int
    length: int
    any_: bool = False

    def encode(self, w: Writer) -> None:
        w.uint(self.start).uint(self.length)
        if self.any_:
            w.uint(1)

    @classmethod
    def decode(cls, r: Reader) -> Want:
        return cls(start=r.uint(), length=r.uint(), any_=bool(r.uint() & 1) if r.remaining else False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwant(Want):
    """The reverse of a want."""

    type_id: ClassVar[int] = 6

    @classmethod
    def decode(cls, r: Reader) -> Unwant:
        return cls(start=r.uint(), length=r.uint(), any_=bool(r.uint() & 1) if r.remaining else False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitfieldMessage:
    """Which blocks I have from bit `start` (a multiple of 32) on; bit k is words[k // 32] >> (k % 32) & 1."""

    type_id: ClassVar[int] = 7

    start: int
    words: bytes
    """Raw little-endian u32 words: bit k is byte k // 8 >> (k % 8) & 1."""

    def encode(self, w: Writer) -> None:
        w.uint(self.start).uint32_array(self.words)

    @classmethod
    def decode(cls, r: Reader) -> BitfieldMessage:
        return cls(start=r.uint(), words=r.uint32_array())


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """I have (or, with `drop`, no longer have) these blocks.

    Flag bits: 1 drop, 2 length is 1 (so it is not sent).
    """

    type_id: ClassVar[int] = 8

    start: int
    length: int = 1
    drop: bool = False

    def encode(self, w: Writer) -> None:
        w.uint((1 if self.drop else 0) | (2 if self.length == 1 else 0)).uint(self.start)
        if self.length != 1:
            w.uint(self.length)

    @classmethod
    def decode(cls, r: Reader) -> Range:
        flags = r.uint()
        return cls(drop=bool(flags & 1), start=r.uint(), length=1 if flags & 2 else r.uint())


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A named message of the application. An empty name repeats the sender's previous one."""

    type_id: ClassVar[int] = 9

    name: str
    message: bytes

    def encode(self, w: Writer) -> None:
        w.string(self.name).raw(self.message)

    @classmethod
    def decode(cls, r: Reader) -> Extension:
        return cls(name=r.string(), message=r.rest())
