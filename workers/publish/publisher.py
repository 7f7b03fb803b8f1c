"""Publishes a folder: mirrors it into a drive, seeds that, and follows changes of the folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hypercore.core import Store
from hypercore.crypto import KeyPair
from hypercore.drive import writable_drive
from hypercore.errors import HypercoreError

from ..engine.engine import Engine
from ..engine.launch import launched_parts
from ..engine.model.events import Event, Problem, Published
from ..engine.model.kind import Kind
from ..engine.settings.identity import load_secret
from ..engine.settings.key_list import SeedSpec
from ..engine.settings.settings import EngineSettings
from .folder import FolderUnreadable, summary
from .mirror import Mirror, Update
from .published_index import INDEX_FILE, PublishedIndex
from .spare import SPARE_META, SpareBlocks
from .watch import Watcher

WRITER_FILE = "writer"
"""Name of the file with the secret seed of the drive's key pair: its holder can write to the drive."""

ENCRYPTION_FILE = "encryption"
"""Name of the file with the encryption key of an encrypted drive."""

FOLDER_META = "published folder"
"""Name of the store's `meta` value with the path of the published folder."""

RESCAN_EVERY = 60.0
"""Seconds between scans of a folder without change notifications (a network share)."""

QUIET_TIME = 2.5
"""Seconds after which a file that was being written is checked again."""

SCAN_SHARE = 0.1
"""Share of the time that scanning a restless folder may take."""


class WrongFolder(HypercoreError):
    """The data directory publishes another folder: mirroring this one would remove what is published."""

    code = "WRONG_FOLDER"


class NotEncrypted(HypercoreError):
    """Encryption of a drive is decided when it is made."""

    code = "NOT_ENCRYPTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    """A folder to publish, and how. The data directory of `engine` belongs to this one folder."""

    folder: Path
    """Absolute."""
    engine: EngineSettings
    exclude: tuple[str, ...] = ()
    """Glob patterns of names and paths that are left out."""
    encrypt: bool = False
    """Whether reading needs the encryption key. For a new drive."""
    watch: bool = True
    """Whether changes are published as they happen."""
    moved: bool = False
    """Whether the folder may differ from the last time."""


def default_data(home: Path, folder: Path) -> Path:
    """Directory of a folder's drive below the installation's home: the same each time."""
    digest = hashlib.blake2b(str(folder).encode(errors="surrogateescape"), digest_size=5).hexdigest()
    return home / "published" / f"{folder.name or 'root'}-{digest}"


class Publisher:
    """Runs an engine and a mirror. `emit` gets the engine's events and, for each change, a `Published`."""

    def __init__(self, settings: PublishSettings, emit: Callable[[Event], None]) -> None:
        self.settings = settings
        self._emit = emit
        self._reported: tuple[str, ...] = ()
        self._begun = False

    async def run(self, begun: Callable[[Engine, bytes, bytes | None], None]) -> None:
        """Publish until cancelled. `begun` is called with the engine, the key of the drive and its encryption
        key, before anything is published.

        Raises FolderUnreadable, WrongFolder, StorageError, NetworkUnusable.
        """
        settings = self.settings
        async with launched_parts(settings.engine, self._emit) as parts:
            store, data = parts.cores.store, settings.engine.data
            _check_folder(store, settings)
            encryption_key = _encryption_key(store, settings)
            seed = load_secret(data / WRITER_FILE, "the secret of the drive's writer")
            drive = writable_drive(store, KeyPair.from_seed(seed), encryption_key=encryption_key)
            store.set_meta(FOLDER_META, _folder_name(settings.folder))
            await parts.cores.flush()
            begun(parts.engine, drive.key, encryption_key)
            parts.engine.add([SeedSpec(drive.key, Kind.DRIVE, own=True)])
            for core in (drive.db, drive.blobs):
                # A session until the corestore closes: without one it would close what the mirror writes
                parts.cores.get(core.key, active=False, everywhere=False)
            mirror = Mirror(
                settings.folder,
                drive,
                index=PublishedIndex(data / INDEX_FILE),
                spare=SpareBlocks(
                    drive.plain_blobs, store.get_meta(SPARE_META), partial(store.set_meta, SPARE_META)
                ),
                flush=parts.cores.flush,
                exclude=settings.exclude,
            )
            self._emit = parts.events.emit
            update = await self._poll(mirror)
            if settings.watch:
                await self._follow(mirror, update.folders)
            await asyncio.Event().wait()

    async def _follow(self, mirror: Mirror, folders: tuple[str, ...]) -> None:
        """Scan again on each notification."""
        changed = asyncio.Event()
        watcher = Watcher(self.settings.folder, changed)
        loop = asyncio.get_running_loop()
        try:
            await watcher.watch(folders)
            unsettled = True  # something may have changed before the watch began
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_TIME if unsettled else RESCAN_EVERY):
                        await changed.wait()
                changed.clear()
                started = loop.time()
                try:
                    update = await self._poll(mirror)
                    unsettled = await watcher.watch(update.folders) or update.unsettled
                except FolderUnreadable as error:
                    self._report_problems((str(error),), error.code)
                    await watcher.close()  # the folder that it watched may be gone for good
                    unsettled = False
                await asyncio.sleep((loop.time() - started) * (1 / SCAN_SHARE - 1))
        finally:
            await watcher.close()

    async def _poll(self, mirror: Mirror) -> Update:
        update = await mirror.update()
        if update.anything or not self._begun:
            self._begun = True
            self._emit(
                Published(
                    key=mirror.key,
                    version=mirror.version,
                    files=update.files,
                    bytes=update.bytes,
                    added=update.added,
                    changed=update.changed,
                    removed=update.removed,
                )
            )
        self._report_problems(update.problems, "NOT_PUBLISHED")
        return update

    def _report_problems(self, problems: tuple[str, ...], code: str) -> None:
        """Emit problems, each once."""
        if problems != self._reported:
            self._reported = problems
            if problems:
                self._emit(Problem(key=None, code=code, message=summary(problems)))


def _check_folder(store: Store, settings: PublishSettings) -> None:
    """Raises WrongFolder if the store publishes another one."""
    known = store.get_meta(FOLDER_META)
    if known is None or known == _folder_name(settings.folder) or settings.moved:
        return
    raise WrongFolder(
        f"{settings.engine.data} holds the drive of {os.fsdecode(known)}, and to publish {settings.folder} "
        "there would replace its files. Use another --data, or --moved if the folder has moved"
    )


def _encryption_key(store: Store, settings: PublishSettings) -> bytes | None:
    """The key of an encrypted drive, made with it. Raises NotEncrypted if an existing drive is not."""
    path = settings.engine.data / ENCRYPTION_FILE
    if not path.exists():
        if not settings.encrypt:
            return None
        if store.get_meta(FOLDER_META) is not None:
            raise NotEncrypted(
                "this drive is not encrypted, and cannot become so: use another --data for a new one"
            )
    return load_secret(path, "the encryption key of the drive")


def _folder_name(folder: Path) -> bytes:
    return os.fsencode(folder)
