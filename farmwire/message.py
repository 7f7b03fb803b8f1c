"""Types that the messages share, and the one way in from JSON."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from .rejection import MessageRejected, Reason

MAX_COUNT = 2**53 - 1
"""Largest number that survives every JSON parser."""

Key = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""A core, bee or drive: 64 hex digits."""
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


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of all messages. Fields that are not known are ignored: a newer peer may have more to say."""


S = TypeVar("S", bound=Shape)


def read(data: object, shape: type[S]) -> S:
    """`data`, parsed JSON, as a `shape`. Raises Refused(MALFORMED) that says which field is wrong."""
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        raise MessageRejected(Reason.MALFORMED, str(error)) from None


def storable(text: str) -> str:
    """`text` as a database can keep it: without NUL, and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain(message: Shape) -> dict[str, object]:
    """A message as JSON-safe builtins."""
    built: dict[str, object] = msgspec.to_builtins(message)
    return built
