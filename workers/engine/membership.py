"""A key's place in the swarm: announced if we serve it, looking for peers when it has reason to."""

from __future__ import annotations

from collections.abc import Callable

from .lookups import Lookups
from .ports import Topic


class Membership:
    """Of one topic. Joined by the engine; `steer` tells the swarm only what changes.

    `look_again` is called when a lookup is due that the swarm would not make by itself.
    """

    def __init__(
        self, topic: Topic, *, announce: bool, spread: float, look_again: Callable[[], None]
    ) -> None:
        self.topic = topic
        self._look_again = look_again
        self._announce = announce
        self._lookups = Lookups(spread)
        self._looking = True  # topics are joined looking

    def steer(self, *, complete: bool, peers: int, now: float) -> float | None:
        """Look, or stop looking. Returns when to come back at the latest."""
        lookups = self._lookups
        wanted = lookups.wants(complete=complete, peers=peers, now=now)
        again = lookups.repeats(complete=complete, peers=peers, now=now)
        if wanted is not self._looking:
            self._looking = wanted
            self.topic.set_mode(server=self._announce, client=wanted)
        elif again:
            self._look_again()
        return lookups.next_deadline(now)
