"""Blocks of large cores: one flat file per core, each block at its byte offset in the core.

Reading and freeing belong to the thread that owns the store and to the flush in turn; `write` is the
flush's and uses descriptors of its own, so that no two threads ever share one.
"""

from __future__ import annotations

import errno
import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

from .base import BlockRun, Dropped
from .crash_points import CrashPoint, OnCrashPoint, ignore
from .disk_errors import disk_error
from .punch_hole import punch_hole

MAX_OPEN_FILES = 64
"""Block files kept open for reading. A flush has one more open at a time."""

WRITE_BYTES = 4 << 20
"""Bytes in one write, so that a flush of any size needs no second copy in memory."""

WRITE_BUFFERS = 1024
"""Buffers in one write (IOV_MAX of Linux)."""

SMALL_BLOCK = 4096
"""Blocks below this size are joined before they are written: a copy is cheaper than another buffer."""

_FAN_OUT = 256
_FILE_NAME = re.compile(r"([0-9a-f]{1,16})\.blocks")
_UNREADABLE = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)


class BlockFiles:
    def __init__(
        self, directory: Path, *, max_open: int = MAX_OPEN_FILES, on_step: OnCrashPoint = ignore
    ) -> None:
        self._directory = directory
        self._max_open = max_open
        self._open: OrderedDict[int, int] = OrderedDict()
        self._step = on_step

    def path(self, core_id: int) -> Path:
        return self._directory / f"{core_id % _FAN_OUT:02x}" / f"{core_id:x}.blocks"

    @property
    def open_files(self) -> int:
        """Number of descriptors kept for reading."""
        return len(self._open)

    # --- the thread of the store

    def read(self, core_id: int, offset: int, size: int) -> bytes | None:
        """Bytes of a file. None if it is shorter, missing, or the disk cannot read it."""
        try:
            descriptor = self._descriptor(core_id)
            data = os.pread(descriptor, size, offset)
            while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
                data += more
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _UNREADABLE:
                return None
            raise disk_error(error, f"cannot read {self.path(core_id)}") from error
        return data if len(data) == size else None

    def open_copy(self, core_id: int) -> int | None:
        """A descriptor for another thread, for the caller to close. None if the file is missing."""
        try:
            return os.dup(self._descriptor(core_id))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"cannot read {self.path(core_id)}") from error

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def close_files(self, core_id: int) -> None:
        """Closes the file of a core, if it is open."""
        descriptor = self._open.pop(core_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def _descriptor(self, core_id: int) -> int:
        descriptor = self._open.get(core_id)
        if descriptor is not None:
            self._open.move_to_end(core_id)
            return descriptor
        while len(self._open) >= self._max_open:
            os.close(self._open.popitem(last=False)[1])
        descriptor = self._open[core_id] = os.open(self.path(core_id), os.O_RDONLY)
        return descriptor

    # --- the thread of the flush

    def write(self, core_id: int, runs: Iterable[BlockRun], *, create: bool) -> None:
        """Writes runs and syncs them. With `create` the file starts empty, whatever was there."""
        path = self.path(core_id)
        # A deleted file has lost its blocks. Reads find that out: no reason to fail
        create = create or not path.exists()
        try:
            descriptor = self._open_to_write(path, create)
            try:
                for run in runs:
                    self._write_run(descriptor, str(path), run)
                self._step(CrashPoint.SYNC, str(path))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            if create:
                self._step(CrashPoint.SYNC_DIRECTORY, str(path))
                sync_directory(path.parent)
            self._step(CrashPoint.SYNCED, str(path))
        except OSError as error:
            raise disk_error(error, f"cannot write {path}") from error

    def free(self, core_id: int, dropped: Iterable[Dropped]) -> None:
        """Free disk space. Errors are ignored: unfreed space is harmless."""
        path = self.path(core_id)
        try:
            descriptor = os.open(path, os.O_WRONLY)
        except OSError:
            return
        try:
            size = os.fstat(descriptor).st_size
            for run in dropped:
                if run.byte_start is None or run.byte_start >= size:
                    continue
                self._step(CrashPoint.FREE, str(path), run.byte_start)
                if run.byte_end is None or run.byte_end >= size:
                    os.ftruncate(descriptor, run.byte_start)
                    size = run.byte_start
                else:
                    punch_hole(descriptor, run.byte_start, run.byte_end - run.byte_start)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def remove(self, core_id: int) -> None:
        """Delete a file. If that fails, `sweep` deletes it at the next start."""
        path = self.path(core_id)
        self._step(CrashPoint.UNLINK, str(path))
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return

    def sweep(self, known: set[int]) -> int:
        """Delete the files of cores that do not exist, left by a crash. Returns their number."""
        count = 0
        for core_id, entry in self._files():
            if core_id not in known:
                Path(entry).unlink(missing_ok=True)
                count += 1
        return count

    def count(self) -> int:
        """Number of block files."""
        return sum(1 for _ in self._files())

    def disk_bytes(self) -> int:
        """Bytes of disk that the files take; holes do not count."""
        return sum(entry.stat().st_blocks * 512 for _, entry in self._files())

    def _files(self) -> Iterator[tuple[int, os.DirEntry[str]]]:
        if not self._directory.is_dir():
            return
        with os.scandir(self._directory) as folders:
            for folder in folders:
                if len(folder.name) != 2 or not folder.is_dir(follow_symlinks=False):
                    continue
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if match := _FILE_NAME.fullmatch(entry.name):
                            yield int(match[1], 16), entry

    def _open_to_write(self, path: Path, create: bool) -> int:
        flags = os.O_WRONLY
        if not create:
            return os.open(path, flags)
        self._step(CrashPoint.CREATE_FILE, str(path))
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(path.parent.parent)
        return os.open(path, flags | os.O_CREAT | os.O_TRUNC, 0o600)

    def _write_run(self, descriptor: int, path: str, run: BlockRun) -> None:
        offset = run.offset
        for buffers in _portions(run.blocks):
            size = sum(map(len, buffers))
            self._step(CrashPoint.WRITE, path, offset, size)
            if size < SMALL_BLOCK * len(buffers):
                buffers = [b"".join(buffers)]
            written = os.pwritev(descriptor, buffers, offset)
            while written < size:  # a partial write: the next one raises the error
                rest = b"".join(buffers)[written:]
                written += os.pwrite(descriptor, rest, offset + written)
            self._step(CrashPoint.WROTE, path, offset, size)
            offset += size


def _portions(blocks: list[bytes]) -> Iterator[list[bytes]]:
    """Blocks in portions that one write takes."""
    portion: list[bytes] = []
    size = 0
    for block in blocks:
        if portion and (len(portion) == WRITE_BUFFERS or size + len(block) > WRITE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(block)
        size += len(block)
    if portion:
        yield portion


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
