"""Maps keys to engines.

A key stays with the engine that has its blocks until it is removed, whatever `--shards` becomes: changing the
number of engines moves and downloads nothing. New keys go to the engine with the fewest. Surplus engines run
as long as they have keys, and get no new ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..state import State


class ShardMap:
    """The engine of each key. Not thread-safe: the agent locks. `of` may be called at any time."""

    def __init__(self, state: State, shards: int) -> None:
        self._state = state
        self._shards = shards
        known = [entry.key for entry in state.assignment().entries if entry.seeded] + state.removals()
        self._homes = state.homes()
        here = {self._homes[key] for key in known if key in self._homes}
        self.engines = sorted(here.union(range(shards)))
        """Numbers of the engines to run."""
        self.place(known)

    def of(self, key: str) -> int:
        """The engine of a placed key; the first one for others, which ignores them."""
        return self._homes.get(key, 0)

    def place(self, keys: Iterable[str]) -> None:
        """Choose an engine for keys without one, or whose engine does not run (it had only keys of a farm
        that this worker has left)."""
        new = [key for key in keys if self._homes.get(key) not in self.engines]
        if not new:
            return
        load = dict.fromkeys(range(self._shards), 0)
        for engine in self._homes.values():
            if engine in load:
                load[engine] += 1
        chosen = {}
        for key in sorted(new):
            engine = min(load, key=lambda number: (load[number], number))
            load[engine] += 1
            chosen[key] = engine
        self._state.set_homes(chosen)
        self._homes.update(chosen)

    def removed(self, key: str) -> None:
        """The key's blocks are deleted. A key that is assigned again by now keeps its engine."""
        if self._state.discard_home(key):
            self._homes.pop(key, None)
