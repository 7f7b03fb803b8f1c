"""Message ids of a replication channel, in the order in which the official peer registers them."""

from __future__ import annotations

from .control import BitfieldMessage, Cancel, Extension, NoData, Range, Sync, Unwant, Want
from .data import Data
from .request import Request

Message = Sync | Request | Cancel | Data | NoData | Want | Unwant | BitfieldMessage | Range | Extension

MESSAGES: tuple[type[Message], ...] = (
    Sync,
    Request,
    Cancel,
    Data,
    NoData,
    Want,
    Unwant,
    BitfieldMessage,
    Range,
    Extension,
)
"""Index is the type id on the wire."""
