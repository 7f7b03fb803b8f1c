"""The length that the blobs core of a drive must have for its db.

The two cores of a drive arrive on separate channels. Without this, a drive whose newest names are stored and
whose newest contents were not yet announced would count as complete.
"""

from __future__ import annotations

from hypercore.bee.kind import DRIVE_KEYS
from hypercore.bee.messages import BeeBlock
from hypercore.core import Core
from hypercore.drive.entries import decode_entry
from hypercore.errors import InvalidContent

SCAN_BLOCKS = 256
"""Newest blocks of the db that are read. Contents are appended in the order of names, so the newest names
refer to the newest contents; a copied entry may refer to older ones."""

MAX_ENTRY_BYTES = 64 << 10
"""Larger blocks of the db are skipped: an entry has a few hundred bytes, and a larger one may be made to keep
the engine busy. Ours."""

TURN_BYTES = 64 << 10
"""Bytes of blocks that are decoded in one call (about two milliseconds)."""


class RequiredBlobs:
    """Follows the db of one drive."""

    __slots__ = ("_end", "_fork", "_length", "_needed")

    def __init__(self) -> None:
        self._fork = -1
        self._length = 0
        """Blocks that were read or skipped."""
        self._end = 0
        """Length of the db at the last call."""
        self._needed: int | None = 0

    @property
    def finished(self) -> bool:
        """Whether the last call read all there was."""
        return self._length >= self._end

    def assume(self, db: Core, needed: int | None) -> None:
        """Take the result as known for the current db."""
        self._fork, self._length, self._end, self._needed = db.fork, db.length, db.length, needed

    def update(self, db: Core) -> int | None:
        """Minimum length of the blobs core, for a complete db; None if the db cannot be read (encrypted).

        Reads the blocks since the last call, at most SCAN_BLOCKS of them and TURN_BYTES in one call: call it
        until it is `finished`.
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
    """End of the content that a block of the db refers to, in blocks of the blobs core.

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
