"""When to dial again. Source: hyperswarm lib/retry-timer.js (4.17.2)."""

from __future__ import annotations

from typing import NamedTuple

from .._types import Random
from .peer_info import MAX_ATTEMPTS, PeerInfo


class Backoff(NamedTuple):
    """Bounds in seconds; the wait is uniformly random between them."""

    shortest: float
    longest: float


SMALL = Backoff(1.0, 1.5)
MEDIUM = Backoff(5.0, 6.0)
LARGE = Backoff(15.0, 17.0)
HUGE = Backoff(600.0, 720.0)

PROVEN = (SMALL, SMALL, MEDIUM, LARGE)
"""Back-off by number of attempts, for peers that were reached before."""
UNPROVEN = (SMALL, MEDIUM, LARGE, LARGE)
"""Back-off by number of attempts, for peers never reached."""


def retry_backoff(peer: PeerInfo) -> Backoff | None:
    """The back-off before dialling `peer` again. None: not until a new discovery."""
    if peer.banned or not peer.reconnect:
        return None
    if peer.attempts > MAX_ATTEMPTS:
        return HUGE if peer.explicit else None
    return (PROVEN if peer.proven else UNPROVEN)[peer.attempts]


def retry_delay(peer: PeerInfo, rng: Random) -> float | None:
    """Random seconds within the back-off; None: no attempt."""
    backoff = retry_backoff(peer)
    if backoff is None:
        return None
    return backoff.shortest + rng.random() * (backoff.longest - backoff.shortest)
