"""One core of a key, open and replicated, with its pending events."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Literal, NamedTuple

from farmwire.gaps import CoreGaps
from hypercore.aio import Durable
from hypercore.core import Change, Core
from hypercore.replication import BackedOff, Conflict, ForkAvailable, Fullness, PeerClosed, PeerOpened

from ..model.interfaces import CoreSession
from .gaps import gaps_of

BACKOFF_INTERVAL = 60.0
"""Seconds between two events about peers that are backed off for a core: peers can cause any number. All are
in the log (`-vv`). Ours."""


class ForkEvent(NamedTuple):
    """The writer has rewritten a core."""

    state: Literal["followed", "quarantined"]
    fork: int
    length: int
    new_fork: int
    new_length: int


class TrackedCore:
    """A core of the key, open and replicated."""

    def __init__(
        self,
        session: CoreSession,
        *,
        changed: Callable[[bool], None],
        on_peer_change: Callable[[], None],
        own: bool = False,
        decisive: bool = False,
    ) -> None:
        """`changed` is called on any change, with True if the key may be known or synced by it;
        `on_peer_change` before that when a peer opens or closes.
        `own`: we are the writer, so cleared blocks are not fetched again."""
        self.session = session
        self.core: Core = session.core
        self.fullness: Fullness = session.fullness
        self._own = session.fullness.own = own
        self._gaps: tuple[object, CoreGaps] | None = None
        self.offered: ForkAvailable | None = None
        """A higher fork that is not followed."""
        self.forks: list[ForkEvent] = []
        """Forks not yet emitted."""
        self._head = (session.core.fork, session.core.length)
        self.corrupt = 0
        """Corrupt blocks found on disk and not yet emitted."""
        self.backed_off: BackedOff | None = None
        """A back-off of a peer that was not emitted yet."""
        self._next_backoff = 0.0
        self.conflict = session.frozen
        """The writer has signed two histories, in this run or an earlier one; nothing more is fetched."""
        self.decisive = decisive
        """Whether new blocks may decide what the key is, or which second core it has."""
        self._changed = changed
        self._met = on_peer_change
        self._unsubscribe = session.subscribe(self._on_notice)
        session.download(not own or session.core.complete)

    @property
    def full(self) -> bool:
        """Whether each known block is stored or unavailable."""
        core = self.core
        return core.bitfield.contiguous >= core.head.length or self.fullness.full

    @property
    def durable(self) -> bool:
        """Whether everything stored survives a crash."""
        core = self.core
        return core.durable_complete or (
            core.durable_head is core.head and core.durable.count >= core.bitfield.count
        )

    @property
    def unavailable(self) -> tuple[int, int]:
        """Unavailable blocks, and their bytes."""
        core = self.core
        if core.bitfield.contiguous >= core.head.length:
            return 0, 0
        blocks = self.fullness.unavailable
        return (blocks, core.byte_length - core.have_bytes) if blocks else (0, 0)

    @property
    def has_problems(self) -> bool:
        """Whether `problems_of` may have events."""
        return bool(self.conflict or self.forks or self.corrupt) or self.backed_off is not None

    def gaps(self) -> CoreGaps:
        """Return the missing blocks."""
        core = self.core
        state = (core.fork, core.length, core.bitfield.count, core.bitfield.contiguous)
        if self._gaps is None or self._gaps[0] != state:
            self._gaps = (state, gaps_of(core.bitfield, core.length))
        return self._gaps[1]

    @property
    def has_news(self) -> bool:
        """Whether a peer reports more than we have."""
        return any(peer.has_news for peer in self.session.peers)

    def close(self) -> None:
        """Stop listening, and close the session."""
        self._unsubscribe()
        self.session.close()

    def _record_head(self) -> None:
        before, now = self._head, (self.core.fork, self.core.length)
        self._head = now
        if now[0] > before[0]:
            self.forks.append(ForkEvent("followed", *before, *now))
            if self.offered is not None and now[0] >= self.offered.fork:
                self.offered = None

    def _on_notice(self, notice: object) -> None:
        if isinstance(notice, Change):
            if notice.corrupt and notice.lost is not None:
                self.corrupt += notice.lost[1] - notice.lost[0]
            elif self._own and notice.lost is not None:
                self.session.download(False)
            self._record_head()
            if self.decisive:
                self._changed(True)
                return
        elif isinstance(notice, ForkAvailable):
            self.offered = notice
            self.forks.append(ForkEvent("quarantined", *self._head, notice.fork, notice.length))
        elif isinstance(notice, BackedOff):
            if monotonic() >= self._next_backoff:
                self._next_backoff = monotonic() + BACKOFF_INTERVAL
                self.backed_off = notice
        elif isinstance(notice, Conflict):
            self.conflict = True
        elif isinstance(notice, PeerOpened | PeerClosed):
            self._met()
        elif isinstance(notice, Durable):
            if self.core.length and self.full:
                self._changed(True)
            return  # otherwise what is missing decides, and another notice comes with it
        self._changed(False)
