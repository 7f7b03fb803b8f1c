"""A folder of a drive as a ZIP archive, made while it is read.

Contents are stored, not compressed: most files of drives are compressed already. Sizes follow each file (data
descriptors), so nothing is kept but the directory of the archive.
"""

from __future__ import annotations

import posixpath
import stat
import zipfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import IO, Final, cast

from hypercore.drive import Drive, Entry
from hypercore.drive.paths import folder_prefix
from hypercore.errors import InvalidContent

from .failures import ReadingFailed
from .paths import Found
from .runs import Chunk

MAX_FILES: Final = 100_000
"""Files of an archive: its directory is kept until the end, half a kilobyte each. Ours."""
MAX_NAMES_BYTES: Final = 32 << 20
"""Bytes of their names. Ours."""
MAX_NAME: Final = 65_535 - 4
"""Bytes of a name that the format holds."""
_MADE: Final = (1980, 1, 1, 0, 0, 0)
"""The time of all files: drives keep none."""
_WRITABLE: Final = 0o644
_EXECUTABLE: Final = 0o755

ReadFile = Callable[[Entry], AsyncGenerator[Chunk, None]]


class _Sink:
    """Takes what `zipfile` writes. It cannot seek, so `zipfile` writes sizes behind the contents."""

    def __init__(self) -> None:
        self._parts: list[Chunk] = []

    def write(self, data: Chunk) -> int:
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> Chunk:
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def count(found: Found) -> int:
    """Files below the folder. Raises ReadingFailed above the bounds."""
    files = names = 0
    async for entry in _entries(found):
        files += 1
        names += len(entry.path.encode())
        if files > MAX_FILES or names > MAX_NAMES_BYTES:
            raise ReadingFailed(
                "too_large",
                f"The folder has more than {MAX_FILES:,} files, or too long names, for one ZIP. Take its "
                "folders one by one, or use `seederfarm get`.",
            )
    return files


async def archive(found: Found, read_file: ReadFile) -> AsyncGenerator[Chunk, None]:
    """The bytes of the archive. Raises HypercoreErrors, after which what came is no archive."""
    sink = _Sink()
    root = folder_prefix(found.facts.path.rstrip("/") or "/")
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED) as made:
        async with aclosing(_entries(found)) as entries:
            async for entry in entries:
                name = entry.path[len(root) :]
                if len(name.encode()) > MAX_NAME:
                    raise InvalidContent(f"the name {name[:50]!a}… is too long for a ZIP")
                if entry.linkname:
                    await _write_link(made, found.view, entry, root, name)
                    continue
                async with aclosing(_write_file(made, found.view, entry, name, sink, read_file)) as parts:
                    async for part in parts:
                        yield part
    yield sink.take()


def _entries(found: Found) -> AsyncGenerator[Entry, None]:
    return found.view.list(found.facts.path.rstrip("/") or "/", on_invalid=_leave_out)


def _leave_out(raw: bytes, error: InvalidContent) -> None:
    """Such an entry is no file. Listings count them."""


async def _write_file(
    made: zipfile.ZipFile, view: Drive, entry: Entry, name: str, sink: _Sink, read_file: ReadFile
) -> AsyncGenerator[Chunk, None]:
    info = _info(name, stat.S_IFREG | (_EXECUTABLE if entry.executable else _WRITABLE))
    info.file_size = await view.size(entry)  # decides on 64 bits
    with made.open(info, "w") as written:
        async with aclosing(read_file(entry)) as chunks:
            async for chunk in chunks:
                written.write(chunk)
                yield sink.take()
    yield sink.take()


async def _write_link(made: zipfile.ZipFile, view: Drive, entry: Entry, root: str, name: str) -> None:
    """A link that stays inside the folder; others are left out."""
    try:
        target = await view.link_target(entry)
    except InvalidContent:
        return
    if target.startswith(root):
        info = _info(name, stat.S_IFLNK | 0o777)
        made.writestr(info, posixpath.relpath(target, posixpath.dirname(entry.path)).encode())


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _MADE)
    info.create_system = 3  # Unix: the mode counts
    info.external_attr = mode << 16
    return info
