"""Scenes that several end-to-end tests share: something published, something checked at a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .content import EDGE_FILES, File, listing
from .json_process import COMMAND_TIMEOUT
from .node import Publisher, Reader

Made = dict[str, Any]

BEE_ENTRIES = [[f"key {i:04}", f"value {i * i}"] for i in range(600)] + [["äöü 🐦", "ñ"], ["zero", ""]]
BEE_REMOVED = [f"key {i:04}" for i in range(0, 600, 7)]
BEE_LEFT = sorted(
    [entry for entry in BEE_ENTRIES if entry[0] not in BEE_REMOVED], key=lambda entry: entry[0].encode()
)

CORE_BLOCKS = [(f"block {i}", (i * 7) % 23 + 1) for i in range(500)] + [
    ("tiny", 1),
    ("large", 700_000),
    ("last", 65_536),
]


def publish_drive(publisher: Publisher, variant: str, files: Sequence[File] = EDGE_FILES) -> Made:
    """A drive with every awkward file in it and one deletion, served on the swarm."""
    publisher.make("thing", "drive", variant)
    publisher.put_all("thing", [*files, File(path="/deleted.txt", size=9_000)])
    made = publisher.ask("del", name="thing", path="/deleted.txt")
    publisher.ask("join", name="thing")
    return made


def publish_bee(publisher: Publisher) -> Made:
    publisher.make("thing", "bee")
    publisher.ask("insert", name="thing", entries=BEE_ENTRIES)
    made = publisher.ask("remove", name="thing", keys=BEE_REMOVED)
    publisher.ask("join", name="thing")
    return made


def publish_core(publisher: Publisher, variant: str, blocks: Sequence[tuple[str, int]] = CORE_BLOCKS) -> Made:
    publisher.make("thing", "core", variant)
    made = publisher.append("thing", blocks)
    publisher.ask("join", name="thing")
    return made


def read_drive(reader: Reader, made: Made, files: Sequence[File] = EDGE_FILES) -> None:
    """A fresh reader downloads the whole drive; every file must be what was put."""
    reader.open("thing", made["key"], "drive", encryption_key=made["encryption_key"])
    reader.complete("thing", made)
    assert reader.ask("files", name="thing")["files"] == listing(list(files))


def read_bee(reader: Reader, made: Made) -> None:
    reader.open("thing", made["key"], "bee")
    reader.complete("thing", made)
    assert reader.ask("entries", name="thing")["entries"] == BEE_LEFT


def read_core(reader: Reader, made: Made, digests: list[str], *, timeout: float = COMMAND_TIMEOUT) -> None:
    """`digests`: sha256 of each block as it is stored."""
    reader.open("thing", made["key"], "core")
    reader.complete("thing", made, timeout=timeout)
    assert reader.ask("blocks", name="thing", timeout=timeout)["blocks"] == digests


def met(reader: Reader) -> set[str]:
    """Public keys (hex) of every peer this reader had a connection with."""
    return {event["peer"] for event in reader.select(lambda event: event.get("event") == "peer")}
