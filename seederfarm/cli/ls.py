"""`seederfarm ls`: the files of a drive, the keys of a bee, the blocks of a core."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import click

from hypercore.drive import Drive, Entry
from hypercore.drive.drive import OnInvalid
from hypercore.errors import BlockNotAvailable, InvalidContent

from . import units
from .failures import Failure
from .options import GivenKey, key_argument
from .read_options import ReadOptions, read_options
from .reading import Content, reading


@click.command()
@key_argument("key")
@click.argument("path", required=False)
@click.option("-l", "--long", "long", is_flag=True, help="Sizes, executables and link targets, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@read_options
def ls(key: GivenKey, path: str | None, long: bool, as_json: bool, options: ReadOptions) -> None:
    """List what is in a drive: every file below PATH, however deep, with its whole path.

    Of a bee, the keys (that begin with PATH); of a core, its blocks.
    """

    async def show(content: Content) -> None:
        async for line in lines(content, path, long=long, as_json=as_json):
            click.echo(line)

    reading(key, options, show)


async def lines(content: Content, path: str | None, *, long: bool, as_json: bool) -> AsyncIterator[str]:
    """What to print for what the key names."""
    form = _json_line if as_json else _long_line if long else _short_line
    if content.drive is not None:
        async for entry in entries(content.drive, path or "/"):
            yield form(await describe(content.drive, entry))
    elif content.bee is not None:
        prefix = (path or "").encode()
        async for item in content.bee.iterate(gte=prefix):
            if not item.key.startswith(prefix):
                break
            yield form({"path": text(item.key), "size": len(item.value or b"")})
    else:
        if path is not None:
            raise Failure(f"{content.label} is a core: it has blocks and no paths")
        for index in range(content.source.length):
            yield form({"path": str(index), "size": len(await content.source.get(index))})


def warn(raw: bytes, error: InvalidContent) -> None:
    """An entry cannot be read: it is left out."""
    click.echo(f"seederfarm: left out {text(raw)}: {error}", err=True)


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
        raise Failure(f"nothing at {path} in the drive")


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


def text(raw: bytes) -> str:
    """Bytes for a screen: as text where they are text, escaped where they are not."""
    return raw.decode("utf-8", "backslashreplace").replace("\n", "\\n")


def _short_line(shown: dict[str, Any]) -> str:
    return str(shown["path"]).replace("\n", "\\n")


def _long_line(shown: dict[str, Any]) -> str:
    if "link" in shown:
        return f"{'link':>9}   {_short_line(shown)} → {shown['link']}"
    size = "?" if shown["size"] is None else units.size(shown["size"])
    return f"{size:>9} {'x' if shown.get('executable') else ' '} {_short_line(shown)}"


def _json_line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
