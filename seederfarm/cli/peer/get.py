"""`seederfarm get`: files of a drive, written into a folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from hypercore.drive import Drive
from hypercore.drive.extract import Outcome, Summary, extract
from hypercore.errors import BlockNotAvailable, InvalidContent
from hypercore.printable import quoted, visible
from workers import units

from ..common.failures import Failure
from ..common.options import ContentPath, GivenKey, SizeType, key_argument
from .content import Content, with_content
from .ls import entries
from .read_options import ReadOptions, read_options
from .waiting import Waiting

MAX_MAPS = 256
"""Block maps that are read before the first file is written, to compute the total size. Ours."""

MAP_TIMEOUT = 2.0
"""Seconds for each of them. A file is fetched whether or not its size is known."""


@click.command()
@key_argument("key")
@click.argument("path", default="/", type=ContentPath())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder to write to; created if it does not exist.",
)
@click.option(
    "--max-bytes",
    type=SizeType(),
    metavar="SIZE",
    help="Write at most this much content: 500G, 64MiB. Without it, as much as the file system has free.",
)
@read_options
def get(key: GivenKey, path: str, output: Path, max_bytes: int | None, options: ReadOptions) -> None:
    """Download the file at PATH, or everything below it (without PATH: the whole drive), into DIR.

    Nothing is written outside DIR. A file gets its name when it is complete, and an
    existing one with the same content stays, so that an interrupted `get` continues. A file that no peer has,
    or that does not fit the free space or the rest of --max-bytes, is named and not written.
    """

    counts = FileCounts()

    async def fetch(content: Content) -> None:
        if content.drive is None:
            raise Failure(f"{content.label} is a {content.kind}, and `get` is for drives: `cat` reads it")
        drive = content.drive.snapshot()
        content.waiting = Waiting(options.timeout)
        with progress(await total_of(drive, path, counts)) as content.on_bytes:
            summary = await extract(
                drive,
                output,
                path,
                on_outcome=counts.add,
                pause=lambda: asyncio.sleep(0),
                max_bytes=max_bytes,
            )
        click.echo(summary_line(summary, output), err=True)
        if summary.failed:
            raise Failure(f"{units.plural(summary.failed, 'file')} could not be written (see above)")

    with_content(key, options, fetch, late=lambda: counts.left(output))


class FileCounts:
    """Counts of the files so far."""

    def __init__(self) -> None:
        self.files = 0
        """Entries written, links included."""
        self._summary = Summary()

    def add(self, outcome: Outcome) -> None:
        """Count a file, and name it on stderr if it was not written."""
        report_failure(outcome)
        self._summary.add(outcome)

    def left(self, output: Path) -> str | None:
        """The files missing at the timeout, as text; None before any is known."""
        done = self._summary
        here = done.written + done.linked + done.unchanged
        if not self.files:
            return None
        return (
            f"{here:,} of {units.plural(self.files, 'file')} are in {quoted(str(output))}, "
            f"and {done.failed:,} could not be downloaded; another `get` continues from there"
        )


async def total_of(drive: Drive, path: str, counts: FileCounts) -> int:
    """Bytes of content at and below `path`. Raises Failure if there is nothing.

    Maps of deduplicated files give their sizes. MAX_MAPS of them are read: the sum is only for the progress
    bar.
    """
    total = maps = 0
    async for entry in entries(drive, path, on_invalid=_ignore):
        counts.files += 1
        if entry.size is not None:
            total += entry.size
        elif maps < MAX_MAPS:
            maps += 1
            try:
                async with asyncio.timeout(MAP_TIMEOUT):
                    total += await drive.size(entry)
            except (InvalidContent, BlockNotAvailable):
                pass
            except TimeoutError:
                maps = MAX_MAPS  # the others would not come any sooner
    return total


def report_failure(outcome: Outcome) -> None:
    """Print a line if an entry could not be written."""
    if outcome.result == "failed":
        reason = visible(outcome.reason)
        click.echo(f"seederfarm: left out {quoted(outcome.path)}: {reason}", err=True)


def summary_line(summary: Summary, output: Path) -> str:
    """One line with the result."""
    parts = [f"{units.plural(summary.written, 'file')} ({units.format_size(summary.bytes_written)})"]
    if summary.linked:
        parts.append(units.plural(summary.linked, "link"))
    if summary.unchanged:
        parts.append(f"{summary.unchanged:,} there already")
    return f"{', '.join(parts)} in {quoted(str(output))}"


def _ignore(raw: bytes, error: InvalidContent) -> None:
    """Broken entries are reported when they are written."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal. Yields a function to call with bytes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
