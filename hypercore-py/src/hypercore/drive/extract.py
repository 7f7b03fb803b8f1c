"""Copies a drive, or a part of it, into a directory.

It writes content of untrusted publishers to disk: nothing outside the directory is changed (see `confined`),
links are made only to targets inside, and entries that cannot be written are reported and skipped. Files with
equal content stay, so an interrupted copy continues.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from unicodedata import normalize as normalize_unicode

from ..errors import EntryNotFound, HypercoreError, InvalidContent, StorageError
from ..sizes import size_text
from . import paths
from .confined import PARTIAL, ConfinedFolder, PathConflict
from .drive import Drive
from .entries import Entry

MAX_FAILURES = 1000
"""Failures kept with their reasons. Further ones are only counted."""

PAUSE_BYTES = 4 << 20
"""Bytes of content written between two pauses."""

KEPT_FREE_BYTES = 64 << 20
"""Bytes of the file system that stay free: a file that needs them is not written."""

FILE_BYTES = 64 << 10
"""Bytes that a file counts beside its content."""

Result = Literal["written", "unchanged", "linked", "failed"]


Pause = Callable[[], Awaitable[object]]


class Outcome(NamedTuple):
    """The result of one entry. `size` is in bytes, `reason` is why it failed.

    In a `path` that is not UTF-8, bytes that do not decode are lone surrogates (`surrogateescape`).
    """

    path: str
    result: Result
    size: int = 0
    reason: str | None = None


@dataclass(slots=True)
class Summary:
    """The results of all entries."""

    written: int = 0
    unchanged: int = 0
    linked: int = 0
    failed: int = 0
    bytes_written: int = 0
    failures: list[Outcome] = field(default_factory=list)
    """The first thousand."""

    def add(self, outcome: Outcome) -> None:
        setattr(self, outcome.result, getattr(self, outcome.result) + 1)
        if outcome.result == "written":
            self.bytes_written += outcome.size
        if outcome.result == "failed" and len(self.failures) < MAX_FAILURES:
            self.failures.append(outcome)


async def extract(
    drive: Drive,
    directory: Path,
    path: str = paths.ROOT,
    *,
    on_outcome: Callable[[Outcome], None] | None = None,
    pause: Pause | None = None,
    max_bytes: int | None = None,
) -> Summary:
    """Write what is at or below `path` into `directory`, which is created.

    A folder writes its contents, a file (or a link to one) itself. A file is written only if all of its
    content fits the free space of the file system, less KEPT_FREE_BYTES, and the rest of `max_bytes` (for all
    files of this call); other files are still written. Raises EntryNotFound if `path` does not exist, and
    StorageError if the directory cannot be written, is full, or has another writer. Other errors are in the
    summary.
    """
    drive = drive.snapshot()
    path = paths.normalize(path)
    entry = await drive.entry(path, follow=True)
    if entry is None and not await drive.is_folder(path):
        raise EntryNotFound(f"there is nothing at {path!a} in the drive")
    summary = Summary()

    def report(outcome: Outcome) -> None:
        summary.add(outcome)
        if on_outcome is not None:
            on_outcome(outcome)

    with ConfinedFolder(directory) as folder:
        extraction = _Extraction(drive, folder, paths.folder_prefix(path), pause, max_bytes)
        if entry is not None:
            report(await extraction.write(entry, path.rpartition("/")[2]))
            return summary

        def report_invalid(raw: bytes, error: InvalidContent) -> None:
            report(Outcome(raw.decode("utf-8", "surrogateescape"), "failed", reason=str(error)))

        async for found in drive.list(path, on_invalid=report_invalid):
            report(await extraction.write(found, found.path[len(extraction.prefix) :]))
    return summary


class _Extraction:
    """Writes one entry after the other."""

    def __init__(
        self, drive: Drive, folder: ConfinedFolder, prefix: str, pause: Pause | None, max_bytes: int | None
    ) -> None:
        self.prefix = prefix
        """Prefix removed from the paths."""
        self._drive = drive
        self._folder = folder
        self._taken: dict[str, str] = {}
        self._pause = pause
        self._bytes = 0
        self._left = max_bytes
        """Bytes that may still be written. None: no bound."""

    async def write(self, entry: Entry, place: str) -> Outcome:
        """Write an entry to `place`, relative to the directory."""
        *folder, name = (part.encode() for part in place.split("/"))
        try:
            self._claim(place)
            if entry.linkname:
                return await self._link(entry, folder, name)
            if await self._is_unchanged(entry, folder, name):
                return Outcome(entry.path, "unchanged", await self._drive.size(entry))
            return Outcome(entry.path, "written", await self._copy(entry, folder, name))
        except StorageError:
            raise
        except (PathConflict, HypercoreError) as error:
            return Outcome(entry.path, "failed", reason=str(error))
        finally:
            await self._passed(FILE_BYTES)

    async def _passed(self, size: int) -> None:
        self._bytes += size
        if self._bytes >= PAUSE_BYTES and self._pause is not None:
            self._bytes = 0
            await self._pause()

    def _claim(self, place: str) -> None:
        """Refuse a place that is ours, or one that another entry has got already under a name that looks
        the same."""
        first = place.partition("/")[0].encode()
        if first == PARTIAL or (self._folder.ignores_case and first.lower() == PARTIAL):
            raise PathConflict(f"the name {PARTIAL.decode()} is needed for what is not complete yet")
        if self._folder.ignores_case:
            folded = normalize_unicode("NFC", place).casefold()
            other = self._taken.setdefault(folded, place)
            if other != place:
                raise PathConflict(f"this file system cannot tell it from {other!a}")

    async def _link(self, entry: Entry, folder: list[bytes], name: bytes) -> Outcome:
        target = await self._local_target(entry)
        if self._folder.read_link(folder, name) == target:
            return Outcome(entry.path, "unchanged")
        self._folder.finish(self._folder.begin_link(target), folder, name)
        return Outcome(entry.path, "linked")

    async def _local_target(self, entry: Entry) -> bytes:
        """The target relative to the folder of the link.

        It goes up first and then only down. As the folders above the link are real ones, it cannot lead out
        of the directory, however the links in it are combined.
        """
        assert entry.linkname is not None
        target = await self._drive.link_target(entry)
        if target + "/" != self.prefix and not target.startswith(self.prefix):
            raise PathConflict(f"it leads out of the folder, to {entry.linkname[:200]!a}")
        here = entry.path[len(self.prefix) :].split("/")[:-1]
        there = [name for name in target[len(self.prefix) :].split("/") if name]
        common = 0
        while common < min(len(here), len(there)) and here[common] == there[common]:
            common += 1
        steps = [".."] * (len(here) - common) + there[common:]
        return "/".join(steps or ["."]).encode()

    async def _is_unchanged(self, entry: Entry, folder: list[bytes], name: bytes) -> bool:
        """Whether the file exists with equal content. Its executable bit is corrected."""
        found = self._folder.read(folder, name)
        if found is None:
            return False
        descriptor, status = found
        try:
            if status.st_size != await self._drive.size(entry):
                return False
            async for chunk in self._drive.read(entry):
                if _read(descriptor, len(chunk)) != chunk:
                    return False
                await self._passed(len(chunk))
            mode = status.st_mode & 0o777
            wanted = mode | (mode & 0o444) >> 2 if entry.executable else mode & ~0o111
            if wanted != mode:
                os.fchmod(descriptor, wanted)
            return True
        except OSError:
            return False  # write it again; an error is raised there
        finally:
            os.close(descriptor)

    def _require_room(self, size: int) -> None:
        """Raise Obstacle if `size` bytes must not be written.

        A few blocks can be terabytes of content: a block map may name the same block again and again.
        """
        if self._left is not None and size > self._left:
            left = size_text(self._left)
            raise PathConflict(f"it has {size_text(size)}, and {left} of what may be written are left")
        free = self._folder.free_bytes
        if size and size > free - KEPT_FREE_BYTES:
            kept = size_text(KEPT_FREE_BYTES)
            raise PathConflict(f"it has {size_text(size)}, and {size_text(free)} are free ({kept} stay free)")

    async def _copy(self, entry: Entry, folder: list[bytes], name: bytes) -> int:
        self._require_room(await self._drive.size(entry))
        descriptor, part = self._folder.begin(executable=entry.executable)
        size = 0
        try:
            try:
                async for chunk in self._drive.read(entry):
                    _write(descriptor, chunk)
                    size += len(chunk)
                    await self._passed(len(chunk))
            finally:
                os.close(descriptor)
        except OSError as error:
            self._folder.abandon(part)
            raise self._folder.problem(error, name) from None
        except BaseException:
            self._folder.abandon(part)
            raise
        self._folder.finish(part, folder, name)
        if self._left is not None:
            self._left -= size
        return size


def _read(descriptor: int, size: int) -> bytes:
    chunks: list[bytes] = []
    while size and (chunk := os.read(descriptor, size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
