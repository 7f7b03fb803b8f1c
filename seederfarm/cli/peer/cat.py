"""`seederfarm cat`: the content of one file, the value of one key of a bee, one block of a core."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import click

from hypercore.errors import BlockNotAvailable
from hypercore.printable import quoted

from ..common.failures import BadInput, Failure
from ..common.options import ContentPath, GivenKey, key_argument
from .content import Content, with_content
from .read_options import ReadOptions, read_options


@click.command()
@key_argument("key")
@click.argument("path", type=ContentPath())
@read_options
def cat(key: GivenKey, path: str, options: ReadOptions) -> None:
    """Write the content of the file at PATH to stdout. Links are followed.

    Of a bee, PATH is a key and its value is written; of a core, PATH is the number of a block.
    """

    async def show(content: Content) -> None:
        out = sys.stdout.buffer
        async for chunk in chunks(content, path):
            out.write(chunk)
        out.flush()

    with_content(key, options, show)


async def chunks(content: Content, path: str) -> AsyncIterator[bytes]:
    """The content, in pieces. Raises Failure when there is none."""
    if content.drive is not None:
        entry = await content.drive.entry(path, follow=True)
        if entry is None:
            if await content.drive.is_folder(path):
                raise Failure(f"{quoted(path)} is a folder: `ls` lists it, `get` fetches it")
            raise Failure(f"no file {quoted(path)} in the drive")
        async for chunk in content.drive.read(entry):
            yield chunk
    elif content.bee is not None:
        item = await content.bee.get(path.encode("utf-8", "surrogateescape"))
        if item is None:
            raise Failure(f"no key {quoted(path)} in the bee")
        yield item.value or b""
    else:
        index = _block_number(content, path)
        try:
            yield await content.source.get(index)
        except BlockNotAvailable:
            raise Failure(f"block {index} is not here, and no peer that has it was found") from None


def _block_number(content: Content, path: str) -> int:
    if not (path.isascii() and path.isdigit()):
        raise BadInput(f"{content.label} is a core: PATH must be the number of a block, not {path!r}")
    index = int(path)
    if index >= content.blocks:
        raise Failure(f"{content.label} has {content.blocks:,} blocks: there is no block {index}")
    return index
