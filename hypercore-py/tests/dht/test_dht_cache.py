"""Maps that forget: in time, and when they grow too large."""

import random

import pytest

from hypercore.dht.cache import ForgettingMap, PeerSets


def _map(max_items=100):
    return ForgettingMap(max_items=max_items, lifetime=30.0, now=0.0)


@pytest.mark.parametrize(("set_at", "gone_at"), [(0.0, 40.0), (19.9, 40.0), (20.0, 60.0)])
def test_entry_lives_two_to_four_thirds_of_the_lifetime(set_at, gone_at):
    cache = _map()
    cache.get("x", set_at)
    cache.set("x", 1, set_at)
    assert cache.get("x", set_at + 19.9) == 1
    assert cache.get("x", gone_at - 0.1) == 1
    assert cache.get("x", gone_at) is None


def test_entry_that_is_set_again_lives_on():
    cache = _map()
    for now in range(0, 200, 19):
        cache.set("x", now, now)
        assert cache.get("x", now) == now
    assert len(cache) == 1


def test_everything_is_forgotten_after_a_long_silence():
    cache = _map()
    cache.set("x", 1, 0.0)
    assert cache.get("x", 1000.0) is None and len(cache) == 0


def test_deleted_entry_is_gone_from_both_generations():
    cache = _map()
    cache.set("x", 1, 0.0)
    cache.delete("x")
    assert cache.get("x", 0.0) is None
    cache.set("x", 1, 0.0)
    cache.get("x", 25.0)
    cache.delete("x")
    assert cache.get("x", 25.0) is None


def test_map_is_bounded():
    cache = _map(max_items=10)
    for i in range(1000):
        cache.set(i, i, 0.0)
        assert len(cache) <= 20
    assert cache.get(999, 0.0) == 999
    assert cache.get(0, 0.0) is None


def _sets(**options):
    return PeerSets(**{"max_records": 100, "max_per_topic": 10, "lifetime": 30.0, "now": 0.0} | options)


RNG = random.Random(1)


def test_peers_of_a_topic_age_one_by_one():
    sets = _sets()
    sets.add(b"t", b"a", b"A", 0.0)
    sets.add(b"t", b"b", b"B", 25.0)
    assert sorted(sets.sample(b"t", 20, RNG, 30.0)) == [b"A", b"B"]
    assert sets.sample(b"t", 20, RNG, 45.0) == [b"B"]
    assert sets.sample(b"t", 20, RNG, 95.0) == []


def test_peer_is_listed_once_with_its_latest_record():
    sets = _sets()
    sets.add(b"t", b"a", b"old", 0.0)
    sets.add(b"t", b"a", b"new", 1.0)
    assert sets.sample(b"t", 20, RNG, 1.0) == [b"new"]
    sets.add(b"t", b"a", b"newer", 25.0)
    assert sets.sample(b"t", 20, RNG, 25.0) == [b"newer"]


def test_removed_peer_is_gone_from_both_generations():
    sets = _sets()
    sets.add(b"t", b"a", b"A", 0.0)
    sets.remove(b"t", b"a")
    sets.remove(b"t", b"a")
    assert sets.sample(b"t", 20, RNG, 0.0) == []
    sets.add(b"t", b"a", b"A", 0.0)
    sets.sample(b"t", 20, RNG, 25.0)
    sets.remove(b"t", b"a")
    assert sets.sample(b"t", 20, RNG, 25.0) == []


def test_sample_is_drawn_by_chance_without_repeats():
    sets = _sets()
    for i in range(10):
        sets.add(b"t", bytes([i]), bytes([i]), 0.0)
    draws = [tuple(sets.sample(b"t", 3, RNG, 0.0)) for _ in range(50)]
    assert all(len(set(draw)) == 3 for draw in draws)
    assert len(set(draws)) > 10


def test_peers_per_topic_are_bounded_and_the_oldest_makes_room():
    sets = _sets()
    for i in range(50):
        sets.add(b"t", bytes([i]), bytes([i]), 0.0)
    assert sorted(sets.sample(b"t", 99, RNG, 0.0)) == [bytes([i]) for i in range(40, 50)]


def test_records_over_all_topics_are_bounded():
    sets = _sets(max_records=10)
    for i in range(200):
        sets.add(bytes([i]), b"a", b"A", 0.0)
    kept = [i for i in range(200) if sets.sample(bytes([i]), 1, RNG, 0.0)]
    assert 0 < len(kept) <= 20
    assert max(kept) == 199
