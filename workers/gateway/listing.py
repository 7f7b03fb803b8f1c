"""The names in a folder: a page of them, or sorted and searched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

from hypercore.drive import Entry
from hypercore.errors import InvalidContent

from .failures import ReadingFailed
from .paths import Found
from .protocol import MAX_ITEMS, MAX_LISTED_BYTES, MAX_SEARCH, Item, List, Listing, Order

MAX_LEFT_OUT: Final = 10_000
"""Broken entries after which a listing ends. Ours."""
MAX_EXAMINED: Final = 10_000
"""Names of a folder that are sorted or searched. Ours: a second."""
MAX_SORTED_BYTES: Final = 4 << 20
"""Bytes of names and targets that are sorted at most. Ours."""
TURN: Final = 200
"""Names after which others have a turn."""


async def listing(found: Found, wanted: List) -> Listing:
    """A page of a folder, or its first items in another order. Bounded in items and bytes."""
    left_out = 0

    def broken(raw: bytes, error: InvalidContent) -> None:
        nonlocal left_out
        left_out += 1
        if left_out > MAX_LEFT_OUT:
            raise ReadingFailed("invalid", "The publisher wrote too many entries that cannot be read.")

    after = wanted.after if wanted.is_paged else None
    below = found.view.readdir(found.facts.path, after=after, on_invalid=broken)
    limit = max(1, min(wanted.limit, MAX_ITEMS))
    async with aclosing(below):
        if wanted.is_paged:
            items: list[Item] = []
            size, more = 0, False
            async for name, entry in below:
                if len(items) >= limit or size > MAX_LISTED_BYTES:
                    more = True
                    break
                items.append(_item(name, entry))
                size += _bytes(items[-1])
            return Listing(items=items, more=more, left_out=left_out)
        kept: list[Item] = []
        text = wanted.text[:MAX_SEARCH].casefold()
        examined, size, is_cut = 0, 0, False
        async for name, entry in below:
            if examined >= MAX_EXAMINED or size > MAX_SORTED_BYTES:
                is_cut = True
                break
            examined += 1
            if examined % TURN == 0:
                await asyncio.sleep(0)
            if text in name.casefold():
                kept.append(_item(name, entry))
                size += _bytes(kept[-1])
    items = _first(_in_order(kept, wanted.order), limit)
    more = len(items) < len(kept)
    return Listing(items=items, more=more, left_out=left_out, examined=examined if is_cut else None)


def _in_order(items: list[Item], order: Order) -> list[Item]:
    """`items` are in the order of names. What has no size follows what has one."""
    match order:
        case "name":
            return items
        case "-name":
            return items[::-1]
        case _:
            sign = -1 if order == "-size" else 1
            return sorted(items, key=lambda item: (item.size is None, sign * (item.size or 0)))


def _first(items: Iterable[Item], limit: int) -> list[Item]:
    found: list[Item] = []
    size = 0
    for item in items:
        if len(found) >= limit or size > MAX_LISTED_BYTES:
            break
        found.append(item)
        size += _bytes(item)
    return found


def _bytes(item: Item) -> int:
    return len(item.name.encode()) + len(item.target.encode())


def _item(name: str, entry: Entry | None) -> Item:
    if entry is None:
        return Item(name=name, kind="folder")
    if entry.linkname:
        return Item(name=name, kind="link", target=entry.linkname)
    return Item(name=name, kind="file", size=entry.size)
