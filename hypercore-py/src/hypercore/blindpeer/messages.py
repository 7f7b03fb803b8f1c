"""The messages of a `blind-peer` channel.

Format: blind-peer-muxer, hyperschema `@blind-peer/*` (1.2.0; types 1 to 6 and the hello since 1.3 to 1.6). A
field that is 0, false or missing clears its flag and takes no bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from ..codec import Reader, Writer

MAX_CORES_PER_MESSAGE = 512
"""Cores in one message; a longer one is refused whole. Clients send twelve at most (blind-peering 2.10); all
of a message are recorded in one turn of the event loop. Ours."""

MAX_NAME_BYTES = 256
"""Bytes of each text in a hello. Ours."""

MAX_ROOM_BYTES = 64
"""Bytes of the discovery key in a notification. Ours."""

MAX_EXTRA_BYTES = 4096
"""Bytes that an app may add to a notification. Ours."""


class ErrorCode(IntEnum):
    """Why a request failed (blind-peer-muxer 1.6)."""

    REQUEST_NOT_HANDLED = 2
    DECODE_ERROR = 3
    RATE_LIMITED = 4
    UNKNOWN_CORE = 5
    REQUEST_TIMEOUT = 6
    TOO_MANY_RETRIES = 7


class CoreRef(NamedTuple):
    """A core and its length at the sender."""

    key: bytes
    length: int


class AddedCore(NamedTuple):
    """The answer about one core of a request."""

    key: bytes
    length: int
    """Length at the blind peer before the request."""
    activated: bool
    """Whether it replicates the core now."""


def write_ref(w: Writer, core: CoreRef) -> None:
    w.fixed32(core.key).uint(core.length)


def read_ref(r: Reader) -> CoreRef:
    return CoreRef(r.fixed32(), r.uint())


def read_refs(r: Reader, limit: int) -> tuple[CoreRef, ...]:
    """An array of cores, each of 33 bytes at least, so that a false count allocates nothing."""
    return tuple(r.array(read_ref, limit=limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Keep these cores. Flag bits: 1 referrer, 2 priority, 4 announce."""

    type_id: ClassVar[int] = 0

    cores: tuple[CoreRef, ...]
    referrer: bytes | None = None
    """Key of the group that the cores belong to: peers that know it get hints (see `wakeup`)."""
    priority: int = 0
    announce: bool = False

    def encode(self, w: Writer) -> None:
        """Write it."""
        w.uint((self.referrer is not None) | bool(self.priority) << 1 | self.announce << 2)
        if self.referrer is not None:
            w.fixed32(self.referrer)
        if self.priority:
            w.uint(self.priority)
        w.array(self.cores, write_ref)

    @classmethod
    def decode(cls, r: Reader) -> Cores:
        """Read it. Raises FrameDecodeError."""
        flags = r.uint()
        return cls(
            referrer=r.fixed32() if flags & 1 else None,
            priority=r.uint() if flags & 2 else 0,
            announce=bool(flags & 4),
            cores=read_refs(r, MAX_CORES_PER_MESSAGE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Push a block to the members of a room (blind-push 0.2; the last two fields since 1.0).

    Flag bits: 1 app id, 2 extra.
    """

    type_id: ClassVar[int] = 1

    core: bytes
    index: int
    room: bytes
    """Key of the room."""
    room_discovery_key: bytes
    app_id: str | None = None
    extra: bytes | None = None

    def encode(self, w: Writer) -> None:
        """Write it."""
        w.buffer(bytes(Writer().fixed32(self.core).uint(self.index)))
        w.buffer(bytes(Writer().fixed32(self.room).buffer(self.room_discovery_key)))
        w.uint(bool(self.app_id) | bool(self.extra) << 1)
        if self.app_id:
            w.string(self.app_id)
        if self.extra:
            w.buffer(self.extra)

    @classmethod
    def decode(cls, r: Reader) -> Notification:
        """Read it. Raises FrameDecodeError."""
        block, target = Reader(r.buffer()), Reader(r.buffer())
        flags = r.uint() if r.remaining else 0
        return cls(
            core=block.fixed32(),
            index=block.uint(),
            room=target.fixed32(),
            room_discovery_key=short_buffer(target, MAX_ROOM_BYTES),
            app_id=(short_buffer(r, MAX_NAME_BYTES).decode("utf-8", "replace") or None)
            if flags & 1
            else None,
            extra=(short_buffer(r, MAX_EXTRA_BYTES) or None) if flags & 2 else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The handshake of a channel (muxer 1.5): what software speaks. For logs; older ends send nothing.

    Flag bits: 1, 2, 4 for the texts in order.
    """

    version: str = ""
    """Version of blind-peering."""
    client: str = ""
    client_version: str = ""

    def encode(self, w: Writer) -> None:
        """Write it."""
        texts = (self.version, self.client, self.client_version)
        w.uint(sum(1 << i for i, text in enumerate(texts) if text))
        for text in texts:
            if text:
                w.string(text)

    @classmethod
    def decode(cls, r: Reader) -> Hello:
        """Read it; without any bytes it is empty. Raises FrameDecodeError."""
        flags = r.uint() if r.remaining else 0
        texts = (short_buffer(r, MAX_NAME_BYTES) if flags & bit else b"" for bit in (1, 2, 4))
        return cls(
            **dict(zip(cls.__slots__, (text.decode("utf-8", "replace") for text in texts), strict=True))
        )


def write_added(w: Writer, cores: Sequence[AddedCore]) -> None:
    """The answer to a request. Format: hyperschema 1.26 puts the length of the array before it."""
    body = Writer().array(cores, lambda w, core: w.fixed32(core.key).uint(core.length).bool_(core.activated))
    w.uint(1).buffer(body.data)


def read_added(r: Reader) -> tuple[AddedCore, ...]:
    """The reverse of `write_added`. Raises FrameDecodeError."""
    r.uint()  # the version of the type
    body = Reader(r.buffer())
    return tuple(
        body.array(lambda r: AddedCore(r.fixed32(), r.uint(), r.bool_()), limit=MAX_CORES_PER_MESSAGE)
    )


def write_error(w: Writer, code: int) -> None:
    """Version of the type, then the code."""
    w.uint(0).uint(code)


def read_error(r: Reader) -> int:
    """The code of an error. Raises FrameDecodeError."""
    r.uint()
    return r.uint()


def short_buffer(r: Reader, limit: int) -> bytes:
    """A buffer of at most `limit` bytes; the rest of a longer one is skipped."""
    return r.buffer()[:limit]
