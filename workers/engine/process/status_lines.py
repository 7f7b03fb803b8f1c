"""Writes the status of changed keys, totals of the engine, and that it is alive, from time to time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..launch import EngineParts
from ..model.rate import Rate
from .network_numbers import network_numbers, reach_of
from .replica_reports import ReplicaReports
from .stalls import StallMeter

STATUS_INTERVAL = 1.0
"""Seconds between two status passes over all keys. With many keys a pass takes longer, and passes are
rarer."""

STATUS_SHARE = 0.05
"""Largest share of the time spent on status passes."""

KEYS_A_LINE = 500

SERVED_INTERVAL = 60.0
"""Seconds between two `served` lines. Ours."""

BLIND_PEER_INTERVAL = 10.0
"""Seconds between two counts of what clients of a blind peer have it keep: each visits all records."""

ENGINE_INTERVAL = 2.0
"""Seconds between two `engine` lines."""


class StatusLines:
    """`write` is called with each line, before it is JSON."""

    def __init__(
        self, parts: EngineParts, reports: ReplicaReports, *, write: Callable[[dict[str, Any]], None]
    ) -> None:
        self._parts = parts
        self._reports = reports
        self._write = write
        self._everything = False
        self._wake = asyncio.Event()
        self._down, self._up = Rate(), Rate()
        self._blind_peer: dict[str, Any] | None = None
        self._counted_at = float("-inf")

    def wake(self, *, everything: bool = False) -> None:
        """Write what has changed now; `everything`: the status of every key."""
        self._everything |= everything
        self._wake.set()

    async def keep_alive(self) -> None:
        """Write a line that shows that the loop turns: with many keys, status passes are minutes apart."""
        while True:
            self._write({"event": "alive"})
            await asyncio.sleep(ENGINE_INTERVAL)

    async def run(self) -> None:
        """Write lines until cancelled."""
        engine, limits = self._parts.engine, self._parts.limits
        reported_at = served_at = float("-inf")
        meter = StallMeter()
        while True:
            started = time.perf_counter()
            everything, self._everything = self._everything, False
            self._wake.clear()
            seeds = engine.status().seeds if everything else engine.changes()
            changed = self._reports.changes(seeds, everything=everything, no_room=limits.disk_problem)
            totals, moment = engine.totals(), time.monotonic()
            self._down.sample(totals.bytes_in, moment)
            self._up.sample(totals.bytes_out, moment)
            for start in range(0, len(changed), KEYS_A_LINE):
                self._write({"event": "status", "keys": changed[start : start + KEYS_A_LINE]})
            now = time.perf_counter()
            if now - served_at >= SERVED_INTERVAL:
                served_at = now
                if served := {key.hex(): size for key, size in engine.served().items()}:
                    self._write({"event": "served", "keys": served})
            if now - reported_at >= ENGINE_INTERVAL or everything:
                reported_at = now
                stalls = meter.take()
                self._write(
                    {
                        "event": "engine",
                        "keys": totals.keys,
                        "synced": totals.synced,
                        "connections": engine.connections,
                        "firewalled": engine.firewalled,
                        "stored_bytes": totals.have_bytes,
                        "bytes_in": totals.bytes_in,
                        "bytes_out": totals.bytes_out,
                        "down": self._down.per_second(moment),
                        "up": self._up.per_second(moment),
                        "peers": totals.peers,
                        "held": limits.holding,
                        "max_stall_ms": stalls.stall,
                        "max_busy_ms": stalls.busy,
                        "limits": [asdict(limit) for limit in limits.status()],
                        "reach": reach_of(self._parts.swarm),
                        "network": network_numbers(self._parts.swarm, self._parts.cores),
                        "blind_peer": self._count_blind_peer(now),
                    }
                )
            spent = time.perf_counter() - started
            await asyncio.sleep(min(0.1, spent / STATUS_SHARE))
            try:
                async with asyncio.timeout(max(STATUS_INTERVAL, spent / STATUS_SHARE)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _count_blind_peer(self, now: float) -> dict[str, Any] | None:
        blind_peer = self._parts.blind_peer
        if blind_peer is not None and now - self._counted_at >= BLIND_PEER_INTERVAL:
            self._counted_at = now
            self._blind_peer = {
                "key": self._parts.swarm.public_key.hex(),
                **blind_peer.status()._asdict(),
            }
        return self._blind_peer
