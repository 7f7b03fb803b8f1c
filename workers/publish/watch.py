"""Watches for changes below a folder: one watch for each published folder, and none behind a link.

A recursive watch follows links: one to a large tree costs a watch for every folder of it, and one to `/` ends
all watching. So the folders of the last scan are watched one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from watchfiles import awatch

MAX_WATCHES = 8_192
"""Folders that are watched; in a larger tree, changes are found by scanning. As many as Linux gave a user in
all up to version 5.10; newer kernels give more where there is memory."""

DEBOUNCE = 400
"""Milliseconds for which changes are gathered."""

RETRY = 60.0
"""Seconds until the next attempt after the system refused to watch."""

log = logging.getLogger(__name__)


class Watcher:
    """Sets `changed` when something in a watched folder changes, as far as the system reports it."""

    def __init__(self, folder: Path, changed: asyncio.Event) -> None:
        self._folder = folder
        self._changed = changed
        self._paths: frozenset[Path] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._warned = False

    @property
    def count(self) -> int:
        """Folders that are watched."""
        return len(self._paths)

    async def watch(self, folders: Iterable[str]) -> bool:
        """Watch exactly these folders (paths as in the drive). Returns whether any is new: changes from
        before must be found by a scan.
        """
        paths = frozenset(self._folder / path[1:] for path in folders)
        if len(paths) > MAX_WATCHES:
            self._warn(f"{len(paths):,} folders are more than can be watched ({MAX_WATCHES:,})")
            paths = frozenset()
        if paths == self._paths and (not paths or (self._task is not None and not self._task.done())):
            return False
        await self.close()
        self._paths = paths
        if paths:
            self._task = asyncio.create_task(self._run(sorted(paths)))
        return True

    async def close(self) -> None:
        """Stop watching. A second call does nothing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task, self._paths = None, frozenset()

    async def _run(self, paths: list[Path]) -> None:
        while True:
            present = [path for path in paths if path.is_dir() and not path.is_symlink()]
            try:
                async for _ in awatch(*present, watch_filter=None, debounce=DEBOUNCE, recursive=False):
                    self._changed.set()
            except FileNotFoundError:
                self._changed.set()  # one went just now: the next look finds the others
            except (OSError, RuntimeError) as error:  # the system's limit is reached, most likely
                self._warn(str(getattr(error, "strerror", None) or error))
            await asyncio.sleep(RETRY)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            log.warning("%s is not watched, but looked at every %.0f s: %s", self._folder, RETRY, reason)
        self._warned = True
