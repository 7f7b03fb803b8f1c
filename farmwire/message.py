"""Types that the messages share, and their decoder."""

from __future__ import annotations

import threading
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from .rejection import MessageRejected, RejectReason

MAX_COUNT = 2**53 - 1
"""Largest integer that survives every JSON parser."""

Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""Key of a core, bee or drive: 64 hex digits."""
NodeId = Annotated[str, Meta(pattern=r"^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}\Z")]
"""A worker or the control plane: its public key as 52 z-base-32 characters."""
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]
"""Unix time."""
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Text = Annotated[str, Meta(max_length=500)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Kind = Literal["core", "bee", "drive"]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=50)]], Meta(max_length=50)]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of all messages. Unknown fields are ignored, so that newer senders may add some."""


S = TypeVar("S", bound=Message)

_known: Final[set[type[Message]]] = set()
_learning: Final = threading.Lock()


def decode(data: object, shape: type[S]) -> S:
    """Decode parsed JSON as a `shape`. Raises MessageRejected (MALFORMED), which names the wrong field. Any
    thread."""
    if shape not in _known:
        _learn(shape)
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        raise MessageRejected(RejectReason.MALFORMED, str(error)) from None


def _learn(shape: type[Message]) -> None:
    """Have msgspec look up the fields of a shape, and of those in it, in one thread.

    It does so at the first use, and a second thread that uses the shape meanwhile ends the process: msgspec
    0.22 follows the null pointer of a field that is not looked up yet."""
    with _learning:
        if shape not in _known:
            msgspec.json.Decoder(shape)
            _known.add(shape)


def storable(text: str) -> str:
    """Return `text` as a database can store it: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_builtins(message: Message) -> dict[str, object]:
    """Return a message as JSON-safe builtins."""
    built: dict[str, object] = msgspec.to_builtins(message)
    return built
