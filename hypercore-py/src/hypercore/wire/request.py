"""`request`: what a downloader asks for, in up to four parts.

Format: hypercore lib/messages.js, `wire.request`. Flag bits: 1 block, 2 hash, 4 seek, 8 upgrade, 16 manifest
(no field), 32 priority.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..codec import Reader, Writer


class RequestBlock(NamedTuple):
    """Block `index`, with the `nodes` siblings that lead to the first node we hold."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    nodes: int


class RequestHash(NamedTuple):
    """Tree node `index` (flat-tree), with `nodes` siblings."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    nodes: int


class RequestSeek(NamedTuple):
    """The block that holds byte `bytes`; `padding` bytes of each block do not count."""

    bytes: int
    padding: int


class RequestUpgrade(NamedTuple):
    """The tree from `start` blocks on, `length` blocks more."""

    start: int
    length: int


@dataclass(slots=True, kw_only=True)
class Request:
    """See the module. Parts that are None are not requested; an answer must have all others.

    Do not change it after it was made. It is not frozen because there is one for every block, and making a
    frozen one takes four times as long.
    """

    type_id: ClassVar[int] = 1

    id: int
    """1 and up, chosen by the requester, free again after the answer. 0 probes for a conflict."""
    fork: int
    block: RequestBlock | None = None
    hash: RequestHash | None = None
    seek: RequestSeek | None = None
    upgrade: RequestUpgrade | None = None
    manifest: bool = False
    priority: int = 0
    """0 normal, 1 high, 2 very high."""

    @property
    def block_only(self) -> RequestBlock | None:
        """The block, if nothing else is asked for."""
        return None if self.hash or self.seek or self.upgrade or self.manifest else self.block

    def encode(self, w: Writer) -> None:
        """Write the fields."""
        flags = (
            (1 if self.block else 0)
            | (2 if self.hash else 0)
            | (4 if self.seek else 0)
            | (8 if self.upgrade else 0)
            | (16 if self.manifest else 0)
            | (32 if self.priority else 0)
        )
        w.uint(flags).uint(self.id).uint(self.fork)
        for part in (self.block, self.hash, self.seek, self.upgrade):
            if part is not None:
                w.uint(part[0]).uint(part[1])
        if self.priority:
            w.uint(self.priority)

    @classmethod
    def decode(cls, r: Reader) -> Request:
        """Read the fields. Raises FrameDecodeError."""
        flags = r.uint()
        return cls(
            id=r.uint(),
            fork=r.uint(),
            block=RequestBlock(r.uint(), r.uint()) if flags & 1 else None,
            hash=RequestHash(r.uint(), r.uint()) if flags & 2 else None,
            # Peers older than 10.29 leave out the padding, and the `seeks` flag in their handshake
            seek=RequestSeek(r.uint(), r.uint()) if flags & 4 else None,
            upgrade=RequestUpgrade(r.uint(), r.uint()) if flags & 8 else None,
            manifest=bool(flags & 16),
            priority=r.uint() if flags & 32 else 0,
        )
