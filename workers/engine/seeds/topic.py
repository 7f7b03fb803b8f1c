"""A key's topic in the swarm: announced if we serve it, looked up when useful."""

from __future__ import annotations

from typing import Generic

from ..model.interfaces import Network, T
from .lookup_schedule import Lookups


class TopicSubscription(Generic[T]):
    """The subscription of one topic. `update` applies changes to the swarm; `rest` stops lookups of a cold
    key."""

    __slots__ = ("_announce", "_looking", "_lookups", "_spread", "_swarm", "_topic")

    def __init__(
        self, swarm: Network[T], topic: bytes, *, announce: bool, spread: float, resting: bool = False
    ) -> None:
        """Joins at once, with a lookup unless `resting`."""
        self._swarm = swarm
        self._announce = announce
        self._spread = spread
        self._lookups: Lookups | None = None
        # Peers do not find us without an announcement, so lookups continue
        self._looking = not resting or not announce
        self._topic = swarm.join(topic, server=announce, client=self._looking, opportunistic_lookup=True)
        if not resting:
            self._lookups = Lookups(spread)

    def update(self, *, complete: bool, peers: int, now: float) -> float | None:
        """Look up peers, look again, or stop. Returns when to call again at the latest, or None."""
        lookups = self._lookups
        if lookups is None:
            lookups = self._lookups = Lookups(self._spread, asked=True)
        looking = lookups.wants(complete=complete, peers=peers, now=now) or not self._announce
        again = lookups.repeats(complete=complete, peers=peers, now=now)
        if looking is not self._looking or again:
            self._looking = looking
            self._swarm.set_mode(self._topic, server=self._announce, client=looking, refresh=again)
        return lookups.next_deadline(now)

    @property
    def looking(self) -> bool:
        """Whether it looks up peers now."""
        return self._looking and self._announce

    def rest(self) -> None:
        """Stay announced without lookups."""
        self.update(complete=True, peers=1, now=0.0)
        self._lookups = None

    async def leave(self) -> None:
        """Leave the topic; returns when it is unannounced, or that has failed."""
        await self._topic.leave()


class NoTopic:
    """In place of the subscription of a key that is not announced: its peers are known otherwise.

    Other peers do not find it and ask for it, so it does not rest: it follows those that have it.
    """

    __slots__ = ()

    looking = True

    def update(self, *, complete: bool, peers: int, now: float) -> float | None:
        """There is nothing to look up."""
        return None

    def rest(self) -> None:
        """There is nothing to stop."""

    async def leave(self) -> None:
        """There is nothing to leave."""
