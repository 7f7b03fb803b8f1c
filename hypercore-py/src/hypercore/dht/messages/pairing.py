"""Messages to a blind relay, over a protomux channel named `blind-relay`.

Format: holepunchto/blind-relay lib/messages (1.6.1). The flags are one plain byte, not a `uint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...codec import Reader, Writer

PROTOCOL = "blind-relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Pair the sender with the other holder of `token`. The relay answers with its own stream as `id`."""

    type_id: ClassVar[int] = 0

    is_initiator: bool
    token: bytes
    id: int
    """UDX stream id to which the receiver of this message sends."""
    seq: int = 0

    def encode(self, w: Writer) -> None:
        """Write the fields."""
        w.uint8(1 if self.is_initiator else 0).fixed32(self.token).uint(self.id).uint(self.seq)

    @classmethod
    def decode(cls, r: Reader) -> Pair:
        """Read the fields. Raises FrameDecodeError."""
        flags = r.uint8()
        return cls(is_initiator=bool(flags & 1), token=r.fixed32(), id=r.uint(), seq=r.uint())


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpair:
    """Undo the pairing of `token`."""

    type_id: ClassVar[int] = 1

    token: bytes

    def encode(self, w: Writer) -> None:
        """Write the fields."""
        w.uint8(0).fixed32(self.token)

    @classmethod
    def decode(cls, r: Reader) -> Unpair:
        """Read the fields. Raises FrameDecodeError."""
        r.uint8()
        return cls(token=r.fixed32())
