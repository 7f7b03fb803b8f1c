"""Makes standard output and error safe for anything they are connected to.

An encoding other than UTF-8, a closed descriptor, a full disk, a closed or non-blocking pipe: none of these
ends in a traceback, and a command whose output could not be written ends with status 1.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any

STDOUT = "standard output"
"""Its name in messages."""

_DEFAULT_ENCODING = "utf-8"


def prepare() -> bool:
    """Replace the standard streams. Returns False where they are replaced already (by a test runner).

    A missing descriptor is filled first: otherwise the next file that is opened (a database) would take its
    number, and get the output.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return False
    # Of a closed stdin nothing is read, to a closed stdout nothing can be written: that is an error, as
    # elsewhere. What goes to a closed stderr is gone.
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _fill(number, flags)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stdout = _text(_Stdout(1, "w", closefd=False), sys.stdout, line_buffering=_is_terminal(sys.stdout))
    sys.stderr = _text(_Stderr(2, "w", closefd=False), sys.stderr, line_buffering=True)
    return True


def are_one() -> bool:
    """Whether stdout and stderr are connected to the same terminal, pipe or file."""
    try:
        return os.path.sameopenfile(1, 2)
    except OSError:  # one of them is closed
        return False


def finish(status: int) -> int:
    """Flush. Returns the exit status: 1 in place of 0 if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes again when it ends: let that succeed.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        with suppress(OSError):
            sys.stdout.flush()
        if status == 0:
            if not isinstance(error, BrokenPipeError):
                print(f"seederfarm: {STDOUT}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 1
    return status


def encoding() -> str:
    """Encoding of standard output."""
    return (
        getattr(sys.stdout, "real_encoding", None)
        or getattr(sys.stdout, "encoding", None)
        or _DEFAULT_ENCODING
    )


def stdout_is_closed() -> bool:
    """Whether standard output was closed when the program started."""
    try:
        return fcntl.fcntl(sys.stdout.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except (OSError, ValueError, AttributeError):  # no file at all: a test's buffer
        return False


class _Stdout(io.FileIO):
    """Names itself in errors, and waits where its descriptor does not block."""

    def write(self, data: Any, /) -> int:
        while True:
            try:
                written = super().write(data)
            except OSError as error:
                raise type(error)(error.errno, error.strerror, STDOUT) from None
            if written is not None:
                return written
            select.select((), (self,), ())


class _Stderr(io.FileIO):
    """Text that cannot be written is lost: there is nowhere else to report it."""

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


class _Text(io.TextIOWrapper):
    """Escapes characters that the encoding lacks."""

    @property
    def real_encoding(self) -> str:
        return super().encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        # click writes UTF-8 to a stream with the encoding ASCII; this one has another name of a small set
        found = super().encoding
        return "iso-8859-1" if codecs.lookup(found).name == "ascii" else found


def _text(raw: io.FileIO, like: Any, *, line_buffering: bool) -> _Text:
    return _Text(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or _DEFAULT_ENCODING,
        errors="backslashreplace",
        line_buffering=line_buffering,
    )


def _fill(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, flags)  # takes the lowest free number, which is this one


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False
