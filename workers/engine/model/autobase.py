"""Recognises the core of one writer of an autobase (an app with several writers) by its first block.

Format: autobase encoding/spec/autobase/index.js, `oplog-message-v2` (7.28.1). The first message of a writer
always has a digest, which names the indexers of the base. Older versions and encrypted bases are not
recognised.
"""

from __future__ import annotations

from hypercore.codec import Reader
from hypercore.errors import FrameDecodeError

VERSION = 2
MAX_HEADS = 1 << 12
"""Writers that one message references. Ours: a longer message is no such block."""

_CHECKPOINT, _DIGEST, _OPTIMISTIC, _TRACE = 1, 2, 4, 8
_POINTER, _KEY = 1, 2
_DIGEST_BYTES = 1 + 32


def is_writer(block0: bytes) -> bool:
    """Whether this is the first block of a writer of an autobase."""
    reader = Reader(block0)
    try:
        if reader.uint() != VERSION:
            return False
        reader.array(_read_head, limit=MAX_HEADS)
        reader.uint()  # place in its batch
        reader.optional_buffer()
        flags = reader.uint()
        if not flags & _DIGEST or flags & ~(_CHECKPOINT | _DIGEST | _OPTIMISTIC | _TRACE):
            return False
        if flags & _CHECKPOINT:
            reader.buffer()
        digest = reader.buffer()
        if flags & _TRACE:
            reader.buffer()
    except FrameDecodeError:
        return False
    return reader.remaining == 0 and len(digest) == _DIGEST_BYTES and digest[0] == _KEY


def _read_head(reader: Reader) -> None:
    reader.fixed32()
    reader.uint()
