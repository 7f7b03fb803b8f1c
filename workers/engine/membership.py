"""A key's place in the swarm: announced if we serve it, looking for peers when it has reason to."""

from __future__ import annotations

from .lookups import Lookups
from .ports import Topic


class Membership:
    """Of one topic. Joined by the engine; `steer` tells the swarm only what changes."""

    def __init__(self, topic: Topic, *, announce: bool, spread: float) -> None:
        self.topic = topic
        self._announce = announce
        self._lookups = Lookups(spread)
        self._looking = True  # topics are joined looking

    def steer(self, *, complete: bool, peers: int, now: float) -> float | None:
        """Look, or stop looking. Returns when to come back at the latest."""
        wanted = self._lookups.wants(complete=complete, peers=peers, now=now)
        if wanted is not self._looking:
            self._looking = wanted
            self.topic.set_mode(server=self._announce, client=wanted)
        return self._lookups.next_deadline(now)
