"""Types that the messages share, and their decoder."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from .rejection import MessageRejected, RejectReason

MAX_COUNT = 2**53 - 1
"""Largest integer that survives every JSON parser."""

Key = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""Key of a core, bee or drive: 64 hex digits."""
NodeId = Annotated[str, Meta(pattern="^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$")]
"""A worker or the control plane: its public key as 52 z-base-32 characters."""
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]
"""Unix time."""
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Text = Annotated[str, Meta(max_length=500)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Kind = Literal["core", "bee", "drive"]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=50)]], Meta(max_length=50)]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of all messages. Unknown fields are ignored, so that newer senders may add some."""


S = TypeVar("S", bound=Message)


def decode(data: object, shape: type[S]) -> S:
    """Decode parsed JSON as a `shape`. Raises MessageRejected (MALFORMED), which names the wrong field."""
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        raise MessageRejected(RejectReason.MALFORMED, str(error)) from None


def storable(text: str) -> str:
    """Return `text` as a database can store it: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def to_builtins(message: Message) -> dict[str, object]:
    """Return a message as JSON-safe builtins."""
    built: dict[str, object] = msgspec.to_builtins(message)
    return built
