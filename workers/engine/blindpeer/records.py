"""Records of the cores that clients have named, in memory and in the store.

A record is one value of the store's key-value table, `blind/<core>`, durable with the next flush. Official
blind peers keep one referrer for each core, that of the first request, so that a foreign client can take the
hints of a group away by naming its cores first. Here a core has several; hints go only to peers that know the
group's key.
"""

from __future__ import annotations

import json
import sys
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
"""Cores of all clients together. Ours."""

TRUSTED_SHARE = 8
"""Divisor: the part of MAX_RECORDS that only cores of trusted clients get."""

MAX_UNCLAIMED = MAX_RECORDS // 2
"""Cores that were taken over and that no client has named since. Ours."""

MAX_RECORDS_OF_CLIENT = 1 << 15
"""Cores that one client may have named first. Ours."""

MAX_RECORDS_OF_HOST = 1 << 16
"""The same for one address, and no more than half of what is free: a few addresses leave room for others,
however much they ask for. Ours."""

MAX_REFERRERS = 1 << 16
"""Groups of all cores together. Ours."""

MAX_REFERRERS_OF_CORE = 8
"""Groups that one core belongs to. Ours."""

MAX_FURTHER_GROUPS = 1 << 18
"""Groups of all cores besides the first one of each. Ours."""

MAX_CORES_OF_GROUP = 4096
"""Cores of one group: each member that wants hints has them sorted. Ours."""

UNKNOWN_CLIENT = bytes(32)
"""Client of a record that was taken over from another blind peer, until one names the core."""

UNUSED_MS = 24 * 3600 * 1000
"""Milliseconds after which a record without any content makes way for a new one."""

UNCLAIMED_MS = 30 * UNUSED_MS
"""The same for a record that was taken over and that no client has named since. It never has content."""

SEARCH_MS = 60_000
"""Milliseconds between the starts of two searches of a full table for such records."""

SEARCH_STEP = 512
"""Records that one request visits of such a search."""

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
        max_unclaimed: int = MAX_UNCLAIMED,
        max_further: int = MAX_FURTHER_GROUPS,
    ) -> None:
        self._store = store
        self._max_records = max_records
        self._max_of_client = max_of_client
        self._own_max_of_client = max_of_client
        self._max_bytes: int | None = None
        """Of one client. None: no bound."""
        self._max_of_host = max_of_host
        self._max_referrers = max_referrers
        self._max_further = max_further
        self.max_unclaimed = max_unclaimed
        """Cores of UNKNOWN_CLIENT."""
        self._records: dict[bytes, Record] = {}
        self._groups: dict[bytes, dict[bytes, None]] = {}
        """Referrer to its cores."""
        self._group_names: dict[bytes, bytes] = {}
        """Discovery key to key, of referrers."""
        self._clients: dict[bytes, bytes] = {}
        """The clients: all records of one have the same object."""
        self._of_client: dict[bytes, int] = {}
        self._bytes_of: dict[bytes, int] = {}
        """What the cores of each client take of the room."""
        self._of_host: dict[str, int] = {}
        self._further = 0
        """Groups of all cores besides the first one of each."""
        self._search_at = 0
        """When a full table is searched again."""
        self._search: Iterator[bytes] = iter(())
        """Keys that the search has yet to visit."""
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

    def announces(self, key: bytes) -> bool:
        """Whether a client has this core announced."""
        record = self._records.get(key)
        return record is not None and record.announce

    def referrer(self, name: bytes) -> bytes | None:
        """The referrer with that discovery key."""
        return self._group_names.get(name)

    def latest(self, referrer: bytes, count: int) -> list[Record]:
        """The cores of a group, those whose length changed last first."""
        records = (self._records[key] for key in self._groups.get(referrer, ()))
        return nlargest(count, records, key=lambda record: record.updated)

    def has_bytes(self, client: bytes) -> bool:
        """Whether the cores of a client take less of the room than they may."""
        if self._max_bytes is None or client == UNKNOWN_CLIENT:
            return True
        return self._bytes_of.get(client, 0) < self._max_bytes

    # --- changes

    def limit_clients(self, max_cores: int | None, max_bytes: int | None) -> None:
        """Set what each client may have, above which nothing is added and nothing deleted. None: our own
        bound, and no bound."""
        own = self._own_max_of_client
        self._max_of_client = own if max_cores is None else min(own, max_cores)
        self._max_bytes = max_bytes

    def hold(self, record: Record, held_bytes: int, held_blocks: int) -> None:
        """The number of the record's stored blocks has changed."""
        before = record.used_bytes
        record.held_bytes, record.held_blocks = held_bytes, held_blocks
        if self._records.get(record.key) is record:  # not deleted meanwhile
            self._bytes_of[record.client] += record.used_bytes - before

    def add(self, record: Record, *, trusted: bool = False) -> bool:
        """Add and save a new record, whose `active` is the time now. False if its client, its address or all
        of them have too many. Those of trusted clients have a part of the room for themselves, and no bound
        for each address."""
        fits = self._has_room_for(record.client, record.host, trusted=trusted)
        if not fits and self._make_way(record.active):
            fits = self._has_room_for(record.client, record.host, trusted=trusted)
        if not fits:
            return False
        referrers, record.referrers = record.referrers, ()
        self._enter(record)
        for referrer in referrers:
            self.join_group(record, referrer)
        self.save(record)
        return True

    def _has_room_for(self, client: bytes, host: str, *, trusted: bool = False) -> bool:
        free, mine = self._max_records - len(self._records), self._of_client.get(client, 0)
        if client == UNKNOWN_CLIENT:
            return free > 0 and mine < self.max_unclaimed
        if not self.has_bytes(client):
            return False
        if mine >= self._max_of_client or trusted:
            return mine < self._max_of_client and free > 0
        free -= self._max_records // TRUSTED_SHARE
        return self._of_host.get(host, 0) < min(self._max_of_host, (free + 1) // 2)

    def adopt(self, record: Record, client: bytes, host: str, now_ms: int) -> bool:
        """A client names a core whose client is unknown: it counts as that client's from now on. `save` it
        if this returns True; False: it has a client, or this one has too many."""
        if record.client != UNKNOWN_CLIENT or (
            self._of_client.get(client, 0) >= self._max_of_client
            or not self.has_bytes(client)
            or self._of_host.get(host, 0) >= self._max_of_host
        ):
            return False
        self._discount(record)
        record.client, record.host = client, host
        record.active = max(record.active, now_ms)  # its content comes from now on
        self._count(record)
        return True

    def join_group(self, record: Record, referrer: bytes) -> bool:
        """The core belongs to the group of `referrer`; `save` it if this returns True."""
        if referrer in record.referrers or len(record.referrers) >= MAX_REFERRERS_OF_CORE:
            return False
        if record.referrers and self._further >= self._max_further:
            return False
        if referrer not in self._groups and len(self._groups) >= self._max_referrers:
            return False
        if len(self._groups.get(referrer, ())) >= MAX_CORES_OF_GROUP:
            return False
        self._further += bool(record.referrers)
        record.referrers = (*record.referrers, self._enter_group(record.key, referrer))
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
        for referrer in record.referrers:
            group = self._groups[referrer]
            del group[key]
            if not group:
                del self._groups[referrer]
                del self._group_names[discovery_key(referrer)]
        self._further -= max(0, len(record.referrers) - 1)
        self._discount(record)
        self._store.set_meta(PREFIX + key.hex(), None)
        return record

    def _make_way(self, now_ms: int) -> bool:
        """Delete an old record of a core that never had any content. False: none was found yet."""
        for _ in range(SEARCH_STEP):
            key = next(self._search, None)
            if key is None:
                if now_ms < self._search_at:
                    return False
                self._search_at = now_ms + SEARCH_MS
                self._search = iter(list(self._records))
                continue
            record = self._records.get(key)
            if record is not None and _is_unused(record, now_ms):
                self.remove(key)
                return True
        return False

    def _load(self, name: str) -> None:
        try:
            key = bytes.fromhex(name.removeprefix(PREFIX))
            record = Record.decode(key, self._store.get_meta(name) or b"")
        except ValueError:
            self.unreadable += 1
            return
        self._enter(record)
        record.referrers = tuple(self._enter_group(key, referrer) for referrer in record.referrers)
        self._further += max(0, len(record.referrers) - 1)

    def _enter(self, record: Record) -> None:
        self._records[record.key] = record
        self._count(record)

    def _count(self, record: Record) -> None:
        record.client = self._clients.setdefault(record.client, record.client)
        record.host = sys.intern(record.host)
        self._of_client[record.client] = self._of_client.get(record.client, 0) + 1
        self._bytes_of[record.client] = self._bytes_of.get(record.client, 0) + record.used_bytes
        self._of_host[record.host] = self._of_host.get(record.host, 0) + 1

    def _discount(self, record: Record) -> None:
        _decrease(self._of_client, record.client)
        self._bytes_of[record.client] -= record.used_bytes
        if record.client not in self._of_client:
            del self._clients[record.client], self._bytes_of[record.client]
        _decrease(self._of_host, record.host)

    def _enter_group(self, key: bytes, referrer: bytes) -> bytes:
        """Returns the referrer: the same object for all cores of its group."""
        name = discovery_key(referrer)
        referrer = self._group_names.setdefault(name, referrer)
        self._groups.setdefault(referrer, {})[key] = None
        return referrer


def _is_unused(record: Record, now_ms: int) -> bool:
    unused = UNCLAIMED_MS if record.client == UNKNOWN_CLIENT else UNUSED_MS
    return not record.length and not record.announce and now_ms - record.active > unused


def _decrease(counts: dict[T, int], name: T) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
