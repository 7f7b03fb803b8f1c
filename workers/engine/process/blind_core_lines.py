"""Lists what the blind peer keeps for its parent: all of it at the start, then each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypercore.aio.cores.corestore import Corestore

from ..blindpeer.blind_peer import BlindPeer

CORES_A_LINE = 500
"""Cores of a `blind_cores` line, and of one turn of the loop (about a millisecond)."""

INTERVAL = 1.0
"""Seconds in which changes are put together."""


class BlindCoreLines:
    """`write` is called with each line, before it is JSON."""

    def __init__(
        self, blind_peer: BlindPeer, cores: Corestore, *, write: Callable[[dict[str, Any]], None]
    ) -> None:
        self._blind_peer = blind_peer
        self._cores = cores
        self._write = write
        self._changed: dict[bytes, None] = {}
        self._wake = asyncio.Event()

    def changed(self, key: bytes) -> None:
        """A core has become complete, or is kept no longer."""
        self._changed[key] = None
        self._wake.set()

    async def run(self) -> None:
        """Write lines until cancelled."""
        await self._write_all([record.key for record in self._blind_peer.records], first=True)
        while True:
            await self._wake.wait()
            await asyncio.sleep(INTERVAL)
            self._wake.clear()
            changed, self._changed = list(self._changed), {}
            await self._write_all(changed, first=False)

    async def _write_all(self, keys: list[bytes], *, first: bool) -> None:
        """Lines of a whole list say `first`, `more` follow but after the last."""
        for start in range(0, max(1, len(keys)), CORES_A_LINE):
            end = start + CORES_A_LINE
            facts = [self._facts(key) for key in keys[start:end]]
            cores = [each for each in facts if not first or each["client"] is not None]
            self._write({"event": "blind_cores", "cores": cores, "first": first, "more": end < len(keys)})
            await asyncio.sleep(0)

    def _facts(self, key: bytes) -> dict[str, Any]:
        """A core as it is stored now. Without a client: nothing of it is kept."""
        record, info = self._blind_peer.records.get(key), self._cores.stored(key)
        if record is None or record.collected or info is None or not info.have:
            return {"key": key.hex(), "client": None}
        return {
            "key": key.hex(),
            "client": record.client.hex(),
            "announced": record.announce,
            "length": info.length,
            "fork": info.fork,
            "have_blocks": info.have,
            "have_bytes": min(record.held_bytes, info.byte_length),
            "bytes": info.byte_length,
            "active_at": record.active / 1000,
        }
