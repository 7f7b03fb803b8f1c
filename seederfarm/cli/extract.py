"""Writing the files of a drive into a folder.

Whoever wrote the drive chose the names and the links in it, so nothing here trusts them: no name leads out of
the folder, no link is followed on the way to a file, and a link is made only to a place inside. A file takes
its name when it is complete, never before.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeName(ValueError):
    """A name or a link that leads out of the folder, or through something that is not a folder."""


class Folder:
    """The folder that files are written into. Created when it is not there."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root

    @contextmanager
    def writing(self, path: str, *, executable: bool = False) -> Iterator[int]:
        """Gives a file descriptor to write the content of the file at `path` to.

        When the block ends well the file takes its name, replacing what had it; otherwise nothing is left
        behind. Raises UnsafeName, OSError.
        """
        *folders, name = _parts(path)
        with self._inside(folders) as parent:
            aside = f".{secrets.token_hex(8)}.part"
            mode = 0o777 if executable else 0o666  # less the umask
            descriptor = os.open(
                aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=parent
            )
            try:
                try:
                    yield descriptor
                finally:
                    os.close(descriptor)
                os.replace(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(aside, dir_fd=parent)
                raise

    def link(self, path: str, target: str) -> None:
        """Make a link at `path` to `target`, a path of the drive (absolute, resolved).

        Raises UnsafeName, OSError.
        """
        *folders, name = _parts(path)
        up = [".."] * len(folders)
        relative = str(PurePosixPath(*up, *_parts(target))) if target != "/" else "/".join(up) or "."
        with self._inside(folders) as parent:
            aside = f".{secrets.token_hex(8)}.part"
            os.symlink(relative, aside, dir_fd=parent)
            try:
                os.replace(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(aside, dir_fd=parent)
                raise

    @contextmanager
    def _inside(self, folders: list[str]) -> Iterator[int]:
        """A descriptor of the folder, made on the way; links in between are refused, not followed."""
        current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for position, folder in enumerate(folders):
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=current)
                try:
                    deeper = os.open(folder, _FOLDER_FLAGS, dir_fd=current)
                except OSError as error:
                    if error.errno in (errno.ENOTDIR, errno.ELOOP):
                        shown = "/".join(folders[: position + 1])
                        raise UnsafeName(
                            f"{shown} is there already and is no folder, so nothing can be put in it"
                        ) from None
                    raise
                os.close(current)
                current = deeper
            yield current
        finally:
            os.close(current)


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if parts[0] == "" and len(parts) > 1:
        parts = parts[1:]
    if not parts or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UnsafeName(f"{path!r} is not a path that stays inside the folder")
    return parts
