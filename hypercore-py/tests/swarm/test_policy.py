"""Whom the swarm dials and when, and which of two connections to the same peer survives."""

import random

import pytest

from hypercore.dht.address import Address
from hypercore.swarm.dial_queue import DialQueue
from hypercore.swarm.peer_info import MIN_CONNECTION_SECONDS, REDISCOVERY_SECONDS, PeerInfo, Priority
from hypercore.swarm.policy import (
    MAX_DIALS,
    MAX_KNOWN_PEERS,
    SPARE_TOPICS,
    Arrival,
    keep_incoming,
)
from hypercore.swarm.retry import HUGE, LARGE, MEDIUM, SMALL, retry_backoff, retry_delay
from support.swarm_policy import OTHER_TOPIC, RELAYS, TOPIC, US, dial_all, found, key, policy


def peer(*, attempts=0, proven=False, banned=False, explicit=False, reconnect=True):
    info = PeerInfo(key(1))
    info.attempts, info.proven, info.banned = attempts, proven, banned
    info.explicit, info.reconnect = explicit, reconnect
    return info


@pytest.mark.parametrize(
    ("attempts", "priority"),
    [
        (0, Priority.NORMAL),
        (1, Priority.VERY_HIGH),
        (2, Priority.HIGH),
        (3, Priority.LOW),
        (4, Priority.VERY_LOW),
        (9, Priority.VERY_LOW),
    ],
)
def test_priority_is_highest_right_after_a_disconnection(attempts, priority):
    assert peer(attempts=attempts).priority == priority


@pytest.mark.parametrize(
    ("attempts", "proven", "backoff"),
    [
        (0, True, SMALL),
        (1, True, SMALL),
        (2, True, MEDIUM),
        (3, True, LARGE),
        (4, True, None),
        (0, False, SMALL),
        (1, False, MEDIUM),
        (2, False, LARGE),
        (3, False, LARGE),
        (4, False, None),
    ],
)
def test_back_off_grows_with_the_attempts(attempts, proven, backoff):
    info = peer(attempts=attempts, proven=proven)
    assert retry_backoff(info) == backoff
    delay = retry_delay(info, random.Random(1))
    assert delay is None if backoff is None else backoff.shortest <= delay <= backoff.longest


def test_explicit_peer_is_tried_for_ever_but_rarely():
    assert retry_backoff(peer(attempts=7, explicit=True)) == HUGE


def test_banned_and_unwanted_peers_are_not_tried_again():
    assert retry_backoff(peer(attempts=1, banned=True)) is None
    assert retry_backoff(peer(attempts=1, reconnect=False)) is None


def test_queue_gives_the_highest_priority_first_and_is_fair_among_equals():
    firsts = set()
    for seed in range(30):
        queue = DialQueue(random.Random(seed))
        infos = [PeerInfo(key(n)) for n in range(6)]
        infos[2].attempts = infos[3].attempts = 1
        infos[5].attempts = 3
        for info in infos:
            queue.push(info)
            queue.push(info)
        assert len(queue) == 6
        order = [infos.index(info) for info in iter(queue.pop, None)]
        assert set(order[:2]) == {2, 3} and order[5] == 5
        firsts.add(order[0])
    assert firsts == {2, 3}


def test_discarded_peer_leaves_the_queue_whatever_its_priority_became():
    queue = DialQueue(random.Random(1))
    info = PeerInfo(key(1))
    queue.push(info)
    info.attempts = 2
    queue.discard(info)
    queue.discard(info)
    assert len(queue) == 0 and queue.pop() is None and not info.queued


# --- the rule for two connections at once -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "remote", "used", "keep"),
    [
        (key(2), key(1), False, False),
        (key(1), key(2), False, True),
        (key(2), key(1), True, True),
        (key(1), key(2), True, True),
    ],
)
def test_larger_key_wins_unless_the_old_connection_was_used(local, remote, used, keep):
    assert keep_incoming(local, remote, existing_used=used) is keep


def test_both_ends_keep_the_same_connection():
    """A dials B while B dials A; each sees the other's dial arrive while its own is under way."""
    for a, b in ((key(1), key(2)), (key(2), key(1))):
        a_keeps_dial_of_b = keep_incoming(a, b, existing_used=False)
        b_keeps_dial_of_a = keep_incoming(b, a, existing_used=False)
        assert a_keeps_dial_of_b != b_keeps_dial_of_a


@pytest.mark.parametrize("opened", [False, True])
def test_arrival_of_a_peer_we_dial_or_have(opened):
    made = policy()
    small, large = 1, int.from_bytes(b"\xff" * 32, "big")
    for number in (small, large):
        found(made, number)
    infos = {info.public_key: info for info in iter(made.next_dial, None)}
    if opened:
        for info in infos.values():
            made.opened(info, 0.0, client=True)
    assert made.arrives(key(small), existing_used=False) is Arrival.REFUSE
    assert made.arrives(key(large), existing_used=False) is Arrival.REPLACE
    assert made.arrives(key(small), existing_used=True) is Arrival.REPLACE
    assert made.arrives(key(7), existing_used=False) is Arrival.ACCEPT


# --- dialling ---------------------------------------------------------------------------------------------


def test_found_peer_is_dialled_once():
    made = policy()
    found(made, 1)
    found(made, 1)
    assert dial_all(made) == [key(1)]
    found(made, 1)
    assert dial_all(made) == []
    assert made.peers[key(1)].relay_addresses == RELAYS


def test_no_more_than_three_are_dialled_at_a_time():
    made = policy()
    for number in range(1, 10):
        found(made, number)
    first = dial_all(made)
    assert len(first) == 3 and made.dialing == 3 and not made.idle
    made.opened(made.peers[first[0]], 0.0, client=True)
    assert len(dial_all(made)) == 1
    made.ended(made.peers[first[1]], 0.0, client=True)
    assert len(dial_all(made)) == 1


def test_slow_attempts_hold_up_no_others_and_are_bounded():
    made = policy()
    for number in range(1, 40):
        found(made, number)
    first = dial_all(made)
    for public_key in first:
        made.dial_is_slow(public_key)
    second = dial_all(made)
    assert len(first) == len(second) == 3
    made.opened(made.peers[second[0]], 0.0, client=True)
    made.dial_is_slow(second[0])
    assert len(dial_all(made)) == 1, "a connection that stands is no slow attempt"
    made.ended(made.peers[first[0]], 0.0, client=True)
    assert dial_all(made) == [], "it had no share of the three any more"
    for _ in range(20):
        for public_key in list(made.links):
            made.dial_is_slow(public_key)
        dial_all(made)
    assert made.dialing == MAX_DIALS


def test_dialling_stops_at_max_peers_while_arrivals_are_always_taken():
    made = policy(max_peers=5, max_parallel=100)
    for number in range(1, 20):
        found(made, number)
    assert len(dial_all(made)) == 5
    for number in range(100, 110):
        assert made.arrives(key(number), existing_used=False) is Arrival.ACCEPT
        made.opened(made.incoming(key(number)), 0.0, client=False)
    assert len(made.links) == 15


def test_peers_that_dial_us_do_not_keep_us_from_dialling():
    made = policy(max_peers=5, max_parallel=100)
    for number in range(100, 164):
        made.opened(made.incoming(key(number)), 0.0, client=False)
    for number in range(1, 20):
        found(made, number)
    assert not made.idle
    dialled = dial_all(made)
    assert len(dialled) == 5
    for public_key in dialled:
        made.opened(made.peers[public_key], 0.0, client=True)
    made.ended(made.peers[key(100)], 1.0, client=False)
    assert dial_all(made) == [], "who has gone had no room of those that we dial"
    made.ended(made.peers[dialled[0]], 1.0, client=True)
    assert len(dial_all(made)) == 1


def test_peer_that_dials_us_instead_gives_back_its_room():
    made = policy(max_peers=1, max_parallel=100)
    found(made, 1)
    [first] = dial_all(made)
    made.opened(made.peers[first], 0.0, client=True)
    info = made.peers[first]
    made.ended(info, 1.0, client=True)
    made.opened(made.incoming(first), 1.0, client=False)
    found(made, 2)
    assert dial_all(made) == [key(2)]


def test_room_that_comes_free_is_used():
    made = policy(max_peers=1)
    found(made, 1)
    found(made, 2)
    [first] = dial_all(made)
    made.opened(made.peers[first], 0.0, client=True)
    assert made.idle
    made.ended(made.peers[first], 100.0, client=True)
    assert dial_all(made) == [key(1) if first == key(2) else key(2)]


def test_we_never_dial_ourselves():
    made = policy()
    made.peer_found(US, RELAYS, TOPIC, 0.0)
    made.join_peer(US)
    assert dial_all(made) == [] and made.incoming(US) is None and made.refuses(US)


def test_peers_of_topics_that_we_do_not_seek_are_ignored():
    made = policy()
    found(made, 1, topic=OTHER_TOPIC)
    assert dial_all(made) == [] and made.peers == {}


def test_peer_whose_topic_was_left_is_not_dialled():
    made = policy()
    found(made, 1)
    made.topics.clear()
    assert dial_all(made) == [] and made.peers == {}


def test_connected_peer_only_gains_topics():
    made = policy()
    made.topics.add(OTHER_TOPIC)
    found(made, 1)
    [info] = [made.peers[k] for k in dial_all(made)]
    made.opened(info, 0.0, client=True)
    found(made, 1, topic=OTHER_TOPIC)
    assert info.topics == {TOPIC, OTHER_TOPIC} and dial_all(made) == []


def _fail(made, number, now):
    made.ended(made.peers[key(number)], now, client=True)


def test_peer_that_cannot_be_reached_is_tried_four_times_then_left_alone():
    made = policy()
    found(made, 1)
    now, gaps = 0.0, []
    while dial_all(made):
        _fail(made, 1, now)
        at = made.next_deadline()
        if at is None:
            break
        gaps.append(at - now)
        now = at
        made.handle_timer(now)
    assert len(gaps) == 3
    for gap, backoff in zip(gaps, (MEDIUM, LARGE, LARGE), strict=True):
        assert backoff.shortest <= gap <= backoff.longest
    assert made.peers == {}


def test_lost_connection_is_dialled_again_after_a_second():
    made = policy()
    found(made, 1)
    dial_all(made)
    made.opened(made.peers[key(1)], 0.0, client=True)
    made.ended(made.peers[key(1)], 5.0, client=True)
    assert SMALL.shortest <= made.next_deadline() - 5.0 <= SMALL.longest
    made.handle_timer(5.5)
    assert dial_all(made) == []
    made.handle_timer(7.0)
    assert dial_all(made) == [key(1)]


def test_long_connection_clears_the_count_of_attempts():
    info = PeerInfo(key(1))
    info.attempts = 3
    info.connected(0.0, client=True)
    info.ended(MIN_CONNECTION_SECONDS, client=True)
    assert info.attempts == 1
    info.connected(100.0, client=True)
    info.ended(101.0, client=True)
    assert info.attempts == 2


def test_peer_that_dialled_us_is_not_dialled_back_when_it_leaves():
    made = policy()
    info = made.incoming(key(1))
    made.opened(info, 0.0, client=False)
    made.ended(info, 1.0, client=False)
    assert made.next_deadline() is None and dial_all(made) == [] and made.peers == {}


def test_back_off_stands_when_the_peer_is_found_under_a_thousand_topics():
    made = policy()
    found(made, 1)
    dial_all(made)
    _fail(made, 1, 0.0)
    for i in range(1000):
        found(made, 1, now=i / 1000)
    assert dial_all(made) == []
    assert made.next_deadline() >= MEDIUM.shortest


def test_peer_that_has_moved_is_dialled_at_once_but_not_again_and_again():
    made = policy()
    found(made, 1)
    dial_all(made)
    _fail(made, 1, 100.0)
    found(made, 1, now=100.1, relays=(Address("77.0.0.2", 2),))
    assert dial_all(made) == [key(1)]
    _fail(made, 1, 101.0)
    for i in range(10):
        found(made, 1, now=101.1, relays=(Address("77.0.0.2", i),))
    assert dial_all(made) == []


def test_peer_that_was_given_up_is_dialled_when_found_later():
    made = policy()
    made.join_peer(key(1))  # keeps the record
    info = made.peers[key(1)]
    dial_all(made)
    _fail(made, 1, 0.0)
    info.attempts, info.explicit, info.retry_at = 4, False, None
    info.relay_addresses = RELAYS
    found(made, 1, now=REDISCOVERY_SECONDS - 1)
    assert dial_all(made) == []
    found(made, 1, now=REDISCOVERY_SECONDS)
    assert dial_all(made) == [key(1)] and info.attempts == 0


def test_explicit_peers_are_dialled_before_others_and_beyond_max_peers():
    made = policy(max_peers=2, max_parallel=10)
    for number in range(1, 6):
        found(made, number)
    made.join_peer(key(50), RELAYS)
    made.join_peer(key(51))
    order = dial_all(made)
    assert set(order[:2]) == {key(50), key(51)} and len(order) == 2
    assert made.peers[key(50)].relay_addresses == RELAYS


def test_explicit_peer_is_retried_without_a_topic_until_it_is_left():
    made = policy()
    made.join_peer(key(50))
    for attempt in range(6):
        now = 10_000.0 * attempt
        made.handle_timer(now)
        assert dial_all(made) == [key(50)]
        _fail(made, 50, now)
    made.leave_peer(key(50))
    made.handle_timer(10.0**6)
    assert dial_all(made) == [] and made.peers == {}


# --- refusing ---------------------------------------------------------------------------------------------


def test_firewall_bans_for_good():
    asked = []
    made = policy(firewall=lambda public_key: asked.append(public_key) or public_key == key(6))
    assert made.refuses(key(6)) and made.refuses(key(6)) and not made.refuses(key(5))
    assert asked == [key(6), key(5)]
    found(made, 6)
    found(made, 5)
    assert dial_all(made) == [key(5)]


def test_banned_peer_is_neither_dialled_nor_taken():
    made = policy()
    found(made, 1)
    made.ban(key(1))
    assert dial_all(made) == [] and made.refuses(key(1))
    assert key(1) in made.peers


def test_excluded_peer_may_come_back():
    excluded = {key(1)}
    made = policy(is_banned=lambda public_key: public_key in excluded)
    found(made, 1)
    assert dial_all(made) == [] and made.refuses(key(1))
    excluded.clear()
    assert not made.refuses(key(1))
    found(made, 1)
    assert dial_all(made) == [key(1)]


def test_a_closed_swarm_dials_no_peer():
    made = policy()
    found(made, 1)
    made.close()
    found(made, 2)
    assert dial_all(made) == []


# --- bounds -----------------------------------------------------------------------------------------------


def test_known_peers_are_bounded_and_connections_kept():
    made = policy()
    first = made.incoming(key(10**6))
    made.opened(first, 0.0, client=False)
    made.join_peer(key(10**6 + 1))
    for number in range(1, MAX_KNOWN_PEERS + 200):
        found(made, number)
        assert len(made.peers) <= MAX_KNOWN_PEERS
    assert made.peers[key(10**6)] is first and key(10**6 + 1) in made.peers
    assert key(MAX_KNOWN_PEERS + 199) in made.peers and key(1) not in made.peers
    assert len(made._queue) + len(made._wished) <= MAX_KNOWN_PEERS


def test_topics_remembered_per_peer_are_bounded():
    made = policy()
    for number in range(10 * SPARE_TOPICS):
        topic = b"topic" + key(number)
        made.topics = {TOPIC, topic}
        found(made, 1, topic=topic)
        assert len(made.peers[key(1)].topics) <= SPARE_TOPICS + 4


def test_flushed_when_no_dial_is_waiting():
    made = policy(max_peers=1)
    assert made.idle
    found(made, 1)
    assert not made.idle
    dial_all(made)
    assert not made.idle
    made.opened(made.peers[key(1)], 0.0, client=True)
    assert made.idle


def test_a_peer_whose_new_connection_replaces_its_old_one_stays_known():
    made = policy()
    old = made.incoming(key(1))
    made.opened(old, 0.0, client=False)
    new = made.incoming(key(1))
    made.ended(old, 1.0, client=False)
    made.opened(new, 1.0, client=False)
    assert made.peers[key(1)] is new
    made.ended(new, 2.0, client=False)
    assert made.peers == {}
