"""The keys that this engine seeds for its worker, as `sync` commands name them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any

from ..engine import Engine
from ..model.kind import Kind
from ..settings.key_list import SeedSpec

KEYS_A_PORTION = 500
"""Keys of a `sync` that are compared in one turn of the loop (about a millisecond)."""

MAX_PEERS = 64
"""Other workers to which connections are kept, to fetch from them. Ours."""

log = logging.getLogger(__name__)


class AssignedKeys:
    """Adds keys to the engine, and removes those that are assigned no longer.

    `on_removed` is called with each key that the engine has stopped to seed for its worker. `is_announced`
    returns whether a client of the blind peer has a key announced: the engine seeds it all the same.
    `join_peer` and `leave_peer` keep a connection to a peer that has some of the keys.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_removed: Callable[[bytes], None],
        is_announced: Callable[[bytes], bool] = lambda key: False,
        join_peer: Callable[[bytes], None] = lambda peer: None,
        leave_peer: Callable[[bytes], None] = lambda peer: None,
    ) -> None:
        self._engine = engine
        self._is_announced = is_announced
        self._join_peer = join_peer
        self._leave_peer = leave_peer
        self._peers: set[bytes] = set()
        """Connected to fetch from them."""
        self._new_peers: dict[bytes, None] = {}
        """From the portions of a `sync` received so far."""
        self._on_removed = on_removed
        self._specs: dict[bytes, SeedSpec] = {}
        self._entries: list[tuple[int, SeedSpec]] = []
        self._drop: list[bytes] = []
        """From the portions of a `sync` received so far."""
        self._begun = False
        """Whether a portion other than the last was received."""

    def __contains__(self, key: bytes) -> bool:
        return key in self._specs

    async def sync(self, command: dict[str, Any]) -> list[bytes] | None:
        """Take one portion of a `sync`. With the last one, seed exactly the keys of all portions.

        Returns the keys whose blocks are to be deleted, None while portions are missing. Every step over all
        keys runs in portions: the loop serves peers in between. Raises KeyError, TypeError or ValueError for
        a malformed command.
        """
        if command.get("first", True):
            self._entries, self._drop, self._new_peers, self._begun = [], [], {}, True
        elif not self._begun:
            log.warning("a portion of a sync whose beginning did not come is left out")
            return None
        entries = [(int(entry["priority"]), _spec_of(entry)) for entry in command["entries"]]
        self._entries += entries
        for entry in command["entries"]:
            self._new_peers.update(dict.fromkeys(map(bytes.fromhex, entry.get("peers", ()))))
        self._drop += [bytes.fromhex(key) for key in command.get("drop", ())]
        if command.get("more"):
            return None
        self._begun = False
        entries, self._entries = self._entries, []
        drop, self._drop = self._drop, []
        entries.sort(key=lambda entry: entry[0])  # 0.3 s for a million
        self._connect(set(islice(self._new_peers, MAX_PEERS)))
        await self._apply({item.key: item for _, item in entries})
        return [key for key in drop if key not in self._specs]

    def _connect(self, peers: set[bytes]) -> None:
        for peer in self._peers - peers:
            self._leave_peer(peer)
        for peer in peers - self._peers:
            self._join_peer(peer)
        self._peers = peers

    async def _apply(self, specs: dict[bytes, SeedSpec]) -> None:
        kept, self._specs = self._specs, specs
        staying: set[bytes] = set()
        async for keys in _portions(kept):
            gone = [key for key in keys if key not in specs or _is_new(specs[key], kept[key])]
            await asyncio.gather(*(self._engine.remove(key) for key in gone))
            self._engine.add(
                SeedSpec(key, Kind.CORE) for key in gone if key not in specs and self._is_announced(key)
            )
            for key in gone:
                self._on_removed(key)
            stay = [key for key in keys if key in specs and not _is_new(specs[key], kept[key])]
            staying.update(stay)
            for key in stay:
                if kept[key].max_fork != specs[key].max_fork:
                    self._engine.follow_forks(key, specs[key].max_fork)
        async for keys in _portions(specs):
            self._engine.add(specs[key] for key in keys if key not in staying)


async def _portions(keys: Iterable[bytes]) -> AsyncIterator[list[bytes]]:
    """All keys, KEYS_A_PORTION at a time, with a turn of the loop between two portions."""
    waiting = iter(list(keys))
    while portion := list(islice(waiting, KEYS_A_PORTION)):
        yield portion
        await asyncio.sleep(0)


def _is_new(spec: SeedSpec, kept: SeedSpec) -> bool:
    """Whether a key is seeded anew when its entry changes."""
    return (spec.kind, spec.announce) != (kept.kind, kept.announce)


def _spec_of(entry: dict[str, Any]) -> SeedSpec:
    kind, max_fork = entry["kind"], entry.get("max_fork")
    return SeedSpec(
        bytes.fromhex(entry["key"]),
        None if kind is None else Kind(kind),
        None if max_fork is None else int(max_fork),
        announce=bool(entry.get("announce", True)),
    )
