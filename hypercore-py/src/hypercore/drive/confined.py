"""Writes below one directory, and nowhere else.

Every name is opened relative to the descriptor of the folder above it, and symbolic links are not followed:
neither an existing one nor one made later can lead a write out of the directory. A path may be longer than
one system call accepts. Files are created under a temporary name and renamed when complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..errors import StoreFull, StoreLocked, StoreUnreadable

PARTIAL = b".hypercore-partial"
"""Folder below the directory for incomplete files. Removed when there are none."""

_PART = b"part-"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class PathConflict(Exception):
    """One file cannot be written; the text has the reason. Others may still be written."""


class ConfinedFolder:
    """The directory. A context manager, which locks it against a second writer.

    Names are UTF-8 bytes without slashes. Methods raise PathConflict for errors of one name, StoreFull when
    the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = -1
        self._partial = -1
        self._folder = -1
        self._names: tuple[bytes, ...] = ()
        self._count = 0
        self.ignores_case = False
        """Whether the file system ignores case in names."""

    def __enter__(self) -> ConfinedFolder:
        """Create the directory. Raises StoreLocked, StoreFull, or StoreUnreadable if it cannot be written."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._open_partial()
        except OSError as error:
            self._close()
            if error.errno in _FULL:
                raise StoreFull(f"no room left in {self._directory}") from None
            raise StoreUnreadable(f"cannot write in {self._directory}: {error.strerror}") from None
        except StoreLocked:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_parts()
        with suppress(OSError):  # it has files of another program
            os.rmdir(PARTIAL, dir_fd=self._root)
        self._close()

    @property
    def free_bytes(self) -> int:
        """Free bytes of the file system."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def read(self, folder: Sequence[bytes], name: bytes) -> tuple[int, os.stat_result] | None:
        """A descriptor of an existing regular file, and its metadata; None if there is none."""
        try:
            descriptor = os.open(name, _READ_FLAGS, dir_fd=self._enter(folder, create=False))
        except (OSError, PathConflict):
            return None
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            return descriptor, found
        os.close(descriptor)
        return None

    def read_link(self, folder: Sequence[bytes], name: bytes) -> bytes | None:
        """The target of an existing symbolic link; None if there is none."""
        try:
            return os.readlink(name, dir_fd=self._enter(folder, create=False))
        except (OSError, PathConflict):
            return None

    def begin(self, *, executable: bool) -> tuple[int, bytes]:
        """A descriptor of a new empty file, and its temporary name."""
        part = self._next_part()
        try:
            mode = 0o777 if executable else 0o666
            return os.open(part, _CREATE_FLAGS, mode, dir_fd=self._partial), part
        except OSError as error:
            raise self.problem(error, part) from None

    def begin_link(self, target: bytes) -> bytes:
        """The temporary name of a new symbolic link."""
        part = self._next_part()
        try:
            os.symlink(target, part, dir_fd=self._partial)
        except OSError as error:
            raise self.problem(error, target) from None
        return part

    def finish(self, part: bytes, folder: Sequence[bytes], name: bytes) -> None:
        """Rename a begun file to its place. It replaces a file or link; a folder there raises
        PathConflict."""
        try:
            descriptor = self._enter(folder, create=True)
            os.rename(part, name, src_dir_fd=self._partial, dst_dir_fd=descriptor)
        except (OSError, PathConflict) as error:
            self.abandon(part)
            if isinstance(error, OSError):
                raise self.problem(error, name) from None
            raise

    def abandon(self, part: bytes) -> None:
        """Remove a begun file."""
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=self._partial)

    def problem(self, error: OSError, name: bytes) -> PathConflict | StoreFull:
        """The exception for a system error about `name`."""
        if error.errno in _FULL:
            return StoreFull(f"no room left in {self._directory}")
        if error.errno == errno.ENAMETOOLONG:
            return PathConflict(f"a name of {len(name)} bytes is too long for this file system")
        if error.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
            return PathConflict("a folder is in the way")
        return PathConflict(error.strerror or str(error))

    # --- internal

    def _enter(self, folder: Sequence[bytes], *, create: bool) -> int:
        """A descriptor of a folder below the directory, valid until the next call. `create` makes missing
        ones."""
        names = tuple(folder)
        if names == self._names and self._folder >= 0:
            return self._folder
        # Drives are listed in order of paths, so the last folder is often above this one
        known = len(self._names) if self._folder >= 0 and names[: len(self._names)] == self._names else 0
        current = os.dup(self._folder if known else self._root)
        try:
            for name in names[known:]:
                below = self._enter_one(current, name, create)
                os.close(current)
                current = below
        except BaseException:
            os.close(current)
            raise
        self._leave()
        self._folder, self._names = current, names
        return current

    def _enter_one(self, parent: int, name: bytes, create: bool) -> int:
        try:
            if create:
                try:
                    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
                except FileNotFoundError:
                    os.mkdir(name, dir_fd=parent)
            return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise PathConflict(
                    f"{_kind(name, parent)} named {_shown(name)} is in the way of a folder"
                ) from None
            raise self.problem(error, name) from None

    def _leave(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
        self._folder, self._names = -1, ()

    def _open_partial(self) -> None:
        while True:
            with suppress(FileExistsError):
                os.mkdir(PARTIAL, 0o700, dir_fd=self._root)
            try:
                self._partial = os.open(PARTIAL, _FOLDER_FLAGS, dir_fd=self._root)
                fcntl.flock(self._partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_partial(PARTIAL):
                    break
            except FileNotFoundError:
                pass
            except BlockingIOError:
                raise StoreLocked(f"another program is writing in {self._directory}") from None
            # The last writer has just removed it: make it again
            if self._partial >= 0:
                os.close(self._partial)
                self._partial = -1
        self._remove_parts()
        self.ignores_case = self._is_partial(PARTIAL.upper())

    def _is_partial(self, name: bytes) -> bool:
        try:
            found = os.stat(name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._partial))

    def _remove_parts(self) -> None:
        """Remove files left by a killed writer."""
        with os.scandir(self._partial) as found:
            parts = [os.fsencode(item.name) for item in found]
        for part in parts:
            if part.startswith(_PART):
                self.abandon(part)

    def _next_part(self) -> bytes:
        self._count += 1
        return _PART + str(self._count).encode()

    def _close(self) -> None:
        self._leave()
        for descriptor in (self._partial, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._partial = self._root = -1


def _kind(name: bytes, parent: int) -> str:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return ascii(text if len(text) <= 60 else text[:57] + "...")
