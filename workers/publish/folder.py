"""The content of a folder that a drive can hold: regular files and symbolic links, by path in the drive."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from hypercore.drive.paths import normalize
from hypercore.errors import HypercoreError, InvalidPath
from hypercore.printable import quoted

_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_REPLACED = (errno.ENOTDIR, errno.ELOOP)


class FolderUnreadable(HypercoreError):
    """The folder cannot be read. What was published stays."""

    code = "FOLDER_UNREADABLE"


class Fingerprint(NamedTuple):
    """File system metadata of a file. As long as it is equal, so is the content."""

    size: int
    """Bytes."""
    changed: int
    """Nanoseconds since the epoch: the inode's time of change, which no program can set back."""
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Fingerprint:
        """Return the fingerprint of a file with this `stat` result."""
        return cls(found.st_size, found.st_ctime_ns, found.st_ino)


class Item(NamedTuple):
    """A file, or with `target` a symbolic link."""

    fingerprint: Fingerprint
    executable: bool = False
    target: str | None = None


@dataclass(slots=True)
class Listing:
    """A folder at one moment."""

    items: dict[str, Item] = field(default_factory=dict)
    """By path in the drive."""
    problems: list[str] = field(default_factory=list)
    """What cannot be published, and why."""
    unknown: list[str] = field(default_factory=list)
    """Unreadable paths: what was published there, or below, stays."""

    folders: list[str] = field(default_factory=list)
    """Scanned folders, the empty path for the top. None is reached through a link."""

    def keeps(self, path: str) -> bool:
        """Whether `path` is unreadable or below something unreadable."""
        return any(path == held or path.startswith(held.rstrip("/") + "/") for held in self.unknown)


def scan(folder: Path, exclude: Sequence[str] = ()) -> Listing:
    """List everything below `folder`. Links are listed, not followed; devices, sockets and pipes are left
    out.

    `exclude` are glob patterns, matched against each name and each path (`*.tmp`, `.git`, `build/*`).
    Blocking: not for the event loop's thread. Raises FolderUnreadable if the folder itself cannot be read.
    """
    listing = Listing()
    pending = [""]
    while pending:
        path = pending.pop()
        try:
            listed = _list(listing, folder, path, exclude)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and path:
                continue  # it went while we looked
            if error.errno in _REPLACED and path:
                continue  # a link or file took its place: the next look lists that
            if not path:
                raise FolderUnreadable(f"cannot read {folder}: {error.strerror}") from error
            listing.problems.append(f"cannot read the folder {quoted(path)}: {error.strerror}")
            listing.unknown.append(path)
            continue
        listing.folders.append(path)
        pending += listed
    return listing


def _list(listing: Listing, folder: Path, parent: str, exclude: Sequence[str]) -> list[str]:
    """Add one directory's content. Returns the directories below it. Raises OSError."""
    descriptor = open_below(folder, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        return list(_take_in(listing, descriptor, parent, found, exclude))
    finally:
        os.close(descriptor)


def open_below(folder: Path, path: str, flags: int) -> int:
    """Open `path` (as in the drive) below the folder. No link is followed on the way: otherwise a writer of
    the folder could publish any file that we can read. Raises OSError.
    """
    if not path:
        return os.open(folder, flags | os.O_CLOEXEC)
    *above, name = path.split("/")[1:]
    current = os.open(folder, _PASS)
    try:
        for step in above:
            below = os.open(step, _PASS | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = below
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


def _take_in(
    listing: Listing, parent_fd: int, parent: str, entries: Sequence[os.DirEntry[str]], exclude: Sequence[str]
) -> Iterator[str]:
    for entry in entries:
        path = f"{parent}/{entry.name}"
        if _is_excluded(path, entry.name, exclude):
            continue
        reason = _unfit(path)
        if reason is not None:
            listing.problems.append(reason)
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield path
                continue
            item = _item(entry, parent_fd)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):  # it went while we looked
                listing.problems.append(f"cannot read {quoted(path)}: {error.strerror}")
                listing.unknown.append(path)
            continue
        if item is not None:
            listing.items[path] = item


def _item(entry: os.DirEntry[str], parent_fd: int) -> Item | None:
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return Item(Fingerprint.of(found), target=os.readlink(entry.name, dir_fd=parent_fd))
    if stat.S_ISREG(found.st_mode):
        return Item(Fingerprint.of(found), executable=bool(found.st_mode & stat.S_IXUSR))
    return None


def _is_excluded(path: str, name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(path[1:], pattern) for pattern in patterns)


def _unfit(path: str) -> str | None:
    """Why a drive cannot hold this path, or None."""
    shown = quoted(path)
    try:
        if normalize(path) == path:
            return None
    except InvalidPath as error:
        return f"cannot publish {shown}: {error}"
    return f"cannot publish {shown}: in a drive, a backslash separates folders"


def summary(problems: Sequence[str], limit: int = 3) -> str:
    """Problems as one line."""
    more = f", and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more
