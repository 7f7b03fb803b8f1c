"""Sums over the engines of a worker."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from farmwire.report import MAX_ENGINES, BlindPeerStats, EngineStats, OneEngine, Reach

from .host import rss_of
from .shard import Shard


def total(shards: Sequence[Shard], name: str) -> int:
    """The sum of a counter over the engines' last reports."""
    return int(sum(shard.facts.get(name, 0) for shard in shards))


def stored_bytes(shards: Sequence[Shard]) -> int:
    """Content bytes of all stored blocks."""
    return sum(shard.stored_bytes for shard in shards)


def quota_left(shards: Sequence[Shard]) -> int:
    """Bytes that the engines may still store. Their quotas count more than the content of blocks."""
    disks = [
        limit
        for shard in shards
        for limit in shard.facts.get("limits", ())
        if limit["limit"] == "disk" and not limit["text"]
    ]
    left = sum(max(0, int(limit["max"] - limit["value"])) for limit in disks)
    return left if len(disks) == len(shards) else sys.maxsize


def engine_stats(shards: Sequence[Shard], *, order: str = "") -> EngineStats:
    """The engines as the heartbeat reports them. `order`: `BlindPeerStats.order`."""
    facts = [shard.facts for shard in shards]
    firewalled = [each["firewalled"] for each in facts if each]
    pids = [shard.pid for shard in shards]
    return EngineStats(
        running=all(shard.running and not shard.hung for shard in shards),
        shards=len(shards),
        restarts=sum(shard.restarts for shard in shards),
        hung=sum(shard.running and shard.hung for shard in shards),
        hangs=sum(shard.hangs for shard in shards),
        connections=total(shards, "connections"),
        firewalled=any(firewalled) if firewalled else None,
        rss_bytes=sum(rss_of(pid) for pid in pids if pid is not None),
        stored_bytes=stored_bytes(shards),
        down_per_second=float(sum(each.get("down", 0) for each in facts)),
        up_per_second=float(sum(each.get("up", 0) for each in facts)),
        engines=[_one(shard) for shard in shards[:MAX_ENGINES]],
        blind_peer=_blind_peer(shards, order),
    )


def _blind_peer(shards: Sequence[Shard], order: str) -> BlindPeerStats | None:
    found = next((each for shard in shards if (each := shard.facts.get("blind_peer"))), None)
    if found is None:
        return None
    known = {name: found[name] for name in BlindPeerStats.__struct_fields__ if name in found}
    return BlindPeerStats(**known, order=order)


def _one(shard: Shard) -> OneEngine:
    reach = shard.facts.get("reach", {})
    return OneEngine(
        index=shard.index,
        running=shard.running and not shard.hung,
        hung=shard.running and shard.hung,
        restarts=shard.restarts,
        **{name: reach[name] for name in Reach.__struct_fields__ if name in reach},
    )
