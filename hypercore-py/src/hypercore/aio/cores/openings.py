"""Opens the channels of active cores on each connection, a limited number ahead of the peer's answers.

A channel takes two kilobytes from the moment it is opened. An engine may have thousands of active cores. With
this limit a peer that does not answer costs the same, however many cores there are; one that answers gets the
next channels as fast as it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .active_core import ActiveCore
from .link import Link

MAX_UNANSWERED_OPENS = 64
"""Channels that we open on a connection ahead of the peer's answers (its own opens, or rejects), besides as
many as it has open. Official peers open all at once. Ours."""

MAX_PROVEN_OPENS = 512
"""The same at most, however many channels the peer has open. Ours."""

SLACK = 64
"""Names of cores in the shared list that are no longer active, or are there twice, before it is made anew,
besides as many as there are active cores. Ours."""


class Openings:
    """Opens the channels of one store. `attach` opens the channel of a core on a connection."""

    def __init__(
        self, cores: Mapping[bytes, ActiveCore], attach: Callable[[ActiveCore, Link], object]
    ) -> None:
        """`cores`: open cores by discovery key, updated by the caller."""
        self._cores = cores
        self._attach = attach
        self._names: list[bytes] = []
        """While connections lack channels: active cores, and some that were. Shared by all connections."""
        self._max_names = 0
        """Names at which the list is made anew."""
        self._behind: dict[Link, int] = {}
        """Connections that lack channels, and how many of the names they are through."""

    def begin(self, link: Link) -> None:
        """Open the channels of all active cores on a new connection."""
        self._continue(link, 0)
        self.open_more(link, _never)

    def activated(self, core: ActiveCore, links: Iterable[Link]) -> None:
        """A core has become active: open its channel on all connections."""
        if self._behind:
            if len(self._names) >= self._max_names:
                self._renew()  # it is in there
            else:
                self._names.append(core.core.discovery_key)
        for link in links:
            if self.is_behind(link):
                continue
            if link.muxer.unanswered < _window(link):
                self._attach(core, link)
            else:
                self._continue(link, max(0, len(self._names) - 1))

    def is_behind(self, link: Link) -> bool:
        """Whether a connection lacks channels."""
        return link in self._behind

    def leave(self, link: Link) -> None:
        """The connection is gone."""
        if self._behind.pop(link, None) is not None and not self._behind:
            self._names = []

    def _renew(self) -> None:
        self._names = [name for name, core in self._cores.items() if core.everywhere]
        self._max_names = 2 * len(self._names) + SLACK
        for link in self._behind:
            self._behind[link] = 0

    def _continue(self, link: Link, at: int) -> None:
        if not self._behind:
            self._renew()
        self._behind[link] = at

    def open_more(self, link: Link, expired: Callable[[], bool]) -> bool:
        """Open channels that a connection lacks until the peer owes too many answers. True if time ran out
        first."""
        if not self.is_behind(link):
            return False
        muxer, window = link.muxer, _window(link)
        if muxer.unanswered > window // 2:
            return False  # channels that are opened together share messages
        while muxer.unanswered < window:
            at = self._behind[link]
            if at == len(self._names):
                self.leave(link)
                return False
            self._behind[link] = at + 1
            core = self._cores.get(self._names[at])
            if core is not None and core.everywhere and not core.replicator.knows(muxer):
                self._attach(core, link)
            if expired():
                return True
        return False


def _window(link: Link) -> int:
    """Opens that the peer may leave unanswered."""
    return min(MAX_UNANSWERED_OPENS + link.muxer.opened_channels, MAX_PROVEN_OPENS)


def _never() -> bool:
    return False
