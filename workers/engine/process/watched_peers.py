"""Writes the peers of those keys that are watched, while they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from farmwire.message import to_builtins
from farmwire.traffic import MAX_PEERS, PeerList, PeerTraffic

from ..launch import EngineParts

WATCH_INTERVAL = 2.0
"""Seconds between two lists of one key. Ours."""


class WatchedPeers:
    """`write` is called with each line. Keys are watched until their time has passed."""

    def __init__(self, parts: EngineParts, *, write: Callable[[dict[str, Any]], None]) -> None:
        self._parts = parts
        self._write = write
        self._keys: tuple[bytes, ...] = ()
        self._until = 0.0
        self._wake = asyncio.Event()
        self._before: dict[tuple[bytes, bytes], tuple[float, int, int]] = {}
        """Key and peer to time and counters of the last list."""

    def watch(self, keys: Iterable[bytes], seconds: float) -> None:
        """Watch these keys, and no others, from now on."""
        self._keys, self._until = tuple(keys), monotonic() + seconds
        self._wake.set()

    async def run(self) -> None:
        """Write lists until cancelled."""
        while True:
            await self._wake.wait()
            while self._keys and monotonic() < self._until:
                self._list(monotonic())
                await asyncio.sleep(WATCH_INTERVAL)
            self._wake.clear()
            self._before.clear()

    def _list(self, now: float) -> None:
        connections = {each.remote_public_key: each for each in self._parts.swarm.connections}
        seen: dict[tuple[bytes, bytes], tuple[float, int, int]] = {}
        for key in self._keys:
            peers: list[PeerTraffic] = []
            for peer in self._parts.engine.peers_of(key):
                connection = connections.get(peer.public_key)
                if connection is None:
                    continue
                at, before_in, before_out = self._before.get((key, peer.public_key), (now, 0, 0))
                seen[key, peer.public_key] = (now, peer.bytes_in, peer.bytes_out)
                seconds = now - at
                peers.append(
                    PeerTraffic(
                        id=peer.public_key.hex(),
                        way=connection.way,
                        bytes_in=peer.bytes_in,
                        bytes_out=peer.bytes_out,
                        down=max(0, peer.bytes_in - before_in) / seconds if seconds else 0.0,
                        up=max(0, peer.bytes_out - before_out) / seconds if seconds else 0.0,
                        seconds=max(0.0, now - connection.opened_at),
                    )
                )
            peers.sort(key=_busy, reverse=True)
            listed = PeerList(key=key.hex(), total=len(peers), peers=peers[:MAX_PEERS])
            self._write({"event": "peers"} | to_builtins(listed))
        self._before = seen


def _busy(peer: PeerTraffic) -> tuple[float, int]:
    return peer.down + peer.up, peer.bytes_in + peer.bytes_out
