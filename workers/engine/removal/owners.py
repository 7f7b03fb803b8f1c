"""Records in the store which keys each stored core belongs to.

A core can belong to several keys: the header of a drive may name any core as its contents. What a removal
deletes is therefore decided from these records, which are written in the same transaction as the cores, never
from events or memory. Two rows of the store's key-value table form one claim:

    core/<core>/<key>      the core belongs to the key
    key/<key>/<core>       the same, indexed by the key
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

MAX_CORES_OF_KEY = 8
"""Cores that one key may claim, its own included. A drive has two; each fork of its header may name another
one, and all stay stored until the key is removed. Ours."""

MAX_RECENT_KEYS = 4096
"""Keys whose claims are kept in memory (200 bytes each): a drive claims its second core soon after its first.
Ours."""

_CLAIMED = b"\x01"


class KeyValueStore(Protocol):
    """The part of `hypercore.core.Store` that is used here. Values are durable with the next flush."""

    def get_meta(self, name: str) -> bytes | None:
        """Return the value of a name, or None."""

    def set_meta(self, name: str, value: bytes | None) -> None:
        """Set the value of a name; None deletes it."""

    def meta_names(self, prefix: str) -> Sequence[str]:
        """Names with that prefix, in order."""


class Owners:
    """The claims of all keys of one store."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._recent: dict[bytes, tuple[bytes, ...]] = {}
        """Cores of the keys that claimed one last."""

    def claim(self, key: bytes, core: bytes) -> bool:
        """Record that `core` belongs to `key`. Returns False, without a record, if the key claims
        MAX_CORES_OF_KEY others."""
        cores = self._recent.get(key)
        if cores is None:
            if len(self._recent) >= MAX_RECENT_KEYS:
                del self._recent[next(iter(self._recent))]
            cores = self._recent[key] = tuple(self.cores_of(key))
        if core in cores:
            return True
        if len(cores) >= MAX_CORES_OF_KEY:
            return False
        self._store.set_meta(f"core/{core.hex()}/{key.hex()}", _CLAIMED)
        self._store.set_meta(f"key/{key.hex()}/{core.hex()}", _CLAIMED)
        self._recent[key] = (*cores, core)
        return True

    def cores_of(self, key: bytes) -> list[bytes]:
        """The cores that `key` claims."""
        return self._last_parts(f"key/{key.hex()}/")

    def keys_of(self, core: bytes) -> list[bytes]:
        """The keys that claim `core`."""
        return self._last_parts(f"core/{core.hex()}/")

    def release(self, key: bytes) -> None:
        """Delete every claim of `key`."""
        self._recent.pop(key, None)
        for core in self.cores_of(key):
            self._store.set_meta(f"core/{core.hex()}/{key.hex()}", None)
            self._store.set_meta(f"key/{key.hex()}/{core.hex()}", None)

    def _last_parts(self, prefix: str) -> list[bytes]:
        return [bytes.fromhex(name.removeprefix(prefix)) for name in self._store.meta_names(prefix)]
