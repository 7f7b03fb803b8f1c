"""Replication of cores: announcements, subscriptions, requests and answers. Without I/O.

Format and rules: holepunchto/hypercore lib/replicator.js, lib/messages.js, lib/wants.js (11.37.1).
"""

from .config import ReplicationConfig
from .events import (
    BackedOff,
    BlockReceived,
    Conflict,
    Event,
    ForkAvailable,
    ManifestReceived,
    PeerClosed,
    PeerDeclined,
    PeerMisbehaved,
    PeerOpened,
    PeerReported,
    Reorged,
    StorageFailed,
    UpgradeAvailable,
    Upgraded,
)
from .field_budget import FieldBudget
from .fullness import Fullness
from .interfaces import PeerStats, PeerView, ReplicatedCore
from .peer import ALIAS, PROTOCOL, Peer
from .ratelimit import RateLimit
from .replicator import Replicator
from .suspicion import Suspicions

__all__ = [
    "ALIAS",
    "PROTOCOL",
    "BackedOff",
    "BlockReceived",
    "Conflict",
    "Event",
    "FieldBudget",
    "ForkAvailable",
    "Fullness",
    "ManifestReceived",
    "Peer",
    "PeerClosed",
    "PeerDeclined",
    "PeerMisbehaved",
    "PeerOpened",
    "PeerReported",
    "PeerStats",
    "PeerView",
    "RateLimit",
    "Reorged",
    "ReplicatedCore",
    "ReplicationConfig",
    "Replicator",
    "StorageFailed",
    "Suspicions",
    "UpgradeAvailable",
    "Upgraded",
]
