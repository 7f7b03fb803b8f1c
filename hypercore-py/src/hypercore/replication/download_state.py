"""What we ask of one peer: how much at a time, and what came of it."""

from __future__ import annotations

from .availability import Availability
from .config import MAX_BROKEN_CLAIMS, SCALE_RTT, ReplicationConfig
from .field_budget import FieldBudget
from .suspicion import HEAD, Record
from .wants import LocalWants


class DownloadState:
    """What we ask of one peer, and what came of it."""

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
        """Number of a request -> the block that it asks for, if it does."""
        self.cursor = 0
        """Below it there is nothing to ask this peer for."""
        self.starved = False
        """It could be asked for more, and there was nothing more."""
        self.max_inflight = config.inflight_max
        """Requests that it may have in flight: 1 after a timeout, then twice as many with each answer."""
        self.average = 0.0
        """Bytes of its blocks, averaged."""
        self.last_heard = 0.0
        self.stalled_until = 0.0
        self.head_refused = False
        """It refused to prove its head; asked again after its next sync."""
        self.head_failures = 0
        """How often it did not give the head that it claims, since it gave one; halved when forgiven."""
        self.refusals = 0
        """In a row."""
        self.backoff_until = 0.0
        """When it is asked again for what it refused; 0 if it refused nothing."""
        self.record: Record | None = None
        """What is remembered about this core at this peer: None in nearly all cases."""
        self.invalid_answers = 0
        """Answers that did not verify."""
        self.unsolicited_proofs = 0
        self.probing_until: float | None = None
        self.paused = False
        """It is asked for nothing until it is forgiven: it refused too often."""
        self.pauses = 0
        """How often that was so; each time lasts twice as long as the one before."""

        self.is_source = False
        """It has given us something of this core: see `Fullness`."""
        self.broken_claims = 0
        """Blocks that it announced and did not give, since it gave one."""

    @property
    def offers(self) -> bool:
        """Whether it says that it has blocks which we lack, and may be believed: it was asked for some, or is
        about to be."""
        if self.broken_claims >= MAX_BROKEN_CLAIMS:
            return False
        if self.record is not None and self.record.suspects:
            return True  # they are yet to be tried
        return not self.starved or any(index is not None for index in self.inflight.values())

    @property
    def avoids_head(self) -> bool:
        """Whether it is not asked about its head in the ordinary way."""
        return self.record is not None and HEAD in self.record.avoided

    def remember(self, record: Record | None) -> None:
        """Go by what is remembered about this core at this peer."""
        self.record = record
        if record is not None:
            self.availability.avoided = record.avoided

    @property
    def probing(self) -> bool:
        return self.probing_until is not None

    def reset_backoff(self) -> None:
        """Ask again for what it refused, and for reports that were dropped."""
        self.availability.clear_refusals()
        if self.availability.forgotten:
            self.availability.forgotten = False
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
