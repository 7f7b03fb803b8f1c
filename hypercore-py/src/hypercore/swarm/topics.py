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
"""Between two refreshes of a topic; announcements live for 13 minutes at least."""
REFRESH_JITTER_SECONDS = 120.0
"""By chance added to that."""
RETRY_SECONDS = (5.0, 10.0, 20.0, 40.0, 80.0, 120.0)
"""Waits after a refresh without any answer, by failures in a row; up to half of it is added at random."""

SECOND_LOOK_SECONDS = 5.0
"""After the first announcement, one more look: a peer that joined at the same moment was not announced when
we looked. Up to as much again is added by chance."""

MIN_PARALLEL = 16
"""Topics that are refreshed at a time, if there are few."""
MAX_PARALLEL = 64
"""Topics that are refreshed at a time, however many there are."""
TOPICS_PER_PARALLEL = 150
"""Topics per parallel refresh: a refresh takes about two seconds, so that many are done in half the
interval."""

MIN_PER_SECOND = 50.0
"""Refreshes begun a second, of announce-only topics and repeated refreshes, if there are few."""
SPREAD_SECONDS = 240.0
"""However many topics there are, within this time each has had its turn."""
MAX_BURST = 100
"""Such refreshes that may be begun at once after a quiet time."""

SHORTEST_FIRST_SECONDS = 60.0
"""Between the first two refreshes of a topic when there are many, at least. Chance decides, so that what
began within minutes is spread over the whole interval from then on."""

OPPORTUNISTIC_EVERY = 2
"""Of the refreshes of a topic with opportunistic lookups, each so-many-th looks for others."""

MAX_UNANNOUNCE_FAILURES = 2
"""Failures after which we stop unannouncing: announcements expire by themselves."""

_ONE = 1 - 1e-6
"""A token, as far as sums of small times come to one."""


class Action(Enum):
    """What a refresh does."""

    ANNOUNCE = auto()
    """Announce us, and find peers on the way."""
    LOOKUP = auto()
    UNANNOUNCE = auto()
    """Remove our announcement, and find peers on the way."""


class Queued(Enum):
    """Where a topic waits for its turn."""

    NEXT = auto()
    """With topics that a caller waits for."""
    FIRST = auto()
    """With those that are announced for the first time, at a measured pace."""
    AGAIN = auto()
    """With those that are refreshed, at the same pace when no other waits."""


class Topic:
    """One joined topic. Ten thousand of them must fit a small machine, so there is little in it."""

    __slots__ = (
        "announced",
        "clients",
        "closest",
        "due_at",
        "failures",
        "first_announce",
        "key",
        "looking",
        "looking_again",
        "may_look_again",
        "opportunistic",
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
        """Joins that want us to be found."""
        self.clients = 0
        """Joins that want to find others."""
        self.opportunistic = False
        """Whether others are looked for now and then although no join wants to find them."""
        self.looking = False
        """Whether the refresh that began last looks for others."""
        self.sought = False
        """Whether a join wanted to find others when it began."""
        self.rounds = 0
        """Refreshes begun so far."""
        self.closest = b""
        """Packed addresses of the nodes nearest to it, as of the last refresh."""
        self.announced = False
        """Whether nodes may hold our announcement."""
        self.first_announce = True
        self.may_look_again = True
        """Whether the next announcement is followed by a second look."""
        self.looking_again = False
        """Whether that is what comes next."""
        self.failures = 0
        self.running = False
        self.stale = False
        """Whether what runs now does something else than is wanted by now."""
        self.waiting: Queued | None = None
        self.due_at = 0.0

    @property
    def action(self) -> Action | None:
        """What to do for it now. None: nothing any more, it can be forgotten."""
        if self.servers:
            return Action.LOOKUP if self.looking_again else Action.ANNOUNCE
        if self.announced:
            return Action.UNANNOUNCE
        return Action.LOOKUP if self.clients else None

    @property
    def seeking(self) -> bool:
        """Whether peers found under it are to be dialled."""
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
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(key)
        return topic

    def changed(self, topic: Topic) -> None:
        """Something else is wanted of it, or an application asks for a refresh: run it next."""
        topic.looking_again = False
        topic.may_look_again = True
        if topic.running:
            topic.stale = True
        elif topic.action is Action.ANNOUNCE and not topic.seeking and not topic.rounds:
            if topic.waiting is None:
                self._queue(topic, Queued.FIRST)
        elif topic.waiting is not Queued.NEXT:
            self._queue(topic, Queued.NEXT)

    def relaxed(self, topic: Topic, now: float) -> None:
        """No join looks for others under it any more; it stays announced, and what is planned holds. A topic
        that glances keeps its second look: of two that joined at the same moment and had all they wanted at
        once, neither would find the other until the next refresh but one."""
        if topic.looking_again and not topic.opportunistic:
            topic.looking_again = False
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
                self._forget(topic)
                continue
            opportunistic = topic.opportunistic and topic.rounds % OPPORTUNISTIC_EVERY == 0
            topic.looking = topic.seeking or topic.looking_again or opportunistic
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
            waiting.popleft()  # it was moved to another queue, or has run since
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
        """A refresh is over. It is repeated at once if something else is wanted by now."""
        first = ok and topic.may_look_again and topic.action is Action.ANNOUNCE
        topic.looking_again = first and (topic.seeking or (topic.sought and topic.opportunistic))
        if ok:
            topic.may_look_again = False
        topic.running = False
        self.running -= 1
        topic.failures = 0 if ok else topic.failures + 1
        if topic.failures >= MAX_UNANNOUNCE_FAILURES and topic.action is Action.UNANNOUNCE:
            topic.announced = False
        if topic.stale:
            topic.stale = False
            self.changed(topic)
        elif topic.action is None:
            self._forget(topic)
        else:
            self._plan(topic, now)

    def _plan(self, topic: Topic, now: float) -> None:
        topic.due_at = now + self._wait(topic)
        heappush(self._timers, (topic.due_at, next(self._order), topic))

    def pause(self) -> None:
        """We are offline: start nothing."""
        self._paused = True

    def resume(self) -> None:
        """Online again: every topic is refreshed, as much may have changed."""
        if not self._paused:
            return
        self._paused = False
        for topic in self.topics.values():
            if not topic.running and topic.waiting is None:
                self._queue(topic, Queued.NEXT if topic.seeking else Queued.AGAIN)

    def next_deadline(self) -> float | None:
        """When `take` may have something that it has not now."""
        while self._timers and self._is_void(self._timers[0]):
            heappop(self._timers)
        at = self._timers[0][0] if self._timers else None
        paced = self._first_of(Queued.FIRST) or self._first_of(Queued.AGAIN)
        if paced and self._tokens < _ONE and self._counted_at is not None and not self._paused:
            earned_at = self._counted_at + (1 - self._tokens) / refreshes_per_second(len(self.topics))
            at = earned_at if at is None else min(at, earned_at)
        return at

    def handle_timer(self, now: float) -> None:
        """Topics whose wait is over may be refreshed: see `take`."""
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
        if topic.looking_again:
            return SECOND_LOOK_SECONDS * (1 + self._rng.random())
        if topic.rounds == 1 and len(self.topics) > MAX_BURST:
            longest = REFRESH_SECONDS + REFRESH_JITTER_SECONDS
            return SHORTEST_FIRST_SECONDS + (longest - SHORTEST_FIRST_SECONDS) * self._rng.random()
        return REFRESH_SECONDS + REFRESH_JITTER_SECONDS * self._rng.random()

    def _forget(self, topic: Topic) -> None:
        if self.topics.get(topic.key) is topic:
            del self.topics[topic.key]
