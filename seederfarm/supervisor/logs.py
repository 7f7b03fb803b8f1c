"""Logs of the farm's processes: a file each, every line with its time, rotated by size."""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

MAX_BYTES: Final = 5 * 1024 * 1024
"""Bytes at which a log is rotated."""

KEPT: Final = 3
"""Rotated logs that are kept."""

MAX_LINE: Final = 64 * 1024
"""Bytes of a line; longer ones are split."""

_ERROR: Final = re.compile(r"\b(ERROR|CRITICAL|FATAL|Traceback|Error:|Exception:)|\d{3} # |\bpanic\b")


class LogFile:
    """Writes a process's output, in pieces of any size."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        max_bytes: int = MAX_BYTES,
        kept: int = KEPT,
    ) -> None:
        self.path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._kept = kept
        self._rest = b""
        self._file = self._open()

    def _open(self) -> IO[bytes]:
        file = self.path.open("ab", buffering=0)
        self.path.chmod(0o600)
        self._size = file.tell()
        return file

    def feed(self, data: bytes) -> None:
        """Add output of the process. Each line gets a time (UTC); lines above MAX_LINE bytes are broken. A
        full disk is no error."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        if lines:
            self._write(lines)

    def line(self, text: str) -> None:
        """Write a line of the supervisor."""
        self._write([text.encode()])

    def _write(self, lines: Iterable[bytes]) -> None:
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
        written = b"".join(stamp + line.rstrip(b"\r") + b"\n" for line in lines)
        if self._size and self._size + len(written) > self._max_bytes:
            self._rotate()
        try:
            self._file.write(written)
            self._size += len(written)
        except OSError:
            pass  # a full disk must not stop what is being logged

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept, 0, -1):
            older = rotated(self.path, number)
            newer = rotated(self.path, number - 1)
            if newer.exists():
                newer.replace(older)
        self._file = self._open()

    def close(self) -> None:
        """Write an unfinished line and close the file."""
        if self._rest:
            self._write([self._rest])
            self._rest = b""
        self._file.close()


def rotated(path: Path, number: int) -> Path:
    """Path of the log (0) or of one of its older files (1 is the newest of them)."""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


class Line(NamedTuple):
    """A line of a log: `at` is UTC in ISO 8601."""

    at: str
    process: str
    text: str

    @property
    def is_error(self) -> bool:
        """Whether it reports an error, by the words that Python, Django, Celery and Redis use."""
        return _ERROR.search(self.text) is not None


def names(folder: Path) -> list[str]:
    """Processes that have a log."""
    return sorted(path.stem for path in folder.glob("*.log"))


def read(folder: Path, wanted: Iterable[str]) -> Iterator[Line]:
    """All kept lines of these processes, the oldest first."""
    return heapq.merge(*(_lines(folder / f"{name}.log", name) for name in wanted), key=lambda line: line.at)


def _lines(path: Path, name: str) -> Iterator[Line]:
    for number in range(KEPT, -1, -1):
        try:
            with rotated(path, number).open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    yield parse(line, name)
        except OSError:
            continue


def parse(line: str, name: str) -> Line:
    """Split a line as `LogFile` writes it. `name` is that of the process."""
    at, _, text = line.rstrip("\n").partition(" ")
    return Line(at, name, text)


class Follower:
    """Lines that are added to a log from now on, across rotations."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._file: IO[str] | None = None
        self._rest = ""
        self._reopen(at_end=True)

    def _reopen(self, *, at_end: bool) -> None:
        if self._file is not None:
            self._file.close()
        try:
            self._file = self.path.open(encoding="utf-8", errors="replace")
        except OSError:
            self._file = None
            return
        if at_end:
            self._file.seek(0, 2)

    def read(self) -> list[Line]:
        """The lines since the last call, over a rotation as well."""
        lines = self._take()
        if self._was_rotated():
            self._reopen(at_end=False)
            lines += self._take()
        return lines

    def _take(self) -> list[Line]:
        if self._file is None:
            return []
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        return [parse(line, self.name) for line in whole]

    def _was_rotated(self) -> bool:
        try:
            now = self.path.stat()
        except OSError:
            return False
        if self._file is None:
            return True
        return os.fstat(self._file.fileno()).st_ino != now.st_ino

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
