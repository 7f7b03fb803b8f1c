"""What a fuzz target is: code that takes any bytes, and the errors that are its answer to bad ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hypercore.errors import RemoteProtocolError

NOTHING: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`run` may raise `allowed`, and nothing else, whatever it is given."""

    name: str
    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = (RemoteProtocolError,)
    seeds: Callable[[], Iterable[bytes]] = lambda: NOTHING
    """Inputs that make sense, to be bent."""

    def try_one(self, data: bytes) -> None:
        """Raises what is a bug."""
        with contextlib.suppress(self.allowed):
            self.run(data)


def chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A script out of bytes: pieces behind two bytes each, four bits of what to do and twelve of length."""
    at = 0
    while at + 2 <= len(data):
        head = int.from_bytes(data[at : at + 2], "big")
        size = head & 0x0FFF
        yield head >> 12, data[at + 2 : at + 2 + size]
        at += 2 + size


def script(*pieces: tuple[int, bytes]) -> bytes:
    """The bytes of which `chunks` makes these pieces."""
    return b"".join(
        (op << 12 | min(len(piece), 0x0FFF)).to_bytes(2, "big") + piece[:0x0FFF] for op, piece in pieces
    )
