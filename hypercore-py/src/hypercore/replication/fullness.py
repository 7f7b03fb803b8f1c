"""Whether a core is as full as it can be: each block of its head is stored, or known to be unavailable.

Writers clear blocks, and some lose a disk, so many cores can never be complete. A missing block counts as
unavailable once a *source*, a peer that has given us verified blocks or the head of this core, has reported
that it lacks it, does not look for it itself, and no peer offered it for a while. Peers that gave nothing
decide nothing, whatever they claim to have or to lack. A block that arrives anyway opens the core again. The
reasons are in docs/adr/0006-as-full-as-can-be.md.

Costs nothing for complete cores, and two numbers for the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..bitfield import Bitfield
from ..change import Change
from .config import MAX_BROKEN_CLAIMS
from .interfaces import PeerView, ReplicatedCore

GRACE = 10.0
"""Seconds from the word of a source that it lacks the missing blocks until they count as unavailable, for a
core of which nearly all is here. Ours; see `grace_for`."""

MAX_GRACE = 30 * 86400.0
"""Seconds of the longest such wait. Ours."""

CLAIM_TIME = 300.0
"""Seconds for which peers that have given nothing can delay that by saying that they have a missing block.
Ours: four times as long as a request waits at most would be 120."""

OFFER_TIME = 3600.0
"""Seconds for which sources can delay it by offering a missing block, while none comes. Ours: one source may
come again under its key, or under others, each time a request to it fails."""

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the peers of a core that is not full, at most as often."""

ANSWER_TIME = 30.0
"""Seconds that a peer of a core with unavailable blocks is given to say which of them it has. Ours."""

MAX_SOURCES = 64
"""Public keys of sources remembered for each open core: one that reconnects need not give anything again."""


def grace_for(have: int, length: int) -> float:
    """Seconds to wait after a source has lacked the missing blocks of a core of which `have` of `length`
    blocks are here.

    The less is here, the more likely the source is just another reader who has looked at a few blocks: 10 s
    at 97 %, 40 s at half, 17 minutes at a tenth, weeks below one percent.
    """
    if not have:
        return MAX_GRACE
    return min(MAX_GRACE, GRACE * (length / have) ** 2)


class FullnessHost(Protocol):
    """What this needs of the replicator."""

    core: ReplicatedCore

    @property
    def peers(self) -> Iterable[PeerView]: ...

    @property
    def wants_everything(self) -> bool:
        """Whether all blocks, also those to come, are being downloaded."""


class Fullness:
    """Of one core. `review` decides; the replicator calls everything else."""

    __slots__ = ("_given_up_below", "_host", "_lacking_since", "_lost", "_next", "_sources", "own")

    def __init__(self, host: FullnessHost) -> None:
        self.own = False
        """We are its writer: missing blocks are cleared ones, and are not requested."""
        self._host = host
        self._given_up_below = 0
        """Missing blocks below this number are unavailable, except for `_lost`."""
        self._lost: Bitfield | None = None
        """Blocks below that number that were here since: damaged on disk, for one."""
        self._lacking_since: float | None = None
        """Since when some source lacks what is missing, and nothing came."""
        self._sources: dict[bytes, None] | None = None
        self._next = 0.0

    # --- how it is

    @property
    def full(self) -> bool:
        """Whether there is a head, and all of it is here or unavailable."""
        core = self._host.core
        length, have = core.head.length, core.bitfield
        if have.contiguous >= length:
            return length > 0
        return self.own or (length > 0 and self._first_open() is None)

    @property
    def unavailable(self) -> int:
        """Blocks of the head that no peer is known to have; 0 until that is decided."""
        length, have = self._host.core.head.length, self._host.core.bitfield
        if have.contiguous >= length or not self.full:
            return 0
        return length - have.count_range(0, length)

    @property
    def offered(self) -> bool:
        """Whether some peer says that it has blocks which are missing here, and may be believed."""
        return any(peer.may_be_asked and peer.down.offers for peer in self._host.peers)

    def busy(self, now: float) -> bool:
        """Whether a peer may still give what is missing: it offers some of it, or came lately and has not
        reported what it has."""
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
        """The first block that is neither here nor unavailable."""
        core = self._host.core
        have, length = core.bitfield, core.head.length
        if self._lost is not None:
            for start, end in self._lost.runs(0, length):
                found = have.first_unset(start, end)
                if found is not None:
                    return found
        return have.first_unset(self._given_up_below, length) if self._given_up_below < length else None

    # --- what is told

    def trust(self, below: int) -> None:
        """It was decided in an earlier run that what is missing below block `below` is unavailable."""
        self._given_up_below = min(below, self._host.core.head.length)
        self._lost = None

    def reopen(self) -> None:
        """Another peer is known to have more: decide anew."""
        self._given_up_below = 0
        self._lost = self._lacking_since = None

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
        """Something happened to the core."""
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

    def _came(self, index: int) -> None:
        if index >= self._given_up_below:
            return
        if self._lost is not None and self._lost.get(index):
            self._lost.unset(index)
        else:
            self.reopen()  # somebody had it: there may be more where it came from

    # --- deciding

    def review(self, now: float) -> float | None:
        """Decide about what is missing. Returns when to look again; None: when something has happened."""
        host = self._host
        core = host.core
        if self.full or not core.head.length or not host.wants_everything:
            return None
        if now < self._next:
            return self._next
        self._next = now + CHECK_INTERVAL
        first = self._first_open()
        assert first is not None
        offered = claimed = witnessed = False
        peers = False
        for peer in host.peers:
            peers = True
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
            return self._next if peers else None
        at = self._lacking_since + grace_for(core.bitfield.count, core.head.length)
        if claimed:
            at = max(at, self._lacking_since + CLAIM_TIME)
        if offered:
            at = max(at, self._lacking_since + OFFER_TIME)
        if now < at:
            return min(at, max(self._next, now + CHECK_INTERVAL))
        self._given_up_below = core.head.length
        self._lost = self._lacking_since = None
        return None

    def is_source(self, peer: PeerView) -> bool:
        """Whether it has given us something of this core, on this connection or an earlier one."""
        if not peer.down.is_source and self._sources is not None:
            peer.down.is_source = peer.muxer.remote_public_key in self._sources
        return peer.down.is_source

    def _lacks(self, peer: PeerView, first: int) -> bool:
        """Whether a source that offers nothing has reported on everything missing, and looks for none of it.

        A source that looks for a block itself waits as we do, and knows no better.
        """
        core = self._host.core
        length = core.head.length
        if peer.remote_length < length or not peer.may_be_asked or peer.down.availability.forgotten:
            return False
        if peer.remote_downloading and peer.remote_wants.overlaps(first, length):
            return False
        return peer.down.wants.all_answered(core.bitfield, first, length)
