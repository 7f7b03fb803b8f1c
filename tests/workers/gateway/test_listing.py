"""Folders that are sorted and searched, within bounds. No network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from hypercore.drive import BlobId, Drive, Entry
from hypercore.drive.drive import FolderItem
from workers.gateway import listing as module
from workers.gateway.listing import listing
from workers.gateway.paths import Found
from workers.gateway.protocol import MAX_ITEMS, Facts, List, Listing, Order


class Folder:
    """Gives names in their order, and counts those that were read."""

    def __init__(self, names: dict[str, int | None]) -> None:
        self._names = names
        self.read = 0

    async def readdir(self, folder: str, **options: Any) -> AsyncGenerator[FolderItem, None]:
        for name, size in self._names.items():
            self.read += 1
            blob = None if size is None else BlobId(0, 1, 0, size)
            yield FolderItem(name, None if size is None else Entry(path=f"/{name}", seq=0, blob=blob))


def listed(names: dict[str, int | None], **wanted: Any) -> tuple[Listing, Folder]:
    folder = Folder(names)
    facts = Facts(kind="folder", path="/", version=1, newest=1)
    found = Found(facts, cast(Drive, folder), None)
    return asyncio.run(listing(found, List(**wanted))), folder


NAMES = {"Album.flac": 30, "b": 5, "empty": 0, "folder": None, "z-album": 30}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", ["Album.flac", "b", "empty", "folder", "z-album"]),
        ("-name", ["z-album", "folder", "empty", "b", "Album.flac"]),
        ("size", ["empty", "b", "Album.flac", "z-album", "folder"]),
        ("-size", ["Album.flac", "z-album", "b", "empty", "folder"]),
    ],
)
def test_each_order(order: Order, expected: list[str]) -> None:
    found, _ = listed(NAMES, order=order)
    assert [item.name for item in found.items] == expected
    assert (found.more, found.examined) == (False, None)


def test_a_search_finds_parts_of_names_in_small_letters_and_capitals() -> None:
    found, _ = listed(NAMES, text="ALBUM", order="-name")
    assert [item.name for item in found.items] == ["z-album", "Album.flac"]
    assert listed(NAMES, text="nothing")[0].items == []


def test_no_more_names_than_the_bound_are_read_and_the_answer_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_EXAMINED", 500)
    found, folder = listed({f"{number:05}": number for number in range(5000)}, order="-size", limit=3)
    assert [item.name for item in found.items] == ["00499", "00498", "00497"]
    assert (found.more, found.examined, folder.read) == (True, 500, 501)
    found, _ = listed({f"{number:05}": number for number in range(500)}, text="0049")
    assert (len(found.items), found.examined) == (11, None), "exactly the bound is all of them"


def test_long_names_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, int | None] = {f"{number:05}" + "x" * 60_000: 1 for number in range(200)}
    found, folder = listed(names, order="-name", limit=10**9)
    assert folder.read < 80 and found.examined == folder.read - 1
    assert sum(len(item.name) for item in found.items) < 1.1 * (1 << 20) and found.more
    assert (
        len(listed({str(number): 1 for number in range(3000)}, order="-name", limit=10**9)[0].items)
        == MAX_ITEMS
    )
