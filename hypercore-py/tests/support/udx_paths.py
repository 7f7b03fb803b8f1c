"""Two UDX streams over a simulated network."""

from __future__ import annotations

from random import Random
from typing import Any

from hypercore.testing import Path, Peer, Simulation

GOOD_TIME = 3600.0


def paths(seed: int = 1, **options: Any) -> tuple[Path, Path]:
    random = Random(seed)
    return Path(random, **options), Path(random, **options)


def transfer(sim: Simulation, source: Peer, target: Peer, data: bytes, *, chunk: int = 65536) -> None:
    """`source` writes `data` as it may, then ends; `target` ends when it sees that."""
    at = 0

    def pump() -> None:
        nonlocal at
        while at < len(data):
            at += chunk
            if not source.stream.write(data[at - chunk : at]):
                return
        source.stream.end()
        source.on_drain = None

    source.on_drain = pump
    target.on_end = target.stream.end
    pump()


def both_closed(left: Peer, right: Peer) -> bool:
    return left.closed is not None and right.closed is not None
