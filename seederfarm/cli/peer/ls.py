"""`seederfarm ls`: the files of a drive, the keys of a bee, the blocks of a core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click

from hypercore.drive import Drive, Entry
from hypercore.drive.drive import OnInvalid
from hypercore.errors import BlockNotAvailable, InvalidContent
from hypercore.printable import json_text, quoted, visible
from workers import units

from ..common import streams
from ..common.failures import Failure
from ..common.options import ContentPath, GivenKey, key_argument
from .content import Content, with_content
from .read_options import ReadOptions, read_options


@click.command()
@key_argument("key")
@click.argument("path", required=False, type=ContentPath())
@click.option("-l", "--long", "long", is_flag=True, help="Show sizes, executables and link targets.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@read_options
def ls(key: GivenKey, path: str | None, long: bool, as_json: bool, options: ReadOptions) -> None:
    """List every file of a drive below PATH, with its whole path.

    Of a bee, the keys (that begin with PATH); of a core, its blocks.
    """

    async def show(content: Content) -> None:
        async for line in lines(content, path, long=long, as_json=as_json):
            click.echo(line)

    with_content(key, options, show)


async def lines(content: Content, path: str | None, *, long: bool, as_json: bool) -> AsyncIterator[str]:
    """The lines to print for the content of a key."""
    form = _json_line if as_json else _long_line if long else _short_line
    if content.drive is not None:
        async for entry in entries(content.drive, path or "/"):
            yield form(await describe(content.drive, entry))
    elif content.bee is not None:
        prefix = (path or "").encode("utf-8", "surrogateescape")
        async for item in content.bee.iterate(gte=prefix):
            if not item.key.startswith(prefix):
                break
            yield form(_key(item.key) | {"size": len(item.value or b"")})
    else:
        if path is not None:
            raise Failure(f"{content.label} is a core: it has blocks and no paths")
        for index in range(content.blocks):
            yield form({"path": str(index), "size": len(await content.source.get(index))})


def warn(raw: bytes, error: InvalidContent) -> None:
    """Report an entry that cannot be read and is left out."""
    click.echo(f"seederfarm: left out {quoted(raw)}: {visible(error)}", err=True)


async def entries(drive: Drive, path: str, *, on_invalid: OnInvalid = warn) -> AsyncIterator[Entry]:
    """The file at `path`, or everything below it. Raises Failure if there is neither."""
    entry = await drive.entry(path)
    found = entry is not None
    if entry is not None:
        yield entry
    async for below in drive.list(path, on_invalid=on_invalid):
        found = True
        yield below
    if not found and not await drive.is_folder(path):
        raise Failure(f"nothing at {quoted(path)} in the drive")


async def describe(drive: Drive, entry: Entry) -> dict[str, Any]:
    """An entry as `ls` shows it."""
    if entry.linkname:
        return {"path": entry.path, "link": entry.linkname}
    size: int | None = entry.size
    if size is None:
        try:
            size = await drive.size(entry)
        except BlockNotAvailable:
            size = None
    shown: dict[str, Any] = {"path": entry.path, "size": size, "executable": entry.executable}
    if entry.metadata is not None:
        shown["metadata"] = entry.metadata
    return shown


def _key(raw: bytes) -> dict[str, Any]:
    """A key of a bee. JSON has no bytes: one that is not UTF-8 is also given in hex."""
    try:
        return {"path": raw.decode()}
    except UnicodeDecodeError:
        return {"path": raw, "hex": raw.hex()}


def _short_line(shown: dict[str, Any]) -> str:
    return quoted(shown["path"], encoding=streams.encoding())


def _long_line(shown: dict[str, Any]) -> str:
    encoding = streams.encoding()
    arrow = "→" if encoding.startswith("utf") else "->"
    path = quoted(shown["path"], encoding=encoding, apart=f" {arrow} ")
    if "link" in shown:
        return f"{'link':>9}   {path} {arrow} {quoted(shown['link'], encoding=encoding)}"
    size = "?" if shown["size"] is None else units.format_size(shown["size"])
    return f"{size:>9} {'x' if shown.get('executable') else ' '} {path}"


def _json_line(shown: dict[str, Any]) -> str:
    if isinstance(shown["path"], bytes):
        shown = shown | {"path": shown["path"].decode("utf-8", "backslashreplace")}
    return json_text(shown, encoding=streams.encoding())
