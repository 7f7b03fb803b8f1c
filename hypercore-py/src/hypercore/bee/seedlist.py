"""Seed lists: a bee of keys to seed, which simple-seeder follows live (its type `list`).

Format: seedbee encoding.js and index.js. Entries: key `00 00` and the 32 bytes, value `string type`, `string
description`, `bool seeders`. Metadata: key `01 00` and a UTF-8 name, value `any`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from ..codec import Reader, Writer
from ..errors import FrameDecodeError, InvalidContent
from ..keys import decode_key
from .anyvalue import decode_any, encode_any
from .bee import Bee, BeeEntry

ENTRIES = b"\0"
METADATA = b"\1"
"""Names of the two sub-databases."""

ALLOWED_PEERS = "simple-seeder/allowed-peers"
"""Metadata: public keys (in any spelling) of the peers that may connect."""

MAX_DESCRIPTION_BYTES = 4096
"""Longest description and type that are kept (our own choice; people read them in a table)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEntry:
    """A key to seed. `type` is `core`, `bee`, `drive`, or an unknown word."""

    key: bytes
    type: str
    description: str = ""
    seeders: bool = False
    """Whether the seeders of the key find each other over its DHT record."""


def encode_seed(entry: SeedEntry) -> tuple[bytes, bytes]:
    """Key (inside the sub-database) and value."""
    w = Writer().string(entry.type).string(entry.description).bool_(entry.seeders)
    return entry.key, bytes(w)


def decode_seed(key: bytes, value: bytes | None) -> SeedEntry:
    """The reverse of `encode_seed`. Raises InvalidContent."""
    if len(key) != 32:
        raise InvalidContent(f"seed list: a key of {len(key)} bytes")
    try:
        r = Reader(value or b"")
        type_, description, seeders = r.string(), r.string(), r.bool_()
    except FrameDecodeError as error:
        raise InvalidContent(f"seed list: the entry of {key.hex()} does not decode: {error}") from None
    if max(len(type_), len(description)) > MAX_DESCRIPTION_BYTES:
        raise InvalidContent(f"seed list: the entry of {key.hex()} is above {MAX_DESCRIPTION_BYTES} bytes")
    return SeedEntry(key=key, type=type_, description=description, seeders=seeders)


def encode_metadata(name: str, value: Any) -> tuple[bytes, bytes]:
    """Key (inside the sub-database) and value."""
    w = Writer()
    encode_any(w, value)
    return name.encode(), bytes(w)


class SeedList:
    """Reads a seed list. Raises InvalidContent for an invalid one."""

    def __init__(self, bee: Bee) -> None:
        self.bee = bee
        self._entries = bee.sub(ENTRIES)
        self._metadata = bee.sub(METADATA)

    @property
    def version(self) -> int:
        """Grows with every change of the list."""
        return self.bee.version

    async def entries(self) -> AsyncGenerator[SeedEntry, None]:
        """All entries, in the order of their keys."""
        async for item in self._entries.iterate():
            yield decode_seed(item.key, item.value)

    async def get(self, key: bytes) -> SeedEntry | None:
        item = await self._entries.get(key)
        return None if item is None else decode_seed(item.key, item.value)

    async def metadata(self, name: str) -> Any:
        """A metadata value of the author, None without one."""
        item = await self._metadata.get(name.encode())
        return None if item is None else _decode_metadata(item)

    async def allowed_peers(self) -> set[bytes] | None:
        """Public keys of the peers that may connect, None for all."""
        found = await self.metadata(ALLOWED_PEERS)
        if found is None:
            return None
        if not isinstance(found, list):
            raise InvalidContent("seed list: the allowed peers are not a list")
        return {_peer_key(item) for item in found}


def _decode_metadata(item: BeeEntry) -> Any:
    try:
        return decode_any(Reader(item.value or b""))
    except FrameDecodeError as error:
        raise InvalidContent(f"seed list: metadata {item.key[:40]!r} does not decode: {error}") from None


def _peer_key(item: object) -> bytes:
    if isinstance(item, bytes) and len(item) == 32:
        return item
    if isinstance(item, str):
        try:
            return decode_key(item)
        except ValueError:
            pass
    raise InvalidContent("seed list: an allowed peer is not a key")
