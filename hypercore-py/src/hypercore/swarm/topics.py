"""Topics: their modes, and when each is announced or looked up next.

Source: hyperswarm lib/peer-discovery.js (4.17.2) for the intervals. Official swarms run all topics at once;
here a schedule limits how many run at a time, and how many announce-only refreshes begin a second, so that
thousands of topics are spread out instead of bursting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import count

from .._types import Random

REFRESH_SECONDS = 600.0
"""Seconds between two refreshes of a topic; announcements are stored for 13 minutes at least."""
REFRESH_JITTER_SECONDS = 120.0
"""Largest random addition to REFRESH_SECONDS."""
RETRY_SECONDS = (5.0, 10.0, 20.0, 40.0, 80.0, 120.0)
"""Waits after a refresh without any answer, by failures in a row; up to half of it is added at random."""

SECOND_LOOKUP_SECONDS = 5.0
"""Seconds from the first announcement to a second lookup: a peer that joined at the same time was not
announced at the first one. Up to as much is added at random."""

MIN_PARALLEL = 16
"""Least number of topics refreshed at a time."""
MAX_PARALLEL = 64
"""Largest number of topics refreshed at a time."""
TOPICS_PER_PARALLEL = 150
"""Topics per parallel refresh: a refresh takes about two seconds, so that many are done in half the
interval."""

MIN_PER_SECOND = 50.0
"""Least number of refreshes begun a second, of announce-only topics and repetitions."""
SPREAD_SECONDS = 240.0
"""Seconds in which all topics have their turn, however many there are."""
MAX_BURST = 100
"""Such refreshes that may begin at once after a quiet time."""

SHORTEST_FIRST_SECONDS = 60.0
"""Least seconds between the first two refreshes of a topic when there are many. The wait is random, so that
topics that began within minutes are spread over the whole interval."""

OPPORTUNISTIC_EVERY = 2
"""A topic with opportunistic lookups looks up peers at every refresh with a number divisible by this."""

MAX_UNANNOUNCE_FAILURES = 2
"""Failures after which we stop unannouncing: announcements expire by themselves."""

_ONE = 1 - 1e-6
"""One token, less the rounding errors of sums."""


class Action(Enum):
    """The work of a refresh."""

    ANNOUNCE = auto()
    """Announce us, and find peers meanwhile."""
    LOOKUP = auto()
    UNANNOUNCE = auto()
    """Remove our announcement, and find peers meanwhile."""


class Queued(Enum):
    """The queue in which a topic waits."""

    NEXT = auto()
    """Topics that a caller waits for."""
    FIRST = auto()
    """Topics announced for the first time, at a measured pace."""
    AGAIN = auto()
    """Topics refreshed again, at the same pace when no other waits."""


class Topic:
    """One joined topic. Small, since ten thousand must fit a small machine."""

    __slots__ = (
        "announced",
        "clients",
        "closest",
        "due_at",
        "failures",
        "first_announce",
        "key",
        "looking",
        "may_repeat_lookup",
        "opportunistic",
        "repeating_lookup",
        "rounds",
        "running",
        "servers",
        "sought",
        "stale",
        "waiting",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.servers = 0
        """Number of joins that announce us."""
        self.clients = 0
        """Number of joins that look up peers."""
        self.opportunistic = False
        """Whether peers are looked up occasionally, without a join that looks up."""
        self.looking = False
        """Whether the last refresh looks up peers."""
        self.sought = False
        """Whether a join looked up peers when it began."""
        self.rounds = 0
        """Refreshes begun so far."""
        self.closest = b""
        """Packed addresses of the nearest nodes of the last refresh."""
        self.announced = False
        """Whether nodes may store our announcement."""
        self.first_announce = True
        self.may_repeat_lookup = True
        """Whether a second lookup follows the next announcement."""
        self.repeating_lookup = False
        """Whether that second lookup is next."""
        self.failures = 0
        self.running = False
        self.stale = False
        """Whether the wanted work has changed since the running refresh began."""
        self.waiting: Queued | None = None
        self.due_at = 0.0

    @property
    def action(self) -> Action | None:
        """The work to do now. None: no more; the topic can be deleted."""
        if self.servers:
            return Action.LOOKUP if self.repeating_lookup else Action.ANNOUNCE
        if self.announced:
            return Action.UNANNOUNCE
        return Action.LOOKUP if self.clients else None

    @property
    def seeking(self) -> bool:
        """Whether peers found under it are dialled."""
        return self.clients > 0


def parallel_refreshes(topics: int) -> int:
    """Refreshes that may run at a time with this number of topics."""
    return max(MIN_PARALLEL, min(MAX_PARALLEL, topics // TOPICS_PER_PARALLEL))


def refreshes_per_second(topics: int) -> float:
    """Refreshes a second of topics without waiting callers, for that many topics."""
    return max(MIN_PER_SECOND, topics / SPREAD_SECONDS)


class TopicSchedule:
    """All topics. `take` returns which to refresh now; report `finished` with the outcome.

    `has_peers(key)`, if given, returns whether a topic with lookups has peers already: its refresh then has
    no priority over announce-only ones.
    """

    def __init__(self, rng: Random, has_peers: Callable[[bytes], bool] | None = None) -> None:
        self.topics: dict[bytes, Topic] = {}
        self.running = 0
        self._has_peers = has_peers
        self._rng = rng
        self._queues: dict[Queued, deque[Topic]] = {queue: deque() for queue in Queued}
        self._tokens = float(MAX_BURST)
        """Refreshes without waiting callers that may begin now."""
        self._counted_at: float | None = None
        """When the tokens were counted."""
        self._timers: list[tuple[float, int, Topic]] = []
        self._order = count()
        self._paused = False

    def __len__(self) -> int:
        return len(self.topics)

    def get_or_add(self, key: bytes) -> Topic:
        """Return the topic of `key`, a new one if there is none."""
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(key)
        return topic

    def changed(self, topic: Topic) -> None:
        """The wanted work has changed, or an application asks for a refresh: run it next."""
        topic.repeating_lookup = False
        topic.may_repeat_lookup = True
        if topic.running:
            topic.stale = True
        elif topic.action is Action.ANNOUNCE and not topic.seeking and not topic.rounds:
            if topic.waiting is None:
                self._queue(topic, Queued.FIRST)
        elif topic.waiting is not Queued.NEXT:
            self._queue(topic, Queued.NEXT)

    def relaxed(self, topic: Topic, now: float) -> None:
        """No join looks up peers under it any more; it stays announced, and the schedule stays. A topic with
        opportunistic lookups keeps its second lookup: otherwise two peers that joined at the same time and
        were complete at once would not find each other until the second refresh."""
        if topic.repeating_lookup and not topic.opportunistic:
            topic.repeating_lookup = False
            if not topic.running and topic.waiting is None:
                self._plan(topic, now)

    def take(self, now: float) -> Topic | None:
        """The next topic to refresh. None: nothing to do, or enough is running."""
        self.handle_timer(now)
        while not self._paused and self.running < parallel_refreshes(len(self.topics)):
            topic = self._take_next() or self._take_paced(now)
            if topic is None:
                return None
            topic.waiting = None
            if topic.action is None:
                self._discard(topic)
                continue
            opportunistic = topic.opportunistic and topic.rounds % OPPORTUNISTIC_EVERY == 0
            topic.looking = topic.seeking or topic.repeating_lookup or opportunistic
            topic.sought = topic.seeking
            topic.rounds += 1
            topic.running = True
            self.running += 1
            return topic
        return None

    def _take_next(self) -> Topic | None:
        while (topic := self._first_of(Queued.NEXT)) is not None:
            self._queues[Queued.NEXT].popleft()
            if not (topic.seeking and self._has_peers is not None and self._has_peers(topic.key)):
                return topic
            self._queue(topic, Queued.AGAIN if topic.announced else Queued.FIRST)
        return None

    def _take_paced(self, now: float) -> Topic | None:
        queue = Queued.FIRST if self._first_of(Queued.FIRST) else Queued.AGAIN
        if self._first_of(queue) is None:
            return None
        self._count_tokens(now)
        if self._tokens < _ONE:
            return None
        self._tokens -= 1
        return self._queues[queue].popleft()

    def _first_of(self, queue: Queued) -> Topic | None:
        waiting = self._queues[queue]
        while waiting and waiting[0].waiting is not queue:
            waiting.popleft()  # it is in another queue, or has run since
        return waiting[0] if waiting else None

    def _count_tokens(self, now: float) -> None:
        if self._counted_at is not None:
            earned = (now - self._counted_at) * refreshes_per_second(len(self.topics))
            self._tokens = min(float(MAX_BURST), self._tokens + earned)
        self._counted_at = now

    def _queue(self, topic: Topic, queue: Queued) -> None:
        topic.waiting = queue
        self._queues[queue].append(topic)

    def finished(self, topic: Topic, now: float, *, ok: bool) -> None:
        """A refresh has ended. It is repeated at once if the wanted work has changed."""
        first = ok and topic.may_repeat_lookup and topic.action is Action.ANNOUNCE
        topic.repeating_lookup = first and (topic.seeking or (topic.sought and topic.opportunistic))
        if ok:
            topic.may_repeat_lookup = False
        topic.running = False
        self.running -= 1
        topic.failures = 0 if ok else topic.failures + 1
        if topic.failures >= MAX_UNANNOUNCE_FAILURES and topic.action is Action.UNANNOUNCE:
            topic.announced = False
        if topic.stale:
            topic.stale = False
            self.changed(topic)
        elif topic.action is None:
            self._discard(topic)
        else:
            self._plan(topic, now)

    def _plan(self, topic: Topic, now: float) -> None:
        topic.due_at = now + self._wait(topic)
        heappush(self._timers, (topic.due_at, next(self._order), topic))

    def pause(self) -> None:
        """We are offline: start no refresh."""
        self._paused = True

    def resume(self) -> None:
        """We are online again: refresh every topic."""
        if not self._paused:
            return
        self._paused = False
        for topic in self.topics.values():
            if not topic.running and topic.waiting is None:
                self._queue(topic, Queued.NEXT if topic.seeking else Queued.AGAIN)

    def next_deadline(self) -> float | None:
        """When `take` may next return a topic."""
        while self._timers and self._is_void(self._timers[0]):
            heappop(self._timers)
        at = self._timers[0][0] if self._timers else None
        paced = self._first_of(Queued.FIRST) or self._first_of(Queued.AGAIN)
        if paced and self._tokens < _ONE and self._counted_at is not None and not self._paused:
            earned_at = self._counted_at + (1 - self._tokens) / refreshes_per_second(len(self.topics))
            at = earned_at if at is None else min(at, earned_at)
        return at

    def handle_timer(self, now: float) -> None:
        """Queue topics whose wait has ended: see `take`."""
        while self._timers and self._timers[0][0] <= now:
            entry = heappop(self._timers)
            if not self._is_void(entry):
                self._queue(entry[2], Queued.AGAIN)

    def _is_void(self, entry: tuple[float, int, Topic]) -> bool:
        at, _, topic = entry
        idle = not topic.running and topic.waiting is None
        return topic.due_at != at or not idle or self.topics.get(topic.key) is not topic

    def _wait(self, topic: Topic) -> float:
        if topic.failures:
            wait = RETRY_SECONDS[min(topic.failures, len(RETRY_SECONDS)) - 1]
            return wait * (1 + self._rng.random() / 2)
        if topic.repeating_lookup:
            return SECOND_LOOKUP_SECONDS * (1 + self._rng.random())
        if topic.rounds == 1 and len(self.topics) > MAX_BURST:
            longest = REFRESH_SECONDS + REFRESH_JITTER_SECONDS
            return SHORTEST_FIRST_SECONDS + (longest - SHORTEST_FIRST_SECONDS) * self._rng.random()
        return REFRESH_SECONDS + REFRESH_JITTER_SECONDS * self._rng.random()

    def _discard(self, topic: Topic) -> None:
        if self.topics.get(topic.key) is topic:
            del self.topics[topic.key]
