"""The title of a drive: `title` in its /index.json, else `name` in its /package.json.

Sources: p2pcommons (`index.json`), applications of Pear (`package.json`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import NamedTuple

from hypercore.core import Core
from hypercore.drive import Drive
from hypercore.drive.entries import Entry
from hypercore.errors import BlockNotAvailable, HypercoreError, InvalidContent
from hypercore.keys import encode_key
from hypercore.manifest import Manifest

from ..model.interfaces import CoreSession
from .changed_drives import ChangedDrives

SOURCES = (("/index.json", "title"), ("/package.json", "name"))
"""Files that may hold a title, each with the name of the field. The first that has one counts."""

MAX_FILE_BYTES = 64 << 10
"""Content of such a file. Larger ones are not read. Our own choice."""

MAX_BLOCKS = 64
"""Blocks of both cores that are read for the title of one drive. Two lookups in a large drive take about
twenty."""

MAX_BYTES = 1 << 20
"""Bytes of all these blocks."""

MAX_BLOCK_BYTES = 128 << 10
"""Bytes of one of them, which is decoded in one turn of the loop (about a millisecond)."""

MAX_TITLE = 200
"""Characters of a title."""

READ_INTERVAL = 30.0
"""Seconds between two reads of one drive that changes all the time."""

READ_PAUSE = 0.02
"""Seconds between two drives. After a start, all of them may be read."""

log = logging.getLogger(__name__)


class TooMuch(InvalidContent):
    """The title would need more blocks than allowed."""


class Budget:
    """The blocks and bytes that may still be read: by default for one title."""

    def __init__(self, blocks: int = MAX_BLOCKS, size: int = MAX_BYTES) -> None:
        self._blocks = blocks
        self._bytes = size

    def spend(self, size: int) -> None:
        """Count one block of `size` bytes. Raises TooMuch."""
        self._blocks -= 1
        self._bytes -= size
        if self._blocks < 0 or self._bytes < 0 or size > MAX_BLOCK_BYTES:
            raise TooMuch("it takes more reading than it is worth")


class StoredBlocks:
    """A `BlockSource` of stored blocks: never waits for peers, stops at the budget, and yields to the loop
    after each block."""

    def __init__(self, core: Core, budget: Budget) -> None:
        self._core = core
        self._budget = budget

    @property
    def key(self) -> bytes:
        return self._core.key

    @property
    def length(self) -> int:
        return self._core.length

    @property
    def fork(self) -> int:
        return self._core.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._core.manifest

    async def get(self, index: int) -> bytes:
        await asyncio.sleep(0)
        return self.read(index)

    def read(self, index: int) -> bytes:
        """Return a stored block, and count it. Raises BlockNotAvailable and TooMuch."""
        core = self._core
        if not core.has(index):
            raise BlockNotAvailable(f"block {index} is not here")
        self._budget.spend(core.byte_range(index)[1])
        block = core.get(index)
        if block is None:
            raise BlockNotAvailable(f"block {index} is not here")
        return block

    async def update(self) -> bool:
        return False


class Title(NamedTuple):
    """The result. As long as `seen` is equal, so is the title."""

    text: str = ""
    """Empty: the drive has none, or it cannot be read."""
    seen: object = None
    """None: the result is uncertain."""


async def read_title(
    key: bytes, open_session: Callable[[bytes], CoreSession | None], known: Title | None = None
) -> Title:
    """Read the title from what is stored of the drive `key`. `known` is the previous result.

    `open_session` returns None for a core that is not stored: the header of a drive may name any.
    """
    sessions: list[CoreSession] = []
    budget = Budget()

    def source(core: bytes) -> StoredBlocks:
        session = open_session(core)
        if session is None:
            raise BlockNotAvailable("the core is not here")
        sessions.append(session)
        return StoredBlocks(session.core, budget)

    async def open_blobs(core: bytes) -> StoredBlocks:
        return source(core)

    try:
        drive = Drive(source(key), open_blobs).snapshot()
        found = [(await drive.entry(path), field) for path, field in SOURCES]
        blobs = [entry.blob if entry is not None else None for entry, _ in found]
        seen = (drive.db.fork, [entry.seq if entry is not None else None for entry, _ in found], blobs)
        if known is not None and known.seen == seen:
            return known
        for entry, field in found:
            text = _text(await _content(drive, entry), field)
            if text:
                return Title(text, seen)
        return Title("", seen)
    except HypercoreError:
        return Title()
    finally:
        for session in sessions:
            session.close()


async def _content(drive: Drive, entry: Entry | None) -> bytes:
    """Content of a small plain file. Empty: it is none, or its blocks are missing.

    Files with a block map are skipped: their size is not known without reading it.
    """
    if entry is None or entry.blob is None or entry.blob.block_map or entry.blob.byte_length > MAX_FILE_BYTES:
        return b""
    try:
        return b"".join([chunk async for chunk in drive.read(entry, follow=False)])
    except InvalidContent:
        return b""


def _text(content: bytes, field: str) -> str:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    text = members.get(field) if isinstance(members, dict) else None
    return "".join(filter(str.isprintable, text)).strip()[:MAX_TITLE] if isinstance(text, str) else ""


class Titles:
    """Reads the titles of changed drives, one after the other.

    It keeps a few hundred bytes for each seeded key.
    """

    def __init__(
        self,
        open_session: Callable[[bytes], CoreSession | None],
        *,
        is_wanted: Callable[[bytes], bool],
        on_title: Callable[[bytes, str], None],
    ) -> None:
        """`on_title` is called with each title found."""
        self._open_session = open_session
        self._is_wanted = is_wanted
        self._on_title = on_title
        self._known: dict[bytes, Title] = {}
        self._drives = ChangedDrives(self._read, is_wanted=is_wanted, pause=READ_PAUSE)

    def changed(self, key: bytes) -> None:
        """A drive changed; its title may have changed."""
        self._drives.changed(key)

    def discard(self, key: bytes) -> None:
        """The key is no longer seeded."""
        self._known.pop(key, None)
        self._drives.discard(key)

    async def run(self) -> None:
        """Run until cancelled. An error of one drive is logged and does not affect others."""
        await self._drives.run()

    async def _read(self, key: bytes) -> float:
        before = self._known.get(key)
        try:
            title = await read_title(key, self._open_session, before)
        except Exception:
            log.exception("cannot read the title of %s", encode_key(key))
            return READ_INTERVAL
        if self._is_wanted(key) and (title.seen is not None or before is None):
            self._known[key] = title
            if before is None or title.text != before.text:
                self._on_title(key, title.text)
        return READ_INTERVAL
