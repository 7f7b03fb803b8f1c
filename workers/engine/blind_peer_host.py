"""The engine as a blind peer uses it."""

from __future__ import annotations

from collections.abc import Iterable

from .blindpeer.host import Room
from .engine import Engine
from .limits.limits import Limits
from .model.kind import Kind
from .removal.owners import Owners
from .settings.key_list import SeedSpec


class EngineHost:
    """The `Host` of a blind peer. Announced cores are seeds of the engine."""

    def __init__(self, engine: Engine, limits: Limits, owners: Owners) -> None:
        self._engine = engine
        self._limits = limits
        self._owners = owners
        self._announced: set[bytes] = set()

    def room(self) -> Room | None:
        room = self._limits.room
        return None if room is None else Room(*room)

    def content_deleted(self) -> None:
        self._limits.content_deleted()

    def announce(self, keys: Iterable[bytes]) -> None:
        new = [key for key in keys if key not in self._announced]
        self._announced.update(new)
        self._engine.add([SeedSpec(key, Kind.CORE) for key in new])

    async def withdraw(self, key: bytes) -> None:
        if key in self._announced:
            self._announced.discard(key)
            await self._engine.remove(key)
            self._owners.release(key)

    def is_wanted(self, key: bytes) -> bool:
        return self._engine.has_key(key) or bool(self._owners.keys_of(key))
