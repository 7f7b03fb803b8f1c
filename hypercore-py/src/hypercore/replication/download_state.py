"""Requests to one peer: how many at a time, and their results."""

from __future__ import annotations

from .availability import Availability
from .config import MAX_BROKEN_CLAIMS, SCALE_RTT, ReplicationConfig
from .field_budget import FieldBudget
from .suspicion import HEAD, Record
from .wants import LocalWants


class DownloadState:
    """Requests to one peer, and their results."""

    __slots__ = (
        "availability",
        "average",
        "backoff_until",
        "broken_claims",
        "cursor",
        "head_failures",
        "head_refused",
        "inflight",
        "invalid_answers",
        "is_source",
        "last_heard",
        "max_inflight",
        "paused",
        "pauses",
        "probing_until",
        "record",
        "refusals",
        "stalled_until",
        "starved",
        "unsolicited_proofs",
        "wants",
    )

    def __init__(self, config: ReplicationConfig, fields: FieldBudget) -> None:
        self.availability = Availability(fields)
        self.wants = LocalWants(config.want_batch)
        self.inflight: dict[int, int | None] = {}
        """Id of each request -> its block, None for other requests."""
        self.cursor = 0
        """Block below which there is nothing to request from this peer."""
        self.starved = False
        """Whether its window had space and there was nothing to request."""
        self.max_inflight = config.inflight_max
        """Bound on its requests in flight: 1 after a timeout, doubled with each answer."""
        self.average = 0.0
        """Average bytes of its blocks."""
        self.last_heard = 0.0
        self.stalled_until = 0.0
        self.head_refused = False
        """Whether it refused to prove its head; requested again after its next sync."""
        self.head_failures = 0
        """Failed requests for the head that it claims, since its last proven head; halved by
        `reset_backoff`."""
        self.refusals = 0
        """Refusals in a row."""
        self.backoff_until = 0.0
        """Time at which refused blocks are requested again; 0 without refusals."""
        self.record: Record | None = None
        """Failed requests for this core at this peer, over reconnects; None for most peers."""
        self.invalid_answers = 0
        """Answers that did not verify."""
        self.unsolicited_proofs = 0
        self.probing_until: float | None = None
        self.paused = False
        """Whether it gets no requests, since it refused too often."""
        self.pauses = 0
        """Number of such pauses; each is twice as long as the one before."""

        self.is_source = False
        """Whether it gave a verified block or head of this core: see `Fullness`."""
        self.broken_claims = 0
        """Blocks that it announced and did not give, since its last block."""

    @property
    def offers(self) -> bool:
        """Whether it announces blocks that we lack and is credible: some are, or will be, requested from
        it."""
        if self.broken_claims >= MAX_BROKEN_CLAIMS:
            return False
        if self.record is not None and self.record.suspects:
            return True  # they were not requested yet
        return not self.starved or any(index is not None for index in self.inflight.values())

    @property
    def avoids_head(self) -> bool:
        """Whether requests about its head are only sent as trials."""
        return self.record is not None and HEAD in self.record.avoided

    def remember(self, record: Record | None) -> None:
        """Use the record of failed requests for this core at this peer."""
        self.record = record
        if record is not None:
            self.availability.avoided = record.avoided

    @property
    def probing(self) -> bool:
        return self.probing_until is not None

    def reset_backoff(self) -> None:
        """Request refused blocks, and dropped announcements, again."""
        self.availability.clear_refusals()
        if self.availability.discarded:
            self.availability.discarded = False
            self.wants.clear()
        self.head_refused = self.paused = False
        self.head_failures //= 2
        self.refusals = 0
        self.backoff_until = 0.0
        self.cursor = 0


def window(config: ReplicationConfig, rtt: float | None, peers: int, average: float) -> int:
    """Requests to keep in flight to one of `peers` peers, whose blocks have `average` bytes (0: not known
    yet).

    Source: hypercore lib/replicator.js `getMaxInflight`; the size of the blocks is our own addition.
    """
    low, high = config.inflight_min, config.inflight_max
    scale = 1.0
    if rtt is None:
        base = 3.0 * low
    else:
        if rtt > SCALE_RTT:
            scale = max(1.0, rtt / SCALE_RTT * min(1.0, 2 / max(peers, 1)))
        base = low * scale
    if average:
        base = max(base, config.inflight_bytes * scale / average)
    return max(low, min(high, round(base)))
