"""Makes a drive equal to a folder, writing only what differs.

The published state is read from the drive. Metadata of files at publishing time is kept beside it only to
avoid reading files again: without a matching record, the content decides.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hypercore.drive import BlobId, DriveBatch, Entry, WritableDrive
from hypercore.printable import quoted

from .folder import Fingerprint, Item, Listing, open_below, scan
from .published_index import PublishedIndex
from .spare import BLOCK_BYTES, SpareBlocks

READ_BYTES = 1 << 20
"""Bytes read from a file at a time."""

BATCH_FILES = 1_000
"""Changes that become visible to readers together. More are published in several steps."""

BATCH_BYTES = 256 << 20
"""Bytes of contents after which completed changes become visible, however few files they are."""

UNFLUSHED_BYTES = 32 << 20
"""Bytes of contents in memory after which they are made durable before more is read."""

STABLE_AFTER = 2_000_000_000
"""Nanoseconds after which another change of a file surely shows in its time of change. Later changes are not
recorded as unchanged: file systems count in steps, some of whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The result of one scan of the folder."""

    added: int
    changed: int
    removed: int
    files: int
    """Files and links in the drive now."""
    bytes: int
    """Their size."""
    problems: tuple[str, ...]
    """What could not be published. What was published of it before stays."""
    folders: tuple[str, ...]
    """Paths of the scanned folders, the empty one for the top."""
    unsettled: bool
    """Whether files changed while they were read, or just before: scan again soon."""

    @property
    def anything(self) -> bool:
        """Whether the drive changed."""
        return bool(self.added or self.changed or self.removed)


class Mirror:
    """Mirrors one folder into one drive. `flush` makes writes durable; readers see them only after that."""

    def __init__(
        self,
        folder: Path,
        drive: WritableDrive,
        *,
        index: PublishedIndex,
        spare: SpareBlocks,
        flush: Callable[[], Awaitable[None]],
        exclude: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self._spare = spare
        self._drive = drive
        self._index = index
        self._flush = flush
        self._exclude = tuple(exclude)
        self._published: dict[str, Entry] | None = None

    @property
    def key(self) -> bytes:
        """The drive's key, 32 bytes."""
        return self._drive.key

    @property
    def version(self) -> int:
        """The drive's version."""
        return self._drive.reader.version

    async def update(self) -> Update:
        """Scan the folder and publish the differences. Raises FolderUnreadable, StorageError."""
        if self._published is None:
            self._published = {entry.path: entry async for entry in self._drive.reader.list()}
        started = time.time_ns()
        listing = await asyncio.to_thread(scan, self.folder, self._exclude)
        step = _Step(
            self._drive, self._published, self._index, self._spare, self.folder, self._flush, started
        )
        await step.run(listing)
        await asyncio.to_thread(self._index.save)
        return Update(
            added=step.added,
            changed=step.changed,
            removed=step.removed,
            files=len(self._published),
            bytes=sum(entry.size or 0 for entry in self._published.values()),
            problems=tuple(listing.problems),
            folders=tuple(listing.folders),
            unsettled=step.unsettled,
        )


class Written(NamedTuple):
    """An entry, and the metadata of its file when it was read."""

    entry: Entry
    fingerprint: Fingerprint


class _Step:
    """One update."""

    def __init__(
        self,
        drive: WritableDrive,
        published: dict[str, Entry],
        index: PublishedIndex,
        spare: SpareBlocks,
        folder: Path,
        flush: Callable[[], Awaitable[None]],
        started: int,
    ) -> None:
        self._drive = drive
        self._published = published
        self._index = index
        self._spare = spare
        self._folder = folder
        self._flush = flush
        self._started = started
        self._unflushed = 0
        self.added = self.changed = self.removed = 0
        self.unsettled = False

    async def run(self, listing: Listing) -> None:
        gone = [path for path in self._published if path not in listing.items and not listing.keeps(path)]
        changes: list[tuple[str, Item | None]] = [(path, None) for path in gone]
        for path, item in listing.items.items():
            if not self._is_unchanged(path, item):
                changes.append((path, item))
        done = 0
        while done < len(changes):
            done += await self._publish(changes[done : done + BATCH_FILES], listing)

    def _is_unchanged(self, path: str, item: Item) -> bool:
        entry = self._published.get(path)
        if entry is None or entry.executable is not item.executable or entry.linkname != item.target:
            return False
        return item.target is not None or self._index.is_unchanged(path, entry.seq, item.fingerprint)

    async def _publish(self, changes: list[tuple[str, Item | None]], listing: Listing) -> int:
        """Publish one batch. Returns how many of the changes it took."""
        batch = self._drive.writer.batch()
        written: dict[str, Written] = {}
        removed: list[str] = []
        count = size = 0
        for path, item in changes:
            if size >= BATCH_BYTES:
                break
            count += 1
            if item is None:
                batch.delete(path)
                removed.append(path)
                continue
            try:
                found = await self._put(batch, path, item)
            except OSError as error:
                # Gone since we looked: the next look sees to it. Unreadable: what is published stays.
                if not isinstance(error, FileNotFoundError):
                    listing.problems.append(f"cannot read {quoted(path)}: {error.strerror}")
                self.unsettled |= isinstance(error, FileNotFoundError)
                continue
            if found is not None:
                written[path] = found
                size += found.entry.size or 0
        if written or removed:
            batch.flush()
            self._spare.commit()  # no await since the batch: both become durable together, or neither
            await self._flush()
            self._unflushed = 0
            self._take_in(written, removed)
        return count

    def _take_in(self, written: dict[str, Written], removed: list[str]) -> None:
        for path in removed:
            del self._published[path]
            self._index.discard(path)
        self.removed += len(removed)
        for path, (entry, fingerprint) in written.items():
            self.changed += path in self._published
            self.added += path not in self._published
            self._published[path] = entry
            if entry.linkname is None:
                self._record_published(path, entry.seq, fingerprint)

    async def _put(self, batch: DriveBatch, path: str, item: Item) -> Written | None:
        """Write a file or link that may differ. None if it is equal, or is being changed."""
        if item.target is not None:
            return Written(batch.symlink(path, item.target), item.fingerprint)
        file = await asyncio.to_thread(_open, self._folder, path)
        with file:
            before = Fingerprint.of(os.fstat(file.fileno()))
            entry = self._published.get(path)
            blob = None if entry is None else entry.blob
            if blob is None or not await self._holds(blob, file, before):
                file.seek(0)
                blob = await self._append(file)
            if Fingerprint.of(os.fstat(file.fileno())) != before:
                self.unsettled = True  # it is being written: a partial change is not published
                if entry is None or blob != entry.blob:
                    self._spare.release(blob)
                return None
        if entry is not None and entry.blob == blob and entry.executable is item.executable:
            self._record_published(path, entry.seq, before)
            return None
        return Written(batch.put_blob(path, blob, executable=item.executable), before)

    def _record_published(self, path: str, seq: int, fingerprint: Fingerprint) -> None:
        if fingerprint.changed < self._started - STABLE_AFTER:
            self._index.record(path, seq, fingerprint)
        else:
            self.unsettled = True

    async def _holds(self, blob: BlobId, file: BinaryIO, fingerprint: Fingerprint) -> bool:
        """Whether the blob has the content of the file."""
        if blob.block_map or blob.byte_length != fingerprint.size:
            return False
        log = self._drive.plain_blobs
        for index in range(blob.block_offset, blob.block_offset + blob.block_length):
            block = log.peek(index)
            if block is None or await asyncio.to_thread(file.read, len(block)) != block:
                return False
        return True

    async def _append(self, file: BinaryIO) -> BlobId:
        """Store a content, reusing spare blocks that begin with it."""
        found = await self._spare.take(file)
        if found is not None and found.whole:
            return found.blob
        log = self._drive.plain_blobs
        start, byte = log.length, log.byte_length
        if found is not None:
            start, byte = found.blob.block_offset, found.blob.byte_offset
        try:
            while data := await asyncio.to_thread(file.read, READ_BYTES):
                log.append([data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)])
                self._unflushed += len(data)
                if self._unflushed >= UNFLUSHED_BYTES:
                    await self._flush()
                    self._unflushed = 0
        except OSError:
            self._spare.release(BlobId(start, log.length - start, byte, log.byte_length - byte))
            raise
        return BlobId(start, log.length - start, byte, log.byte_length - byte)


def _open(folder: Path, path: str) -> BinaryIO:
    """Open a regular file. Raises OSError; a link or pipe that took its place is not followed and not waited
    for."""
    try:
        descriptor = open_below(folder, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise FileNotFoundError(f"{path} is no regular file any more") from None
        raise
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(f"{path} is no regular file any more")
    return file
