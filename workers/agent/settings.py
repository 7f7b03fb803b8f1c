"""Settings of a worker. Validated, immutable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES

from ..engine.settings.settings import NO_LIMITS, LimitSettings
from ..settings.table import HEARTBEAT, WORKER_SAMPLE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of this machine's operator. Control's (`Configure`) may lower limits."""

    data: Path
    name: str
    zone: str = ""
    tags: tuple[str, ...] = ()
    limits: LimitSettings = NO_LIMITS
    """Limits of all engines together. `max_bytes` None: the disk's size less the headroom."""
    shards: int = 1
    """Number of engines. Keys are spread over them."""
    bootstrap: tuple[BootstrapNode, ...] = BOOTSTRAP_NODES
    """DHT nodes to start from."""
    relay: bytes | None = None
    """Public key of a blind relay."""
    host: str = "0.0.0.0"
    port: int = 0
    """UDP port of the first engine, each further one is one higher; 0: any."""
    heartbeat: float = HEARTBEAT.default
    """Seconds between two heartbeats."""
    sample: float = WORKER_SAMPLE.default
    """Seconds that a sample covers."""
    software: str = ""
    engine_user: str = ""
    """Name or number of the user that engines run as; empty: ours. Only root can start them as another."""
