"""What a drive calls itself: the `name` in its /package.json, as applications of Pear have one."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypercore.core import Core
from hypercore.drive import Drive
from hypercore.errors import BlockNotAvailable, HypercoreError
from hypercore.manifest import Manifest

from .ports import CoreSession

PACKAGE = "/package.json"

MAX_PACKAGE_BYTES = 64 << 10
"""Of a package.json that is looked at. Larger ones are no name's fault."""

MAX_TITLE = 200
"""Characters of a title."""


class HeldBlocks:
    """A core as a source of the blocks that are here. Never waits for others."""

    def __init__(self, core: Core) -> None:
        self._core = core

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
        block = self._core.get(index)
        if block is None:
            raise BlockNotAvailable(f"block {index} is not here")
        return block

    async def update(self) -> bool:
        return False


async def read_title(key: bytes, open_session: Callable[[bytes], CoreSession]) -> str:
    """From what is stored of the drive `key`. Empty: it has none, or it cannot be read."""
    sessions: list[CoreSession] = []

    def source(core: bytes) -> HeldBlocks:
        sessions.append(open_session(core))
        return HeldBlocks(sessions[-1].core)

    async def open_blobs(core: bytes) -> HeldBlocks:
        return source(core)

    try:
        drive = Drive(source(key), open_blobs)
        entry = await drive.entry(PACKAGE)
        if entry is None or entry.blob is None or entry.blob.byte_length > MAX_PACKAGE_BYTES:
            return ""
        package = json.loads(b"".join([chunk async for chunk in drive.read(entry, follow=False)]))
    except (HypercoreError, ValueError, RecursionError):
        return ""
    finally:
        for session in sessions:
            session.close()
    name = package.get("name") if isinstance(package, dict) else None
    return "".join(filter(str.isprintable, name)).strip()[:MAX_TITLE] if isinstance(name, str) else ""
