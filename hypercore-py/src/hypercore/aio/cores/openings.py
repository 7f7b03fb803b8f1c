"""Opens the channels of active cores on each connection, a limited number ahead of the peer's answers.

A channel takes two kilobytes from the moment it is opened. An engine may have thousands of active cores. With
this limit a peer that does not answer costs the same, however many cores there are; one that answers gets the
next channels as fast as it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from .active_core import ActiveCore
from .link import Link

MAX_UNANSWERED_OPENS = 64
"""Channels that we open on a connection ahead of the peer's answers (its own opens, or rejects). Official
peers open all at once. Ours."""


class Openings:
    """Opens the channels of one store. `attach` opens the channel of a core on a connection."""

    def __init__(
        self, cores: Mapping[bytes, ActiveCore], attach: Callable[[ActiveCore, Link], object]
    ) -> None:
        """`cores`: open cores by discovery key, updated by the caller."""
        self._cores = cores
        self._attach = attach
        self._names: tuple[bytes, ...] | None = None
        """Active cores, and some that were. Shared by all connections."""
        self._missed: dict[Link, None] = {}
        """Connections that still work through an older `_names`."""

    def begin(self, link: Link) -> None:
        """Open the channels of all active cores on a new connection."""
        self._start(link)
        if link.open_more is not None:
            link.open_more(_never)

    def activated(self, core: ActiveCore, links: Iterable[Link]) -> None:
        """A core has become active: open its channel on all connections."""
        self._names = None
        for link in links:
            self._speak(core, link)

    def _speak(self, core: ActiveCore, link: Link) -> None:
        if link.open_more is None and link.muxer.unanswered < MAX_UNANSWERED_OPENS:
            self._attach(core, link)
            return
        self._missed[link] = None
        if link.open_more is None:
            self._start(link)

    def leave(self, link: Link) -> None:
        """The connection is gone."""
        self._missed.pop(link, None)

    def _start(self, link: Link) -> None:
        self._missed.pop(link, None)
        if self._names is None:
            self._names = tuple(name for name, core in self._cores.items() if core.active)
        names = iter(self._names)
        link.open_more = lambda expired: self._open(link, names, expired)

    def _open(self, link: Link, names: Iterator[bytes], expired: Callable[[], bool]) -> bool:
        """Open channels for `names` until the peer owes too many answers. True if time ran out first."""
        muxer = link.muxer
        while muxer.unanswered < MAX_UNANSWERED_OPENS:
            name = next(names, None)
            if name is None:
                link.open_more = None
                if link not in self._missed:
                    return False
                self._start(link)
                return True
            core = self._cores.get(name)
            if core is not None and core.active and not core.replicator.knows(muxer):
                self._attach(core, link)
            if expired():
                return True
        return False


def _never() -> bool:
    return False
