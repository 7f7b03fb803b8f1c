"""Detects whether a key names a core, a bee or a drive, from the first blocks."""

from __future__ import annotations

from typing import Literal

from ..blocks import BlockSource
from ..errors import InvalidContent
from .messages import PROTOCOL, BeeBlock, Header

Kind = Literal["core", "bee", "drive"]

DRIVE_KEYS = b"files\0"
"""Prefix of every key in the db of a drive (hyperdrive index.js, SubEncoder `files`)."""


def is_bee(block0: bytes) -> bool:
    """Whether block 0 is the header of a bee (drives are bees too)."""
    try:
        return Header.decode(block0).protocol == PROTOCOL
    except InvalidContent:
        return False


def detect_kind(block0: bytes, block1: bytes | None = None) -> Kind:
    """The kind of a core. With block 0 alone, a bee with its own metadata may count as a drive."""
    try:
        header = Header.decode(block0)
    except InvalidContent:
        return "core"
    if header.protocol != PROTOCOL:
        return "core"
    # A drive always has a metadata message, even an empty one; a bee has one only if its author set it
    if not header.has_metadata:
        return "bee"
    if block1 is not None:
        try:
            return "drive" if BeeBlock.decode(1, block1).key.startswith(DRIVE_KEYS) else "bee"
        except InvalidContent:
            return "bee"
    return "drive" if header.user_data is None else "bee"


async def kind_of(source: BlockSource) -> Kind:
    """The kind of a source's core, from its first blocks. The length must not be 0."""
    block0 = await source.get(0)
    if source.length < 2 or not is_bee(block0):
        return detect_kind(block0)
    return detect_kind(block0, await source.get(1))
