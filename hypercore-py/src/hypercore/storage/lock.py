"""One process per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import StoreLocked
from .disk_errors import disk_error


class DirectoryLock:
    """Held until `release` or the end of the process (the kernel releases it)."""

    def __init__(self, directory: Path) -> None:
        """Take the lock. Raises StoreLocked, which names the directory and the holder, or StoreUnreadable."""
        path = directory / "lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error, f"cannot open {path}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            by = f" (process {holder})" if holder else ""
            raise StoreLocked(f"data directory {directory} is in use by another process{by}") from None
        except OSError as error:
            os.close(self._descriptor)
            raise disk_error(error, f"cannot lock {path}") from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the lock holds without our process id in it

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
