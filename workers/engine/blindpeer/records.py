"""Records of the cores that clients have named, in memory and in the store.

A record is one value of the store's key-value table, `blind/<core>`, durable with the next flush. Official
blind peers keep one referrer for each core, that of the first request, so that a foreign client can take the
hints of a group away by naming its cores first. Here a core has several; hints go only to peers that know the
group's key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Protocol, TypeVar

from hypercore.crypto import discovery_key
from hypercore.replication.ratelimit import BLOCK_OVERHEAD

T = TypeVar("T")

PREFIX = "blind/"
"""Prefix of the names of records. The rest is the core's key in hex."""

MAX_RECORDS = 1 << 18
"""Cores of all clients together; about 400 bytes of memory each. Ours."""

MAX_RECORDS_OF_CLIENT = 1 << 15
"""Cores that one client may have named first. Ours."""

MAX_RECORDS_OF_HOST = 1 << 16
"""The same for one address. Ours."""

MAX_REFERRERS = 1 << 16
"""Groups of all cores together. Ours."""

MAX_REFERRERS_OF_CORE = 8
"""Groups that one core belongs to. Ours."""

MAX_CORES_OF_GROUP = 4096
"""Cores of one group: each member that wants hints has them sorted. Ours."""

UNKNOWN_CLIENT = bytes(32)
"""Client of a record that was taken over from another blind peer, until one names the core."""

UNUSED_MS = 24 * 3600 * 1000
"""Milliseconds after which a record without any content makes way for a new one."""

UNCLAIMED_MS = 30 * UNUSED_MS
"""The same for a record that was taken over and that no client has named since. It never has content."""

SEARCH_MS = 60_000
"""Milliseconds between two searches of a full table for such records."""

SAVE_ACTIVE_MS = 60_000
"""Milliseconds between two saves of a record in which only its last activity has changed."""


class KeyValueStore(Protocol):
    """The part of `hypercore.core.Store` that is used here."""

    def get_meta(self, name: str) -> bytes | None:
        """Return the value of a name, or None."""

    def set_meta(self, name: str, value: bytes | None) -> None:
        """Set the value of a name; None deletes it."""

    def meta_names(self, prefix: str) -> Sequence[str]:
        """Names with that prefix, in order."""


@dataclass(slots=True)
class Record:
    """One core. Times are milliseconds of the Unix clock."""

    key: bytes
    client: bytes
    """Public key of the client that named it first."""
    host: str
    """Address of that client, at the time."""
    priority: int = 0
    announce: bool = False
    referrers: tuple[bytes, ...] = ()
    length: int = 0
    held_bytes: int = 0
    """Bytes of its stored blocks."""
    held_blocks: int = 0
    """Their number."""
    updated: int = 0
    """When its length changed last."""
    active: int = 0
    """When it was read or written last."""
    collected: bool = False
    """Its content was deleted to make room."""
    saved_active: int = 0
    """`active` as stored."""

    @property
    def used_bytes(self) -> int:
        """What its blocks take of the room: empty ones are not free."""
        return self.held_bytes + BLOCK_OVERHEAD * self.held_blocks

    def encode(self) -> bytes:
        """Its form in the store."""
        fields = (
            self.client.hex(),
            self.host,
            self.priority,
            self.announce,
            [referrer.hex() for referrer in self.referrers],
            self.length,
            self.held_bytes,
            self.held_blocks,
            self.updated,
            self.active,
            self.collected,
        )
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, key: bytes, data: bytes) -> Record:
        """Decode a record. Raises ValueError for bytes that `encode` does not write."""
        try:
            client, host, priority, announce, referrers, *numbers = json.loads(data)
            length, held, blocks, updated, active, collected = numbers
            return cls(
                key=key,
                client=bytes.fromhex(client),
                host=str(host),
                priority=int(priority),
                announce=bool(announce),
                referrers=tuple(map(bytes.fromhex, referrers)),
                length=int(length),
                held_bytes=int(held),
                held_blocks=int(blocks),
                updated=int(updated),
                active=int(active),
                collected=bool(collected),
                saved_active=int(active),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a record of a blind peer: {error}") from None


class RecordTable:
    """All records of one store; loads them when it is made. Raises StorageError.

    Changes go through `save`, which writes them to the store; what it wrote is durable after its next flush.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        max_records: int = MAX_RECORDS,
        max_of_client: int = MAX_RECORDS_OF_CLIENT,
        max_of_host: int = MAX_RECORDS_OF_HOST,
        max_referrers: int = MAX_REFERRERS,
    ) -> None:
        self._store = store
        self._max_records = max_records
        self._max_of_client = max_of_client
        self._max_of_host = max_of_host
        self._max_referrers = max_referrers
        self._records: dict[bytes, Record] = {}
        self._names: dict[bytes, bytes] = {}
        """Discovery key to key, of cores."""
        self._groups: dict[bytes, dict[bytes, None]] = {}
        """Referrer to its cores."""
        self._group_names: dict[bytes, bytes] = {}
        """Discovery key to key, of referrers."""
        self._of_client: dict[bytes, int] = {}
        self._of_host: dict[str, int] = {}
        self._search_at = 0
        """When a full table is searched again."""
        self.unreadable = 0
        """Stored records that could not be read, and are kept as they are."""
        for name in store.meta_names(PREFIX):
            self._load(name)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __contains__(self, key: bytes) -> bool:
        return key in self._records

    @property
    def clients(self) -> int:
        """Clients that have named a core first."""
        return len(self._of_client.keys() - {UNKNOWN_CLIENT})

    @property
    def referrers(self) -> int:
        """Groups."""
        return len(self._groups)

    def get(self, key: bytes) -> Record | None:
        return self._records.get(key)

    def find(self, name: bytes) -> Record | None:
        """The record of the core with that discovery key."""
        key = self._names.get(name)
        return None if key is None else self._records[key]

    def referrer(self, name: bytes) -> bytes | None:
        """The referrer with that discovery key."""
        return self._group_names.get(name)

    def latest(self, referrer: bytes, count: int) -> list[Record]:
        """The cores of a group, those whose length changed last first."""
        records = (self._records[key] for key in self._groups.get(referrer, ()))
        return nlargest(count, records, key=lambda record: record.updated)

    # --- changes

    def add(self, record: Record) -> bool:
        """Add and save a new record, whose `active` is the time now. False if its client, its address or all
        of them have too many."""
        if record.client != UNKNOWN_CLIENT and not self._has_room_for(record.client, record.host):
            return False
        if len(self._records) >= self._max_records and not self._make_way(record.active):
            return False
        referrers, record.referrers = record.referrers, ()
        self._enter(record)
        for referrer in referrers:
            self.join_group(record, referrer)
        self.save(record)
        return True

    def _has_room_for(self, client: bytes, host: str) -> bool:
        return (
            self._of_client.get(client, 0) < self._max_of_client
            and self._of_host.get(host, 0) < self._max_of_host
        )

    def adopt(self, record: Record, client: bytes, host: str, now_ms: int) -> bool:
        """A client names a core whose client is unknown: it counts as that client's from now on. `save` it
        if this returns True; False: it has a client, or this one has too many."""
        if record.client != UNKNOWN_CLIENT or not self._has_room_for(client, host):
            return False
        _decrease(self._of_client, record.client)
        _decrease(self._of_host, record.host)
        record.client, record.host = client, host
        record.active = max(record.active, now_ms)  # its content comes from now on
        self._count(record)
        return True

    def join_group(self, record: Record, referrer: bytes) -> bool:
        """The core belongs to the group of `referrer`; `save` it if this returns True."""
        if referrer in record.referrers or len(record.referrers) >= MAX_REFERRERS_OF_CORE:
            return False
        if referrer not in self._groups and len(self._groups) >= self._max_referrers:
            return False
        if len(self._groups.get(referrer, ())) >= MAX_CORES_OF_GROUP:
            return False
        record.referrers = (*record.referrers, referrer)
        self._enter_group(record.key, referrer)
        return True

    def save(self, record: Record) -> None:
        """Write a record that has changed to the store."""
        record.saved_active = record.active
        self._store.set_meta(PREFIX + record.key.hex(), record.encode())

    def touch(self, record: Record, now_ms: int) -> bool:
        """The core was used. Saved now and then: True if this call did."""
        record.active = max(record.active, now_ms)
        if record.active - record.saved_active < SAVE_ACTIVE_MS:
            return False
        self.save(record)
        return True

    def remove(self, key: bytes) -> Record | None:
        """Delete a record, also in the store."""
        record = self._records.pop(key, None)
        if record is None:
            return None
        del self._names[discovery_key(key)]
        for referrer in record.referrers:
            group = self._groups[referrer]
            del group[key]
            if not group:
                del self._groups[referrer]
                del self._group_names[discovery_key(referrer)]
        _decrease(self._of_client, record.client)
        _decrease(self._of_host, record.host)
        self._store.set_meta(PREFIX + key.hex(), None)
        return record

    def _make_way(self, now_ms: int) -> bool:
        """Delete old records of cores that never had any content. Visits every record, so it is done
        seldom."""
        if now_ms < self._search_at:
            return False
        self._search_at = now_ms + SEARCH_MS
        unused = [
            record.key
            for record in self
            if not record.length
            and not record.announce
            and now_ms - record.active > (UNCLAIMED_MS if record.client == UNKNOWN_CLIENT else UNUSED_MS)
        ]
        for key in unused:
            self.remove(key)
        return bool(unused)

    def _load(self, name: str) -> None:
        try:
            key = bytes.fromhex(name.removeprefix(PREFIX))
            record = Record.decode(key, self._store.get_meta(name) or b"")
        except ValueError:
            self.unreadable += 1
            return
        self._enter(record)
        for referrer in record.referrers:
            self._enter_group(key, referrer)

    def _enter(self, record: Record) -> None:
        self._records[record.key] = record
        self._names[discovery_key(record.key)] = record.key
        self._count(record)

    def _count(self, record: Record) -> None:
        self._of_client[record.client] = self._of_client.get(record.client, 0) + 1
        self._of_host[record.host] = self._of_host.get(record.host, 0) + 1

    def _enter_group(self, key: bytes, referrer: bytes) -> None:
        if referrer not in self._groups:
            self._groups[referrer] = {}
            self._group_names[discovery_key(referrer)] = referrer
        self._groups[referrer][key] = None


def _decrease(counts: dict[T, int], name: T) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
