"""Which keys an engine seeds for its worker, and the peers from which it fetches them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from workers.engine.engine import Engine
from workers.engine.model.kind import Kind
from workers.engine.process import assigned_keys as module
from workers.engine.process.assigned_keys import AssignedKeys
from workers.engine.settings.key_list import SeedSpec

A, B = b"\x0a" * 32, b"\x0b" * 32
PEERS = [bytes([number]) * 32 for number in range(1, 4)]


class FakeEngine:
    def __init__(self) -> None:
        self.seeded: dict[bytes, SeedSpec] = {}
        self.removed: list[bytes] = []

    def add(self, wanted: Iterable[SeedSpec]) -> None:
        for item in wanted:
            self.seeded.setdefault(item.key, item)

    async def remove(self, key: bytes) -> bool:
        self.removed.append(key)
        return self.seeded.pop(key, None) is not None


class World:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.announced: set[bytes] = set()
        self.peers: set[bytes] = set()
        self.keys = AssignedKeys(
            cast(Engine, self.engine),
            on_removed=lambda key: None,
            is_announced=lambda key: key in self.announced,
            join_peer=self.peers.add,
            leave_peer=self.peers.remove,
        )

    def sync(self, *entries: dict[str, Any]) -> None:
        asyncio.run(self.keys.sync({"entries": entries}))


def entry(key: bytes, **fields: Any) -> dict[str, Any]:
    return {"key": key.hex(), "kind": "core", "priority": 5, **fields}


def test_a_key_is_seeded_anew_when_it_shall_be_announced() -> None:
    world = World()
    world.sync(entry(A, announce=False), entry(B))
    assert [item.announce for item in world.engine.seeded.values()] == [False, True]
    world.sync(entry(A), entry(B))
    assert world.engine.removed == [A]
    assert all(item.announce for item in world.engine.seeded.values())


def test_a_key_that_is_assigned_no_longer_stays_announced_for_a_client_of_the_blind_peer() -> None:
    world = World()
    world.sync(entry(A, announce=False), entry(B))
    world.announced = {A}
    world.sync()
    assert world.engine.seeded == {A: SeedSpec(A, Kind.CORE)}
    assert A not in world.keys


def test_connections_are_kept_to_the_peers_of_entries(monkeypatch: Any) -> None:
    world = World()
    world.sync(entry(A, peers=[PEERS[0].hex(), PEERS[1].hex()]), entry(B, peers=[PEERS[1].hex()]))
    assert world.peers == set(PEERS[:2])
    world.sync(entry(A, peers=[PEERS[1].hex()]), entry(B))
    assert world.peers == {PEERS[1]}
    monkeypatch.setattr(module, "MAX_PEERS", 2)
    world.sync(entry(A, peers=[peer.hex() for peer in PEERS]))
    assert world.peers == set(PEERS[:2])
    world.sync()
    assert world.peers == set()
