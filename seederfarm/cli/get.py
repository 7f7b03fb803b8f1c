"""`seederfarm get`: files of a drive, written into a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from hypercore.drive import Drive, Entry
from hypercore.drive.paths import link_targets
from hypercore.errors import InvalidContent

from . import units
from .extract import Folder, UnsafeName
from .failures import Failure
from .ls import describe, entries
from .options import GivenKey, key_argument
from .reading import Content, ReadOptions, read_options, reading

Advance = Callable[[int], None]


@click.command()
@key_argument("key")
@click.argument("path", default="/")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to write. Created if need be; files get their whole path below it.",
)
@read_options
def get(key: GivenKey, path: str, output: Path, options: ReadOptions) -> None:
    """Fetch the file at PATH, or everything below it (without PATH: all there is), and write it below DIR.

    Nothing is written outside of DIR, and a file appears when it is complete. Files of the same name are
    replaced.
    """

    async def fetch(content: Content) -> None:
        if content.drive is None:
            raise Failure(f"{content.label} is a {content.kind}, and `get` is for drives: `cat` reads it")
        wanted = [entry async for entry in entries(content.drive, path)]
        sizes = [(await describe(content.drive, entry)).get("size") or 0 for entry in wanted]
        folder = Folder(output)
        with progress(len(wanted), sum(sizes)) as (advance, advance_file):
            failed = 0
            for entry in wanted:
                failed += not await write(content.drive, entry, folder, advance)
                advance_file()
        written = len(wanted) - failed
        click.echo(f"{units.plural(written, 'file')}, {units.size(sum(sizes))}, in {output}", err=True)
        if failed:
            raise Failure(f"{units.plural(failed, 'file')} could not be written (see above)")

    reading(key, options, fetch)


async def write(drive: Drive, entry: Entry, folder: Folder, advance: Advance) -> bool:
    """Write one file or link. False, after a word about it, if its name or content makes that impossible."""
    try:
        if entry.linkname:
            folder.link(entry.path, await target_of(drive, entry.path, entry.linkname))
        else:
            with folder.writing(entry.path, executable=entry.executable) as descriptor:
                async for chunk in drive.read(entry):
                    write_all(descriptor, chunk)
                    advance(len(chunk))
    except (UnsafeName, InvalidContent) as error:
        click.echo(f"seederfarm: left out {entry.path}: {error}", err=True)
        return False
    return True


async def target_of(drive: Drive, path: str, linkname: str) -> str:
    """Where in the drive the link at `path` leads. Raises InvalidContent for a link that leads out of it."""
    candidates = link_targets(path, linkname)
    for target in candidates:
        if await drive.exists(target) or await drive.is_folder(target):
            return target
    return candidates[-1]  # nowhere: made all the same, as a file system would see it


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def progress(files: int, size: int) -> Iterator[tuple[Advance, Callable[[], None]]]:
    """Progress on stderr when somebody looks at it: gives what to call for bytes, and for files."""
    console = Console(stderr=True)
    if not console.is_terminal or not sys.stderr.isatty():
        yield (lambda _: None), (lambda: None)
        return
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, DownloadColumn(), TransferSpeedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"fetching {units.plural(files, 'file')}", total=size)
        yield (lambda count: bar.advance(task, count)), (lambda: None)
