"""One core of a key, open and replicated, and what happened to it that has to be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from hypercore.core import Change, Core
from hypercore.replication import Conflict, ForkAvailable, PeerClosed, PeerOpened

from .ports import CoreSession


class ForkNews(NamedTuple):
    """The writer has rewritten a core."""

    state: Literal["followed", "quarantined"]
    fork: int
    length: int
    new_fork: int
    new_length: int


class Part:
    """A core of the key, open and replicated."""

    def __init__(self, session: CoreSession, *, changed: Callable[[], None], met: Callable[[], None]) -> None:
        """`changed` is called when anything happened, `met` first when a peer came or went."""
        self.session = session
        self.offered: ForkAvailable | None = None
        """A higher fork that is not followed."""
        self.forks: list[ForkNews] = []
        """What happened that nobody was told of yet."""
        self._head = (session.core.fork, session.core.length)
        self.rotten = 0
        """Blocks found damaged on disk that nobody was told of yet."""
        self.conflict = session.frozen
        """The writer has signed two histories, in this run or an earlier one; nothing more is fetched."""
        self._changed = changed
        self._met = met
        self._unsubscribe = session.subscribe(self._on_notice)
        session.download(True)

    @property
    def core(self) -> Core:
        return self.session.core

    @property
    def has_news(self) -> bool:
        """Whether some peer says that it knows of more than we do."""
        return any(peer.has_news for peer in self.session.peers)

    def close(self) -> None:
        self._unsubscribe()
        self.session.close()

    def _note_head(self) -> None:
        before, now = self._head, (self.core.fork, self.core.length)
        self._head = now
        if now[0] > before[0]:
            self.forks.append(ForkNews("followed", *before, *now))
            if self.offered is not None and now[0] >= self.offered.fork:
                self.offered = None

    def _on_notice(self, notice: object) -> None:
        if isinstance(notice, Change):
            if notice.rotten and notice.lost is not None:
                self.rotten += notice.lost[1] - notice.lost[0]
            self._note_head()
        elif isinstance(notice, ForkAvailable):
            self.offered = notice
            self.forks.append(ForkNews("quarantined", *self._head, notice.fork, notice.length))
        elif isinstance(notice, Conflict):
            self.conflict = True
        elif isinstance(notice, PeerOpened | PeerClosed):
            self._met()
        self._changed()
