"""A key's place in the swarm: announced if we serve it, looking for peers when it has reason to."""

from __future__ import annotations

from typing import Generic

from .lookups import Lookups
from .ports import Network, T


class Membership(Generic[T]):
    """Of one topic, which is joined at once, looking. `steer` tells the swarm what changes."""

    def __init__(self, swarm: Network[T], topic: bytes, *, announce: bool, spread: float) -> None:
        self._swarm = swarm
        self._announce = announce
        self._lookups = Lookups(spread)
        self._looking = True
        self._topic = swarm.join(topic, server=announce, client=True)

    def steer(self, *, complete: bool, peers: int, now: float) -> float | None:
        """Look, look again, or stop looking. Returns when to come back at the latest."""
        lookups = self._lookups
        looking = lookups.wants(complete=complete, peers=peers, now=now)
        again = lookups.repeats(complete=complete, peers=peers, now=now)
        if looking is not self._looking or again:
            self._looking = looking
            self._swarm.set_mode(self._topic, server=self._announce, client=looking, refresh=again)
        return lookups.next_deadline(now)

    async def leave(self) -> None:
        """Leave the topic; returns when it is unannounced, or that has failed."""
        await self._topic.leave()
