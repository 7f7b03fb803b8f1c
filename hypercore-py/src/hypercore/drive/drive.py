"""Hyperdrive: files in two cores. Reading.

Format: hyperdrive index.js (13.3.4). The db core is a bee whose keys are `files`, NUL and the absolute
path; the blobs core holds the contents. The version of a drive is that of its bee.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from copy import copy
from typing import NamedTuple

from ..bee import Bee, BeeEntry, Header
from ..blocks import BlockSource, DecryptingSource
from ..errors import EntryNotFound, InvalidContent
from . import paths
from .blobs import Blobs
from .content import blobs_key_of
from .entries import Entry, decode_entry

FILES = "files"
"""Name of the sub-database with the entries."""

MAX_HOPS = 16
"""Entries read while following links, including the last one (hyperdrive index.js, `entry`)."""

OpenBlobs = Callable[[bytes], Awaitable[BlockSource]]
OnInvalid = Callable[[bytes, InvalidContent], None]


class FolderItem(NamedTuple):
    """A name in a folder. `entry` is None for a folder. A file and a folder of one name are two items."""

    name: str
    entry: Entry | None


class FileChange(NamedTuple):
    """A step of the history: the new `entry` of a path, None if it was deleted, with its `version`."""

    version: int
    path: str
    entry: Entry | None


class _Contents:
    """The blobs core, shared by all views of a drive."""

    def __init__(self, open_blobs: OpenBlobs, encryption_key: bytes | None, key: bytes | None) -> None:
        self.key = key
        self.opened: Blobs | None = None
        self._open_blobs = open_blobs
        self._encryption_key = encryption_key

    async def open(self, key: bytes) -> Blobs:
        source = await self._open_blobs(key)
        return Blobs(
            source if self._encryption_key is None else DecryptingSource(source, self._encryption_key)
        )


class Drive:
    """A view of a drive, of its latest version or of a pinned one.

    Paths are absolute; `.`, `..`, doubled and backward slashes are resolved as the official reader does. A
    path that cannot be in a drive raises InvalidPath. Invalid data of a publisher raises only InvalidContent,
    and a block that is not available BlockNotAvailable.
    """

    def __init__(
        self,
        db: BlockSource,
        open_blobs: OpenBlobs,
        *,
        encryption_key: bytes | None = None,
        blobs_key: bytes | None = None,
    ) -> None:
        """`open_blobs` gets the key of the blobs core and returns its (still encrypted) source; it is called
        when the first content is read. `blobs_key` overrides the key in the db."""
        self._contents = _Contents(open_blobs, encryption_key, blobs_key)
        self.db: BlockSource = db if encryption_key is None else DecryptingSource(db, encryption_key)
        self.bee = Bee(self.db)
        self._files = self.bee.sub(FILES)

    @property
    def key(self) -> bytes:
        """The key of the db, which names the drive, 32 bytes."""
        return self.db.key

    @property
    def version(self) -> int:
        """Length of the db."""
        return self.bee.version

    def checkout(self, version: int) -> Drive:
        """A view of `version`. Shares caches and the blobs core with this one."""
        view = copy(self)
        view.bee = self.bee.checkout(version)
        view._files = view.bee.sub(FILES)
        return view

    def snapshot(self) -> Drive:
        """A view of the current version."""
        return self.checkout(self.version)

    async def update(self) -> bool:
        """Ask for a newer head of the db. Returns whether there is one."""
        return await self.db.update()

    # --- the blobs core

    async def header(self) -> Header:
        """Block 0 of the db. Raises InvalidContent if the core is no drive."""
        return await self.bee.header()

    async def blobs_key(self) -> bytes:
        """The key of the blobs core: as given, as the header of the db names it, or derived from the
        manifest."""
        contents = self._contents
        if contents.key is None:
            if self.db.length == 0:
                await self.db.update()
            contents.key = blobs_key_of(await self.header(), self.db.manifest, self.key)
        return contents.key

    async def blobs(self) -> Blobs:
        """The blobs core, decrypted."""
        contents = self._contents
        if contents.opened is None:
            opened = await contents.open(await self.blobs_key())
            contents.opened = contents.opened or opened  # another reader may have opened it meanwhile
        return contents.opened

    # --- entries

    async def entry(self, path: str, *, follow: bool = False) -> Entry | None:
        """The file or link at `path`. With `follow`, links are resolved.

        A dangling link returns None; a link out of the drive, or through more than 16 entries, raises
        InvalidContent.
        """
        entry = await self._entry(paths.normalize(path))
        if not follow:
            return entry
        for _ in range(MAX_HOPS - 1):
            if entry is None or not entry.linkname:
                return entry
            entry = await self._first_of(paths.link_targets(entry.path, entry.linkname))
        if entry is not None and entry.linkname:
            raise InvalidContent(f"drive: {path[:100]!a} leads through more than {MAX_HOPS} links")
        return entry

    async def exists(self, path: str) -> bool:
        """Whether there is a file or link at `path`. (Folders exist only as the beginning of paths.)"""
        return await self.entry(path) is not None

    async def is_folder(self, path: str) -> bool:
        """Whether the path of some file begins with `path`. The root of an empty drive is a folder too."""
        folder = paths.normalize(path)
        prefix = paths.folder_prefix(folder).encode()
        found = folder == paths.ROOT
        async for _ in self._files.iterate(gt=prefix, lt=_after(prefix), limit=1):
            found = True
        return found

    async def link_target(self, entry: Entry) -> str:
        """The target path of a link, which may not exist. Raises InvalidContent if it is outside the
        drive."""
        candidates = paths.link_targets(entry.path, entry.linkname or "")
        for path in candidates[:-1]:
            if await self._entry(path) is not None or await self.is_folder(path):
                return path
        return candidates[-1]

    async def list(
        self, folder: str = paths.ROOT, *, on_invalid: OnInvalid | None = None
    ) -> AsyncGenerator[Entry, None]:
        """All files and links below `folder`, however deep, in the order of their UTF-8 paths.

        An entry that does not decode raises InvalidContent, or is skipped after `on_invalid(raw path,
        error)`.
        """
        prefix = paths.folder_prefix(paths.normalize(folder)).encode()
        async for item in self._files.iterate(gt=prefix, lt=_after(prefix)):
            entry = _decode(item, on_invalid)
            if entry is not None:
                yield entry

    async def readdir(
        self,
        folder: str = paths.ROOT,
        *,
        after: tuple[str, bool] | None = None,
        on_invalid: OnInvalid | None = None,
    ) -> AsyncGenerator[FolderItem, None]:
        """The names directly in `folder`, in the order of their UTF-8 paths (that of a folder ends in `/`).
        Each folder in it costs one look-up, whatever its size.

        `after` continues an earlier listing: the last name, and whether it was a folder.
        """
        prefix = paths.folder_prefix(paths.normalize(folder)).encode()
        skipped: bytes | None = None
        if after is not None:
            name, was_folder = prefix + paths.encode(after[0]), after[1]
            skipped = _after(name + b"/") if was_folder else name + b"\0"
        while True:
            items = self._files.iterate(
                gt=prefix if skipped is None else None, gte=skipped, lt=_after(prefix)
            )
            folder_name: bytes | None = None
            async with aclosing(items):
                async for item in items:
                    name, slash, _ = item.key[len(prefix) :].partition(b"/")
                    if slash:
                        folder_name = name
                        break
                    entry = _decode(item, on_invalid)
                    if entry is not None:
                        yield FolderItem(entry.path.rpartition("/")[2], entry)
            if folder_name is None:
                return
            if _decode_path(prefix + folder_name, on_invalid) is not None:
                yield FolderItem(folder_name.decode(), None)
            skipped = _after(prefix + folder_name + b"/")

    async def history(
        self, *, since: int = 1, on_invalid: OnInvalid | None = None
    ) -> AsyncGenerator[FileChange, None]:
        """Changes of files after version `since`, oldest first."""
        async for change in self._files.history(since=since):
            item = BeeEntry(change.seq, change.key, change.value)
            if not change.deleted:
                entry = _decode(item, on_invalid)
                if entry is not None:
                    yield FileChange(change.seq + 1, entry.path, entry)
            elif (path := _decode_path(change.key, on_invalid)) is not None:
                yield FileChange(change.seq + 1, path, None)

    # --- contents

    async def size(self, entry: Entry) -> int:
        """Bytes of content. Reads the map of a deduplicated file."""
        if entry.blob is None:
            return 0
        return await (await self.blobs()).size(entry.blob) if entry.blob.block_map else entry.blob.byte_length

    async def read(
        self, file: str | Entry, start: int = 0, length: int | None = None, *, follow: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Chunks of a file from byte `start` on, `length` bytes or up to its end. Raises EntryNotFound."""
        entry = await self.entry(file, follow=follow) if isinstance(file, str) else file
        if entry is None:
            raise EntryNotFound(f"no file {file!a} in the drive")
        if entry.blob is None or entry.blob.byte_length == 0:
            return
        blobs = await self.blobs()
        async for chunk in blobs.read(entry.blob, start, length):
            yield chunk

    # --- internal

    async def _entry(self, path: str) -> Entry | None:
        if path == paths.ROOT:
            return None
        item = await self._files.get(path.encode())
        return None if item is None else decode_entry(path, item.seq, item.value)

    async def _first_of(self, candidates: Sequence[str]) -> Entry | None:
        for path in candidates:
            entry = await self._entry(path)
            if entry is not None:
                return entry
        return None


def _decode(item: BeeEntry, on_invalid: OnInvalid | None) -> Entry | None:
    try:
        return decode_entry(paths.decode(item.key), item.seq, item.value)
    except InvalidContent as error:
        if on_invalid is None:
            raise
        on_invalid(item.key, error)
        return None


def _decode_path(raw: bytes, on_invalid: OnInvalid | None) -> str | None:
    try:
        return paths.decode(raw)
    except InvalidContent as error:
        if on_invalid is None:
            raise
        on_invalid(raw, error)
        return None


def _after(prefix: bytes) -> bytes:
    """The first key that is not below the folder `prefix` (which ends with a slash; `0` follows `/`)."""
    return prefix[:-1] + b"0"
