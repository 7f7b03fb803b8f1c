"""Which connection makes way when all places are taken."""

from hypercore.swarm.extra_dials import (
    CHECK_SECONDS,
    EXTRA_PER_TOPIC,
    EXTRA_SECONDS,
    EXTRA_SHARE,
    IDLE_SECONDS,
    Use,
)
from hypercore.swarm.retry import LARGE
from support.swarm_policy import OTHER_TOPIC, RELAYS, TOPIC, dial_all, found, key, policy

# --- when all places are taken ----------------------------------------------------------------------------


class Uses(dict):
    """What connections were used for, by public key."""

    def __call__(self, public_key):
        return self.get(public_key, Use(0, 0))


def crowded(*, count=64, topic=TOPIC, **options):
    """A policy whose places are all taken by peers of one topic."""
    uses = Uses()
    made = policy(max_parallel=1000, use_of=uses, **options)
    for number in range(1, count + 1):
        found(made, number, topic=topic)
    for public_key in dial_all(made):
        made.opened(made.peers[public_key], 0.0, client=True)
    return made, uses


def evict(made, extra, now):
    """What the shell does with it."""
    if extra.evict is not None:
        made.ended(made.peers[extra.evict], now, client=True)


def test_topic_without_peers_is_dialled_although_all_places_are_taken():
    made, _ = crowded()
    made.topics.add(OTHER_TOPIC)
    found(made, 100, topic=OTHER_TOPIC)
    assert dial_all(made) == [] and made.next_deadline() is not None
    extra = made.next_extra(1.0)
    assert extra.peer.public_key == key(100) and extra.evict is None
    made.opened(extra.peer, 1.0, client=True)
    found(made, 101, topic=OTHER_TOPIC)
    assert made.next_extra(100.0) is None, "the topic has a connection"


def test_idle_connection_makes_way_and_one_in_use_does_not():
    made, uses = crowded()
    lacking = []
    made._lacks_peers = lambda topic: bool(lacking)
    found(made, 100)
    assert made.next_extra(0.0) is None
    for number in range(1, 65):
        if number != 7:
            uses[key(number)] = Use(1, 0)
    assert made.next_extra(IDLE_SECONDS / 2) is None
    lacking.append(TOPIC)
    extra = made.next_extra(IDLE_SECONDS)
    assert extra.peer.public_key == key(100) and extra.evict == key(7)
    evict(made, extra, IDLE_SECONDS)
    assert len(made.links) == 64


def test_useless_peers_beyond_the_number_are_few_and_make_way_for_each_other():
    made, uses = crowded()
    made._lacks_peers = lambda topic: True
    for number in range(100, 150):
        found(made, number)
    now, tried = 0.0, []
    for _ in range(500):
        now += CHECK_SECONDS
        for public_key in list(made.links):  # all of them ask for blocks, and give none
            uses[public_key] = Use(int(now), 0)
        extra = made.next_extra(now)
        if extra is not None:
            tried.append(extra.peer.public_key)
            evict(made, extra, now)
            made.opened(extra.peer, now, client=True)
        assert len(made.links) <= 64 + EXTRA_PER_TOPIC
    assert len(set(tried)) == len(tried) >= 2 * int(now / EXTRA_SECONDS) - 2, (
        "each of them once before any twice"
    )


def test_peers_beyond_the_number_are_bounded_over_all_topics():
    made, uses = crowded()
    made._lacks_peers = lambda topic: True
    now = 0.0
    for number in range(100, 200):
        topic = b"topic" + key(number)
        made.topics.add(topic)
        found(made, number, topic=topic)
        now += CHECK_SECONDS
        for public_key in list(made.links):
            uses[public_key] = Use(int(now), int(now))
        extra = made.next_extra(now)
        if extra is not None:
            assert extra.evict is None
            made.opened(extra.peer, now, client=True)
    assert len(made.links) == 64 + 64 // EXTRA_SHARE


def test_peer_that_made_way_is_dialled_again_after_those_that_were_never_tried():
    made, _ = crowded(count=1, max_peers=1)
    made._lacks_peers = lambda topic: bool(lacking)
    lacking = []
    found(made, 2)
    assert made.next_extra(0.0) is None
    lacking.append(TOPIC)
    extra = made.next_extra(IDLE_SECONDS)
    assert extra.evict == key(1)
    evict(made, extra, IDLE_SECONDS)
    made.handle_timer(IDLE_SECONDS + LARGE.longest)  # it is in the queue again
    for number in range(3, 8):
        found(made, number)
    order = []
    for _ in range(6):
        made.ended(made.peers[key(2)] if not order else made.peers[order[-1]], 1000.0, client=True)
        order += dial_all(made)
    assert order[-1] == key(1) and set(order) == {key(n) for n in (1, 3, 4, 5, 6, 7)}


def test_peers_that_were_wished_for_never_make_way():
    made, _ = crowded(count=0, max_peers=1)
    made._lacks_peers = lambda topic: True
    made.join_peer(key(50), RELAYS)
    [public_key] = dial_all(made)
    made.opened(made.peers[public_key], 0.0, client=True)
    found(made, 2)
    found(made, 3)
    for now in (0.0, 2 * IDLE_SECONDS):
        extra = made.next_extra(now)
        assert extra is None or extra.evict != key(50)
