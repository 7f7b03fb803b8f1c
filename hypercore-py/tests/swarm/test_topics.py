"""When topics are refreshed: at once when joined, spread out when there are thousands."""

import random

import pytest

from hypercore.swarm.topics import (
    MAX_BURST,
    MAX_PARALLEL,
    MIN_PARALLEL,
    MIN_PER_SECOND,
    REFRESH_JITTER_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    SECOND_LOOKUP_SECONDS,
    Action,
    TopicSchedule,
    parallel_refreshes,
    refreshes_per_second,
)


def key(number):
    return number.to_bytes(32, "big")


def schedule(has_peers=None):
    return TopicSchedule(random.Random(1), has_peers)


def join(made, number=1, *, servers=1, clients=0):
    topic = made.get_or_add(key(number))
    topic.servers, topic.clients = servers, clients
    made.changed(topic)
    return topic


def run(made, now, *, ok=True):
    """Refresh everything that is due; returns the topics in order."""
    done = []
    while (topic := made.take(now)) is not None:
        done.append(topic)
        topic.announced = topic.action is Action.ANNOUNCE
        made.finished(topic, now, ok=ok)
    return done


@pytest.mark.parametrize(
    ("servers", "clients", "announced", "action"),
    [
        (1, 1, False, Action.ANNOUNCE),
        (2, 0, True, Action.ANNOUNCE),
        (0, 1, False, Action.LOOKUP),
        (0, 1, True, Action.UNANNOUNCE),
        (0, 0, True, Action.UNANNOUNCE),
        (0, 0, False, None),
    ],
)
def test_what_a_refresh_does(servers, clients, announced, action):
    topic = join(schedule(), servers=servers, clients=clients)
    topic.announced = announced
    assert topic.action is action
    assert topic.seeking is (clients > 0)


def test_joined_topic_is_refreshed_at_once_then_every_ten_to_twelve_minutes():
    made = schedule()
    topic = join(made)
    assert run(made, 0.0) == [topic]
    now, gaps = 0.0, []
    for _ in range(20):
        at = made.next_deadline()
        assert run(made, at - 0.01) == []
        assert run(made, at) == [topic]
        gaps.append(at - now)
        now = at
    assert all(REFRESH_SECONDS <= gap <= REFRESH_SECONDS + REFRESH_JITTER_SECONDS for gap in gaps)
    assert len(set(gaps)) == 20


def test_a_refresh_without_answers_is_repeated_soon_and_then_later():
    made = schedule()
    topic = join(made)
    now = 0.0
    for wait in (*RETRY_SECONDS, RETRY_SECONDS[-1]):
        assert run(made, now, ok=False) == [topic]
        gap = made.next_deadline() - now
        assert wait <= gap <= 1.5 * wait
        now += gap
    assert run(made, now) == [topic]
    assert made.next_deadline() - now >= REFRESH_SECONDS


def test_first_announcement_is_followed_by_one_more_look():
    made = schedule()
    topic = join(made, clients=1)
    assert made.take(0.0) is topic and topic.action is Action.ANNOUNCE
    topic.announced = True
    made.finished(topic, 0.0, ok=True)
    at = made.next_deadline()
    assert SECOND_LOOKUP_SECONDS <= at <= 2 * SECOND_LOOKUP_SECONDS
    assert made.take(at) is topic and topic.action is Action.LOOKUP
    made.finished(topic, at, ok=True)
    assert made.next_deadline() - at >= REFRESH_SECONDS
    later = made.next_deadline()
    assert made.take(later) is topic and topic.action is Action.ANNOUNCE
    made.finished(topic, later, ok=True)
    assert made.next_deadline() - later >= REFRESH_SECONDS, "that was for those who joined together"
    made.changed(topic)
    made.take(later)
    made.finished(topic, later, ok=True)
    assert made.next_deadline() - later <= 2 * SECOND_LOOKUP_SECONDS


def test_a_topic_without_clients_gets_no_second_look():
    made = schedule()
    topic = join(made, clients=0)
    made.take(0.0)
    topic.announced = True
    made.finished(topic, 0.0, ok=True)
    assert made.next_deadline() >= REFRESH_SECONDS


def test_topic_that_is_left_before_its_second_look_is_unannounced():
    made = schedule()
    topic = join(made, clients=1)
    made.take(0.0)
    topic.announced = True
    made.finished(topic, 0.0, ok=True)
    topic.servers = topic.clients = 0
    made.changed(topic)
    assert made.take(1.0) is topic and topic.action is Action.UNANNOUNCE


def test_topic_in_the_queue_is_not_refreshed_twice():
    made = schedule()
    topic = join(made)
    made.changed(topic)
    assert run(made, 0.0) == [topic]
    made.changed(topic)
    late = REFRESH_SECONDS + REFRESH_JITTER_SECONDS
    assert run(made, late) == [topic]


def test_change_during_a_refresh_runs_another_one():
    made = schedule()
    topic = join(made)
    assert made.take(0.0) is topic
    topic.announced = True
    topic.servers = 0
    made.changed(topic)
    assert made.take(0.0) is None
    made.finished(topic, 0.5, ok=True)
    assert made.take(0.5) is topic and topic.action is Action.UNANNOUNCE


def test_left_topic_is_unannounced_and_forgotten():
    made = schedule()
    topic = join(made)
    run(made, 0.0)
    topic.servers = topic.clients = 0
    made.changed(topic)
    assert made.take(1.0) is topic and topic.action is Action.UNANNOUNCE
    topic.announced = False
    made.finished(topic, 1.0, ok=True)
    assert len(made) == 0 and made.take(1.0) is None and made.next_deadline() is None


def test_left_lookup_is_forgotten_without_a_refresh():
    made = schedule()
    topic = join(made, servers=0, clients=1)
    run(made, 0.0)
    topic.clients = 0
    made.changed(topic)
    assert made.take(1.0) is None and len(made) == 0


def test_unannouncement_that_fails_is_given_up():
    made = schedule()
    topic = join(made)
    run(made, 0.0)
    topic.servers = topic.clients = 0
    made.changed(topic)
    for _ in range(2):
        now = made.next_deadline() or 1.0
        assert made.take(now) is topic
        made.finished(topic, now, ok=False)
    assert len(made) == 0


def test_topic_joined_again_while_it_is_unannounced_is_announced_again():
    made = schedule()
    topic = join(made)
    run(made, 0.0)
    topic.servers = topic.clients = 0
    made.changed(topic)
    assert made.take(1.0) is topic
    again = join(made)
    assert again is topic
    topic.announced = False
    made.finished(topic, 1.5, ok=True)
    assert made.take(1.5) is topic and topic.action is Action.ANNOUNCE


@pytest.mark.slow
def test_thousands_of_topics_never_burst():
    made = schedule()
    for number in range(10_000):
        join(made, number)
    running, now, announced = [], 0.0, set()
    while len(announced) < 10_000:
        while (topic := made.take(now)) is not None:
            running.append((now + 1.0, topic))
        assert len(running) == made.running <= MAX_PARALLEL
        now, topic = running.pop(0)
        topic.announced = True
        announced.add(topic)
        made.finished(topic, now, ok=True)
    assert now < REFRESH_SECONDS / 2
    for _, topic in running:
        made.finished(topic, now, ok=True)
    # Whatever came in these few minutes is spread over the whole interval from then on
    starts = []
    while now < 3 * REFRESH_SECONDS:
        now = made.next_deadline()
        while (topic := made.take(now)) is not None:
            starts.append(now)
            made.finished(topic, now, ok=True)
    minutes = [sum(1 for at in starts if first <= at < first + 60) / 60 for first in range(240, 1740, 60)]
    steady = 10_000 / (REFRESH_SECONDS + REFRESH_JITTER_SECONDS / 2)
    assert max(minutes) < 1.4 * steady


def test_new_topics_go_before_old_ones():
    made = schedule()
    for number in range(MIN_PARALLEL * 3):
        join(made, number)
    run(made, 0.0)
    late = REFRESH_SECONDS + REFRESH_JITTER_SECONDS
    assert made.take(late).key != key(999)
    new = join(made, 999)
    assert made.take(late) is new


@pytest.mark.parametrize(
    ("topics", "parallel"),
    [(0, MIN_PARALLEL), (100, MIN_PARALLEL), (6000, 40), (10_000, MAX_PARALLEL), (10**6, MAX_PARALLEL)],
)
def test_parallel_refreshes_grow_with_the_topics(topics, parallel):
    assert parallel_refreshes(topics) == parallel


def test_nothing_starts_offline_and_everything_is_refreshed_after():
    made = schedule()
    old = [join(made, number) for number in range(5)]
    run(made, 0.0)
    made.pause()
    new = join(made, 99)
    assert run(made, 5000.0) == []
    made.resume()
    first, *rest = run(made, 5000.0)
    assert first is new and {topic.key for topic in rest} == {topic.key for topic in old}
    made.resume()
    assert run(made, 5001.0) == []


def test_topics_that_are_only_announced_begin_at_a_measured_pace():
    made = schedule()
    for number in range(3_000):
        join(made, number)
    assert len(run(made, 0.0)) == MAX_BURST
    at = made.next_deadline()
    assert 0 < at <= 1 / MIN_PER_SECOND
    assert run(made, at - 0.001) == []
    assert len(run(made, at)) == 1
    assert abs(len(run(made, at + 1.0)) - MIN_PER_SECOND) <= 1
    assert len(run(made, at + 100.0)) == MAX_BURST, "a pause does not let more than a burst gather"


def test_ten_thousand_topics_are_announced_within_five_minutes():
    made = schedule()
    for number in range(10_000):
        join(made, number)
    done, now, largest = 0, 0.0, 0
    while done < 10_000:
        begun = len(run(made, now))
        largest = max(largest, begun if now else 0)
        done += begun
        now += 1.0
    assert 150 < now < 300
    assert largest <= refreshes_per_second(10_000) + 1


@pytest.mark.parametrize(("topics", "pace"), [(0, MIN_PER_SECOND), (10_000, 50.0), (240_000, 1_000.0)])
def test_the_pace_grows_with_the_topics(topics, pace):
    assert refreshes_per_second(topics) == pace


def test_a_topic_that_begins_to_look_overtakes_those_that_are_announced():
    made = schedule()
    for number in range(1_000):
        join(made, number)
    run(made, 0.0)
    last = made.topics[key(999)]
    last.clients = 1
    made.changed(last)
    assert run(made, 0.0) == [last]
    rest = [topic for second in range(1, 5) for topic in run(made, float(second))]
    assert last not in rest and len(rest) > 150


def test_a_topic_whose_peers_are_connected_does_not_overtake():
    made = schedule(has_peers=lambda name: name != key(7))
    for number in range(300):
        join(made, number, clients=1)
    first = run(made, 0.0)
    assert first[0].key == key(7) and len(first) == 1 + MAX_BURST


def test_a_topic_that_looks_no_longer_stays_announced_and_has_no_second_look():
    made = schedule()
    topic = join(made, clients=1)
    run(made, 0.0)
    assert made.next_deadline() <= 2 * SECOND_LOOKUP_SECONDS
    topic.clients = 0
    made.relaxed(topic, 1.0)
    assert run(made, 2 * SECOND_LOOKUP_SECONDS) == []
    at = made.next_deadline()
    assert at >= REFRESH_SECONDS
    assert made.take(at) is topic and topic.action is Action.ANNOUNCE and not topic.looking


@pytest.mark.parametrize("when", ["during the announcement", "after it"])
def test_a_topic_that_glances_has_its_second_look_although_it_looks_no_longer(when):
    """Its key is small, and was complete before others that joined with us were announced."""
    made = schedule()
    topic = join(made, clients=1)
    topic.opportunistic = True
    assert made.take(0.0) is topic
    topic.announced = True
    if when == "during the announcement":
        topic.clients = 0
        made.relaxed(topic, 0.5)
    made.finished(topic, 1.0, ok=True)
    topic.clients = 0
    made.relaxed(topic, 2.0)
    at = made.next_deadline()
    assert at <= 1.0 + 2 * SECOND_LOOKUP_SECONDS
    assert made.take(at) is topic and topic.action is Action.LOOKUP and topic.looking
    made.finished(topic, at, ok=True)
    assert topic.action is Action.ANNOUNCE and made.next_deadline() - at >= REFRESH_SECONDS


def test_topics_that_are_only_announced_have_no_second_look():
    made = schedule()
    topic = join(made)
    topic.opportunistic = True
    run(made, 0.0)
    assert made.next_deadline() >= REFRESH_SECONDS


def test_a_topic_that_glances_looks_at_every_second_refresh():
    made = schedule()
    topic = join(made)
    topic.opportunistic = True
    visited = []
    now = 0.0
    for _ in range(6):
        assert run(made, now) == [topic]
        visited.append(topic.looking)
        now = made.next_deadline()
    assert visited == [True, False] * 3
