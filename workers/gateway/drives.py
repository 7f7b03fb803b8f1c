"""Open drives of the gateway: opened for the first reader, shared, closed when idle, bounded in number."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from hypercore.aio.cores.session import Hypercore
from hypercore.aio.swarm.peer_discovery import PeerDiscovery
from hypercore.bee import kind_of
from hypercore.drive import Drive
from hypercore.errors import HypercoreError

from ..engine.model.kind import derived_blobs_key
from .failures import RETRY_COPY, ReadingFailed
from .network import Network
from .source import CoreReader, HeldBlocks
from .stored import StoredDrive, find

MAX_OPEN: Final = 64
"""Drives that are open at once. Ours."""

IDLE_SECONDS: Final = 30.0
"""Seconds that an unused drive stays open."""

CURRENT_SECONDS: Final = 0.5
"""Seconds after which it is looked whether an engine has stored more."""

TICK: Final = 1.0
"""Seconds between two looks at what is idle."""

log = logging.getLogger(__name__)


class OpenDrive:
    """A drive as it was opened. When an engine stores more, another one takes its place for new readers."""

    def __init__(self, key: bytes, network: Network, held: HeldBlocks, stored: StoredDrive | None) -> None:
        self.key = key
        self.leases = 0
        self.retired = False
        """Whether another one has taken its place."""
        self.closed = False
        self.used_at = self.checked_at = monotonic()
        self._network = network
        self._held = held
        self._stored = stored
        self._discovery: PeerDiscovery | None = None
        self._readers: dict[bytes, CoreReader] = {}
        self.db = self.reader(key)
        self.drive = Drive(self.db, self._open_blobs)

    async def detect(self) -> None:
        """Wait for what the key names. Raises ReadingFailed unless it is a drive that can be read."""
        if self.db.length == 0:
            await self.db.update()
        kind = await kind_of(self.db)
        if kind == "drive":
            return
        if kind == "core" and derived_blobs_key(self.key, self.db.manifest) is not None:
            raise ReadingFailed(
                "encrypted",
                "This is a core, or an encrypted drive. The farm keeps and serves its blocks, but has no key "
                "to read the files: use an app that has it.",
            )
        raise ReadingFailed("no_drive", f"This key names a {kind}, which has no files.")

    async def blobs(self) -> CoreReader:
        """The blobs core."""
        await self.drive.blobs()  # finds its key
        return self.reader(await self.drive.blobs_key())

    def reader(self, key: bytes) -> CoreReader:
        """Return the reader of a core of this drive, made on first use."""
        found = self._readers.get(key)
        if found is None:
            stored = None if self._stored is None else self._stored.open(key)

            async def session() -> Hypercore:
                if self._discovery is None:
                    try:
                        self._discovery = await self._network.join(self.key)
                    except OSError as error:
                        text = f"The network cannot be used: {error.strerror or error}."
                        raise ReadingFailed("unavailable", text, retry=RETRY_COPY) from error
                return self._network.open(key)

            found = self._readers[key] = CoreReader(key, session, self._held, stored, self._search_again)
        return found

    async def _search_again(self) -> None:
        if self._discovery is not None:
            await self._discovery.refresh()

    async def _open_blobs(self, key: bytes) -> CoreReader:
        return self.reader(key)

    def is_current(self, directories: Sequence[Path]) -> bool:
        """Whether an engine of these directories has nothing newer."""
        if self._stored is not None:
            return self._stored.is_current
        stored = find(self.key, directories)
        if stored is not None:
            stored.close()
        return stored is None

    def rest(self) -> None:
        """Drop blocks of peers, and end the transaction: the drive has no reader."""
        for key, reader in self._readers.items():
            if key != self.key:
                reader.rest()
                self._network.remove(key)
        if self._stored is not None:
            self._stored.rest()

    def pause(self) -> None:
        """End the transaction: the drive was not read for a moment, and may be read again."""
        if self._stored is not None:
            self._stored.rest()

    async def close(self) -> None:
        """Leave the swarm, drop blocks of peers and close the store."""
        self.closed = True
        for key, reader in self._readers.items():
            reader.rest()
            self._network.remove(key)
        if self._discovery is not None:
            await self._discovery.leave()
        if self._stored is not None:
            self._stored.close()


class Drives:
    """`lease` a drive to read it."""

    def __init__(
        self, network: Network, directories: Sequence[Path], *, max_open: int = MAX_OPEN,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:  # fmt: skip
        self._network = network
        self._directories = directories
        self._max_open = max_open
        self._idle_seconds = idle_seconds
        self._held = HeldBlocks()
        self._open: dict[bytes, asyncio.Task[OpenDrive]] = {}
        self._retired: set[OpenDrive] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open) + len(self._retired)

    @asynccontextmanager
    async def lease(self, key: bytes) -> AsyncIterator[OpenDrive]:
        """Context manager: the drive, which stays open meanwhile. Raises ReadingFailed, BlockNotAvailable and
        other HypercoreErrors."""
        drive = await self._get(key)
        while drive.closed:  # it made room for another one before we got our turn
            drive = await self._get(key)
        drive.leases += 1
        try:
            yield drive
        finally:
            drive.leases -= 1
            drive.used_at = monotonic()
            if not drive.leases:
                drive.rest()
                if drive.retired:
                    self._retired.discard(drive)
                    self._close(drive)

    async def _get(self, key: bytes) -> OpenDrive:
        task = self._open.get(key)
        if task is not None and task.done():
            self._replace_old(key, task)
            task = self._open.get(key)
        if task is None:
            self._make_room()
            task = self._open[key] = asyncio.create_task(self._opened(key), name=f"open {key.hex()[:8]}")
            task.add_done_callback(lambda done: self._discard_failed(key, done))
        # Who waits may leave; others wait for the same
        return await asyncio.shield(task)

    def _replace_old(self, key: bytes, task: asyncio.Task[OpenDrive]) -> None:
        drive = task.result()
        now = monotonic()
        if now - drive.checked_at < CURRENT_SECONDS:
            return
        drive.checked_at = now
        if drive.is_current(self._directories):
            return
        del self._open[key]
        drive.retired = True
        if drive.leases:
            self._retired.add(drive)
        else:
            self._close(drive)

    def _discard_failed(self, key: bytes, task: asyncio.Task[OpenDrive]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._open.get(key) is task:
            del self._open[key]

    def _make_room(self) -> None:
        if len(self) < self._max_open:
            return
        idle = [drive for drive in self._opened_drives() if not drive.leases]
        if not idle:
            raise ReadingFailed("busy", "Too many drives are read at once; try again in a moment.", retry=5)
        self._remove(min(idle, key=lambda drive: drive.used_at))

    async def _opened(self, key: bytes) -> OpenDrive:
        drive = OpenDrive(key, self._network, self._held, find(key, self._directories))
        try:
            await drive.detect()
        except BaseException:
            await drive.close()
            raise
        return drive

    def _opened_drives(self) -> list[OpenDrive]:
        return [
            task.result()
            for task in self._open.values()
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    def _remove(self, drive: OpenDrive) -> None:
        del self._open[drive.key]
        self._close(drive)

    def _close(self, drive: OpenDrive) -> None:
        drive.closed = True
        task = asyncio.create_task(drive.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def run(self) -> None:
        """Close what is idle, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            before = monotonic() - self._idle_seconds
            for drive in self._opened_drives():
                try:
                    if not drive.leases and drive.used_at < before:
                        self._remove(drive)
                    else:
                        drive.pause()
                except HypercoreError as error:
                    log.warning("drive %s: %s", drive.key.hex()[:8], error)
            for drive in self._retired:
                drive.pause()

    async def close(self) -> None:
        """Close all drives, opened or being opened."""
        for task in self._open.values():
            task.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)
        for drive in (*self._opened_drives(), *self._retired):
            await drive.close()
        await asyncio.gather(*self._closing, return_exceptions=True)
