"""The storage of an official blind peer: the seed of its key and the records of its cores.

Format: blind-peer 3.8.1 with hyperdb 6, in the default column family of a RocksDB. Names are a number and the
parts of a key, texts of bytes with 00 as 00 02 between 00 and 00 01:

    00              auth      seed of the key pair (32 bytes), seed for encryption (32 bytes)
    02 KEY          core      a record as in `add-core`, without its key

The blocks stay there: they come from the writers, who name all of their cores at their next connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

from hypercore.blindpeer import CoreRecord
from hypercore.codec import Reader
from hypercore.errors import FrameDecodeError

from .decisions import MAX_PRIORITY
from .records import UNKNOWN_CLIENT, Record, RecordTable

AUTH = b"\x00"
CORES = b"\x02"
"""First bytes of the names of records of cores."""

MAX_OFFICIAL_RECORD_BYTES = 4096
"""Bytes of such a record with its name. Official ones have about 100."""

_START, _END, _ZERO = b"\x00", b"\x00\x01", b"\x00\x02"


class NotABlindPeer(ValueError):
    """The storage is of something else."""


class Taken(NamedTuple):
    """The outcome of taking records over."""

    new: int = 0
    known: int = 0
    """Records that there were already; they stay as they are, or rise."""
    refused: int = 0
    """Records beyond the bound."""
    removed: int = 0
    """Old records without content that made way for new ones."""


def read_seed(value: bytes | None) -> bytes:
    """The seed of the key pair, of the value of AUTH. Raises NotABlindPeer."""
    try:
        return Reader(value or b"").fixed32()
    except FrameDecodeError:
        raise NotABlindPeer("it has no key pair of a blind peer") from None


def read_cores(items: Iterable[tuple[bytes, bytes]]) -> Iterator[CoreRecord]:
    """The records among these names and values, one at a time. Raises NotABlindPeer for one that cannot be
    read."""
    for name, value in items:
        if not name.startswith(CORES):
            continue
        if len(name) + len(value) > MAX_OFFICIAL_RECORD_BYTES:
            raise NotABlindPeer(f"the record {name[:69].hex()} has {len(name) + len(value):,} bytes")
        try:
            yield CoreRecord.decode(Reader(_key_of(name) + value))
        except FrameDecodeError as error:
            raise NotABlindPeer(f"the record {name.hex()} cannot be read: {error}") from None


def _key_of(name: bytes) -> bytes:
    text = name[len(CORES) :]
    if not (text.startswith(_START) and text.endswith(_END)):
        raise FrameDecodeError("its name is no key")
    key = text[len(_START) : -len(_END)].replace(_ZERO, b"\x00")
    if len(key) != 32:
        raise FrameDecodeError(f"its key has {len(key)} bytes")
    return key


def take_over(cores: Iterable[CoreRecord], table: RecordTable, now_ms: int) -> Taken:
    """Record these cores. Their blocks are not here yet: each is downloaded when a client names it.

    Official blind peers record any number of cores. If there are too many, the announced ones come first,
    then those with content, then those used last.

    They count as used now, by the Unix clock: by their own times, months ago, they would make way for one
    another before any client can name them.
    """
    before, met = len(table), 0
    known = 0

    def unknown() -> Iterator[CoreRecord]:
        nonlocal met, known
        for core in cores:
            met += 1
            record = table.get(core.key)
            if record is None:
                yield core
                continue
            known += 1
            record.priority = max(record.priority, min(core.priority, MAX_PRIORITY))
            record.announce = record.announce or core.announce
            if core.referrer is not None:
                table.join_group(record, core.referrer)
            table.save(record)

    new = 0
    for core in nlargest(table.max_unclaimed, unknown(), key=_worth):
        if core.key in table:
            known += 1
            continue
        record = Record(
            core.key,
            UNKNOWN_CLIENT,
            "",
            priority=min(core.priority, MAX_PRIORITY),
            announce=core.announce,
            referrers=() if core.referrer is None else (core.referrer,),
            updated=core.updated,
            active=now_ms,
            collected=bool(core.blocks_cleared) and not core.bytes_allocated,
        )
        new += table.add(record)
    return Taken(new, known, refused=met - known - new, removed=before + new - len(table))


def _worth(core: CoreRecord) -> tuple[bool, bool, int]:
    return core.announce, core.bytes_allocated > 0, core.active
