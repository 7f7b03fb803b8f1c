"""Foreseeable failures become one line and an exit status; only bugs show a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from hypercore.errors import HypercoreError, KeyFormatError
from hypercore.printable import visible


class Failure(click.ClickException):
    """The command failed. `message` has the cause, what was kept, and what to do."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error to stderr, or `file`, with texts of others escaped."""
        # Names are quoted by the caller; this escapes other repeated text
        lines = (visible(line) for line in self.format_message().split("\n"))
        click.echo("seederfarm: " + "\n".join(lines), file=file, err=file is None)


class BadInput(Failure):
    """Invalid input on the command line, or in a file it names."""

    exit_code = 2


INTERRUPTED = 130
"""Exit status after Ctrl-C where a command does not end in an orderly way by itself: 128 + SIGINT."""


@contextmanager
def interrupts() -> Iterator[None]:
    """Handle Ctrl-C while a command starts, and in commands that do not handle it."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("seederfarm: stopped", err=True)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Turn errors that are not bugs into a `Failure`."""
    try:
        yield
    except KeyFormatError as error:
        raise BadInput(str(error)) from error
    except HypercoreError as error:
        raise Failure(str(error) or error.code) from error
    except BrokenPipeError:
        raise  # click ends quietly on it: the reader of our output has gone
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror or error}") from error
