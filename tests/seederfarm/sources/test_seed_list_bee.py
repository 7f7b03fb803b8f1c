"""Seed lists as blocks: what is taken from them, what is refused, and how large they may be."""

from __future__ import annotations

import asyncio

import pytest

from hypercore.bee.seedlist import ENTRIES, METADATA, SeedEntry, encode_metadata, encode_seed
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from seederfarm.sources import list_formats, seed_list_bee
from seederfarm.sources.list_formats import Entry, Parsed, SourceError
from seederfarm.sources.seed_list_bee import BoundedBlocks, read_list


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def seeds(*entries: SeedEntry) -> MemorySource:
    log = MemorySource()
    writer = BeeWriter(log)
    writer.sub(METADATA).put(*encode_metadata("x", 1))
    for entry in entries:
        writer.sub(ENTRIES).put(*encode_seed(entry))
    return log


def taken(log: MemorySource) -> Parsed:
    return asyncio.run(read_list(BoundedBlocks(log, log.peek)))


def test_kinds_and_descriptions_are_taken_and_lists_of_lists_are_refused() -> None:
    parsed = taken(
        seeds(
            SeedEntry(key=key(1), type="drive", description="A\0film", seeders=True),
            SeedEntry(key=key(2), type="new word"),
            SeedEntry(key=key(3), type="list"),
        )
    )
    reported = {"type": "drive", "description": "A?film", "seeders": True}
    assert parsed.entries[key(1).hex()] == Entry(key(1).hex(), "drive", "A?film", reported)
    assert parsed.entries[key(2).hex()].kind == ""
    assert parsed.refused == 1 and "lists of lists" in parsed.problems[0]


def test_a_broken_entry_does_not_hide_the_others() -> None:
    log = seeds(SeedEntry(key=key(1), type="core"))
    BeeWriter(log).sub(ENTRIES).put(key(2), b"\xff")
    BeeWriter(log).sub(ENTRIES).put(b"short", b"\x04core\x00\x00")
    parsed = taken(log)
    assert (list(parsed.entries), parsed.refused) == ([key(1).hex()], 2)


def test_what_is_no_bee_is_refused() -> None:
    log = MemorySource()
    log.append([b"block", b"block"])
    with pytest.raises(SourceError, match="no seed list"):
        taken(log)


def test_lists_are_bounded_in_entries_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    log = seeds(*(SeedEntry(key=key(n), type="core") for n in range(20)))
    monkeypatch.setattr(list_formats, "MAX_ENTRIES", 20)
    assert len(taken(log).entries) == 20
    monkeypatch.setattr(list_formats, "MAX_ENTRIES", 19)
    with pytest.raises(SourceError, match="more than 19"):
        taken(log)
    monkeypatch.setattr(list_formats, "MAX_ENTRIES", 20)
    monkeypatch.setattr(seed_list_bee, "MAX_LIST_BYTES", 200)
    with pytest.raises(SourceError, match="larger"):
        taken(log)
