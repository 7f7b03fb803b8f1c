"""How long the blobs core of a drive must be for what its db refers to.

The two cores of a drive arrive on channels of their own. Without this, a drive whose newest names are here
and whose newest contents were not even heard of would be taken for whole.
"""

from __future__ import annotations

from hypercore.bee.kind import DRIVE_KEYS
from hypercore.bee.messages import BeeBlock
from hypercore.core import Core
from hypercore.drive.entries import decode_entry
from hypercore.errors import InvalidContent

SCAN_BLOCKS = 256
"""Newest blocks of the db that are looked at. Contents are appended as names are, so the newest names refer
to the newest contents; a copied entry may refer to older ones."""

MAX_ENTRY_BYTES = 64 << 10
"""A larger block of the db is not looked at: an entry has a few hundred bytes, and who writes such a one may
want to keep the engine busy. Our own choice."""

TURN_BYTES = 64 << 10
"""Bytes of blocks that are decoded in one call (about two milliseconds)."""


class RequiredBlobs:
    """Follows the db of one drive."""

    __slots__ = ("_end", "_fork", "_length", "_needed")

    def __init__(self) -> None:
        self._fork = -1
        self._length = 0
        """Blocks that were looked at, or passed over."""
        self._end = 0
        """Length of the db at the last call."""
        self._needed: int | None = 0

    @property
    def finished(self) -> bool:
        """Whether the last call has looked at all there was."""
        return self._length >= self._end

    def trust(self, db: Core, needed: int | None) -> None:
        """Take it as known for the db as it is now."""
        self._fork, self._length, self._end, self._needed = db.fork, db.length, db.length, needed

    def update(self, db: Core) -> int | None:
        """Least length of the blobs core, for a db that is all here; None when the db cannot be read
        (encrypted).

        Reads the blocks that came since the call before, SCAN_BLOCKS of them at most, and TURN_BYTES in one
        call: call it again until it is `finished`.
        """
        if db.fork != self._fork or db.length < self._length:
            self._fork, self._length, self._needed = db.fork, 0, 0
        self._end = db.length
        if self._needed is None:
            self._length = db.length
        index, left = max(1, self._length, db.length - SCAN_BLOCKS), TURN_BYTES
        while index < db.length and left > 0 and self._needed is not None:
            size = db.byte_range(index)[1] if db.has(index) else 0
            left -= size + 1
            end = _blob_end(db, index) if 0 < size <= MAX_ENTRY_BYTES else 0
            self._needed = None if end is None else max(self._needed, end)
            index += 1
        self._length = min(index, db.length)
        return self._needed


def _blob_end(db: Core, index: int) -> int | None:
    """Where the content that a block of the db refers to ends, in blocks of the blobs core.

    0 if it refers to none; None if it is no block of a bee.
    """
    block = db.get(index)
    if block is None:
        return 0
    try:
        item = BeeBlock.decode(index, block)
    except InvalidContent:
        return None
    if item.value is None or not item.key.startswith(DRIVE_KEYS):
        return 0
    try:
        blob = decode_entry("", index, item.value).blob
    except InvalidContent:
        return 0  # one entry that its writer broke
    return 0 if blob is None else blob.block_offset + blob.block_length
