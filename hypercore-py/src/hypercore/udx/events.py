"""Events of a stream."""

from __future__ import annotations

from typing import NamedTuple

from .._types import Buffer
from ..errors import ConnectionClosed


class Data(NamedTuple):
    """The next bytes of the stream, in order."""

    chunks: list[Buffer]


class Message(NamedTuple):
    """An unordered, unreliable message, which may be empty."""

    payload: bytes


class Ended(NamedTuple):
    """The peer will send no more data."""


class Drained(NamedTuple):
    """A writer that had to wait may continue."""


class RemoteChanged(NamedTuple):
    """All packets sent before `change_remote` have arrived."""


class Closed(NamedTuple):
    """The stream has closed: both sides ended (no error), or with an error."""

    error: ConnectionClosed | None


Event = Data | Message | Ended | Drained | RemoteChanged | Closed
