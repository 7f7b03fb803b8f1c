"""Whether a core is as full as it can be: each block of its head is stored, or known to be unavailable.

Writers clear blocks, and some lose a disk, so many cores can never be complete. A missing block counts as
unavailable once a *source* (a peer that gave verified blocks or the head of this core) has reported that it
lacks the block and does not look for it, and no peer offered it for a while. Peers that gave nothing decide
nothing, whatever they announce. A block that arrives later opens the decision again. Reasons:
docs/adr/0006-as-full-as-can-be.md.

Complete cores need no memory for this, others two numbers.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..bitfield import Bitfield
from ..change import Change
from .config import MAX_BROKEN_CLAIMS
from .events import PeerReported
from .interfaces import PeerView, ReplicatedCore

GRACE = 10.0
"""Seconds from the report of a source that it lacks the missing blocks until they count as unavailable, for a
core that is nearly complete. Ours; see `grace_for`."""

MAX_GRACE = 30 * 86400.0
"""Seconds of the longest such wait. Ours."""

CLAIM_TIME = 300.0
"""Seconds for which peers that gave nothing can delay the decision by announcing a missing block. Ours: more
than the 120 s that a single request waits."""

OFFER_TIME = 3600.0
"""Seconds for which sources can delay the decision by offering a missing block that does not come. Ours: a
source may reconnect, under its key or others, each time a request to it fails."""

CHECK_INTERVAL = 1.0
"""Least seconds between two checks of the peers of a core that is not full."""

MAX_CHECK_INTERVAL = 5.0
"""Most seconds between two such checks while the core has peers: each wait without a report is twice the one
before, and while blocks are requested it is this one. Time limits of peers are not reported. Ours."""

ANSWER_TIME = 30.0
"""Seconds in which a peer of a core with unavailable blocks should report which of them it has. Ours."""

MAX_SOURCES = 64
"""Public keys of sources kept for each open core, so that one that reconnects is still a source."""


def grace_for(have: int, length: int) -> float:
    """Seconds to wait after a source lacked the missing blocks of a core with `have` of `length` blocks
    stored.

    The less is stored, the likelier the source is another reader with a few blocks: 10 s at 97 %, 40 s at
    half, 17 minutes at a tenth, weeks below one percent.
    """
    if not have:
        return MAX_GRACE
    return min(MAX_GRACE, GRACE * (length / have) ** 2)


class FullnessHost(Protocol):
    """The members of the replicator that `Fullness` uses."""

    core: ReplicatedCore

    @property
    def peers(self) -> Collection[PeerView]: ...

    @property
    def wants_everything(self) -> bool:
        """Whether all blocks, including future ones, are downloaded."""

    def emit(self, event: PeerReported, /) -> None: ...

    def wake_at(self, time: float, /) -> None: ...


class Fullness:
    """The state of one core. `review` decides; the replicator calls the other methods."""

    __slots__ = (
        "_due",
        "_given_up_below",
        "_host",
        "_interval",
        "_lacking_since",
        "_lost",
        "_next",
        "_report_waits",
        "_reviewed",
        "_sources",
        "own",
    )

    def __init__(self, host: FullnessHost) -> None:
        self.own = False
        """Whether we are its writer: missing blocks were cleared, and are not requested."""
        self._host = host
        self._given_up_below = 0
        """Missing blocks below this number are unavailable, except those in `_lost`."""
        self._lost: Bitfield | None = None
        """Blocks below that number that were stored and then lost, such as corrupt ones."""
        self._lacking_since: float | None = None
        """Time since which a source lacks the missing blocks and none came."""
        self._sources: dict[bytes, None] | None = None
        self._next = 0.0
        """Peers are not checked again before."""
        self._due: float | None = None
        """When they are checked again though none reports anything."""
        self._interval = CHECK_INTERVAL
        self._reviewed = False
        """Whether nothing was reported or stored since peers were checked."""
        self._report_waits = False
        """Whether `PeerReported` is emitted at `_next`."""

    # --- state

    @property
    def full(self) -> bool:
        """Whether there is a head and each of its blocks is stored or unavailable."""
        core = self._host.core
        length, have = core.head.length, core.bitfield
        if have.contiguous >= length:
            return length > 0
        return self.own or (length > 0 and self._first_open() is None)

    @property
    def unavailable(self) -> int:
        """Number of unavailable blocks; 0 until that is decided."""
        length, have = self._host.core.head.length, self._host.core.bitfield
        if have.contiguous >= length or not self.full:
            return 0
        return length - have.count_range(0, length)

    @property
    def offered(self) -> bool:
        """Whether a credible peer announces blocks that are missing here."""
        return any(peer.may_be_asked and peer.down.offers for peer in self._host.peers)

    def busy(self, now: float) -> bool:
        """Whether a peer may still give missing blocks: it offers some, or connected lately and has not
        reported its blocks."""
        core = self._host.core
        if self.own or core.bitfield.contiguous >= core.head.length:
            return False
        return any(self._may_give(peer, now) for peer in self._host.peers)

    def _may_give(self, peer: PeerView, now: float) -> bool:
        core, down = self._host.core, peer.down
        if down.broken_claims >= MAX_BROKEN_CLAIMS or not peer.remote_uploading:
            return False
        if peer.synced and peer.remote_length == 0:
            return False
        if down.wants.all_answered(core.bitfield, 0, core.head.length):
            return peer.may_be_asked and down.offers
        return now < peer.opened_at + ANSWER_TIME

    def _first_open(self) -> int | None:
        """The first block that is neither stored nor unavailable."""
        core = self._host.core
        have, length = core.bitfield, core.head.length
        if self._lost is not None:
            for start, end in self._lost.runs(0, length):
                found = have.first_unset(start, end)
                if found is not None:
                    return found
        if self._given_up_below <= have.contiguous:
            return have.contiguous if have.contiguous < length else None
        return have.first_unset(self._given_up_below, length) if self._given_up_below < length else None

    # --- input

    def trust(self, below: int) -> None:
        """An earlier run decided that the missing blocks below `below` are unavailable."""
        self._given_up_below = min(below, self._host.core.head.length)
        self._lost = None

    def reopen(self) -> None:
        """Decide again: another peer is known to have missing blocks."""
        self._given_up_below = 0
        self._lost = self._lacking_since = None
        self._reviewed = False

    def gave(self, peer: PeerView) -> None:
        """The peer has given a block or a head that verified."""
        peer.down.is_source = True
        peer.down.broken_claims = 0
        key = peer.muxer.remote_public_key
        if key and (self._sources is None or key not in self._sources):
            sources = self._sources = self._sources or {}
            if len(sources) >= MAX_SOURCES:
                del sources[next(iter(sources))]
            sources[key] = None

    def changed(self, change: Change) -> None:
        """The core has changed."""
        if change.block is not None:
            self._came(change.block)
        if change.truncated_to is not None:
            self._given_up_below = min(self._given_up_below, change.truncated_to)
            if self._lost is not None:
                self._lost.set_range(change.truncated_to, None, False)
        elif change.lost is not None:
            start, end = change.lost[0], min(change.lost[1], self._given_up_below)
            if start < end:
                if self._lost is None:
                    self._lost = Bitfield()
                self._lost.set_range(start, end)
        if self._lacking_since is not None:
            self._lacking_since = None
        self._reviewed = False

    def reported(self, now: float) -> None:
        """A peer reported what it has, wants or refuses, or opened or closed the channel."""
        if self._reviewed:
            self._reviewed, self._report_waits = False, True
            self.handle_timer(now)

    def handle_timer(self, now: float) -> None:
        """Emit PeerReported if a report waits and its time has come; otherwise ask to be called then."""
        if not self._report_waits:
            return
        if now < self._next:
            self._host.wake_at(self._next)
        else:
            self._report_waits = False
            self._host.emit(PeerReported())

    def _came(self, index: int) -> None:
        if index >= self._given_up_below:
            return
        if self._lost is not None and self._lost.get(index):
            self._lost.unset(index)
        else:
            self.reopen()  # a peer had a given-up block, so it may have others

    # --- deciding

    def review(self, now: float) -> float | None:
        """Decide about missing blocks. Returns the time of the next review unless the core changes, or a peer
        reports something (`PeerReported`), before; None: after that."""
        core = self._host.core
        if self.own or core.bitfield.contiguous >= core.head.length:
            return None
        if now >= self._next:
            self._next = now + CHECK_INTERVAL
            self._due = self._check(now)
            self._reviewed, self._report_waits = True, False
        elif not self._reviewed:
            return self._next
        return self._due if self._due is None else max(self._due, self._next)

    def _check(self, now: float) -> float | None:
        """Look at the peers. Returns when to do so again if they report nothing."""
        host = self._host
        self._interval = min(2 * self._interval, MAX_CHECK_INTERVAL) if self._reviewed else CHECK_INTERVAL
        decides_at: float | None = None
        if host.wants_everything and not self.full:
            decides_at = self._decide(now)
        if not (host.peers if host.wants_everything and not self.full else self.busy(now)):
            return decides_at
        requested = any(peer.down.inflight for peer in host.peers)
        again = now + (MAX_CHECK_INTERVAL if requested else self._interval)
        return again if decides_at is None else min(decides_at, again)

    def _decide(self, now: float) -> float | None:
        """Give up the missing blocks if it is time to. Otherwise returns when that is, as far as peers have
        reported; None: not known."""
        core = self._host.core
        first = self._first_open()
        assert first is not None
        offered = claimed = witnessed = False
        for peer in self._host.peers:
            if not peer.synced or peer.remote_fork != core.head.fork:
                continue
            source = self.is_source(peer)
            if peer.may_be_asked and peer.down.offers:
                offered |= source
                claimed |= not source
            elif source and not witnessed:
                witnessed = self._lacks(peer, first)
        if witnessed and self._lacking_since is None:
            self._lacking_since = now
        if self._lacking_since is None:
            return None
        at = self._lacking_since + grace_for(core.bitfield.count, core.head.length)
        if claimed:
            at = max(at, self._lacking_since + CLAIM_TIME)
        if offered:
            at = max(at, self._lacking_since + OFFER_TIME)
        if now < at:
            return at
        self._given_up_below = core.head.length
        self._lost = self._lacking_since = None
        return None

    def is_source(self, peer: PeerView) -> bool:
        """Whether it gave a verified block or head of this core, on this connection or an earlier one."""
        if not peer.down.is_source and self._sources is not None:
            peer.down.is_source = peer.muxer.remote_public_key in self._sources
        return peer.down.is_source

    def _lacks(self, peer: PeerView, first: int) -> bool:
        """Whether a source that offers nothing has reported on all missing blocks and looks for none of them.

        A source that looks for a block itself waits as we do.
        """
        core = self._host.core
        length = core.head.length
        if peer.remote_length < length or not peer.may_be_asked or peer.down.availability.discarded:
            return False
        if peer.remote_downloading and peer.remote_wants.overlaps(first, length):
            return False
        return peer.down.wants.all_answered(core.bitfield, first, length)
