"""Maps that forget: in time, and when they grow too large."""

import random
import tracemalloc

import pytest

from hypercore.dht.ttl_map import ENTRY_BYTES, MIN_SHARE, OwnedMap, RecordCache, SharedTtlMap, TtlMap


def _map(max_items=100):
    return TtlMap(max_items=max_items, lifetime=30.0, now=0.0)


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
    return RecordCache(
        **{"max_records": 100, "max_per_topic": 10, "max_per_owner": 100, "lifetime": 30.0, "now": 0.0}
        | options
    )


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
        sets.add(bytes([i]), b"a", b"A", 0.0, f"{i}")
    kept = [i for i in range(200) if sets.sample(bytes([i]), 1, RNG, 0.0)]
    assert 0 < len(kept) <= 20
    assert max(kept) == 199


def test_records_of_one_owner_are_bounded():
    sets = _sets(max_per_owner=10)
    taken = [sets.add(bytes([i]), b"a", b"A", 0.0, "66.0.0.") for i in range(30)]
    assert taken == [True] * 10 + [False] * 20
    assert sets.add(b"x", b"a", b"A", 0.0, "67.0.0.")
    assert sets.add(bytes([3]), b"a", b"again", 0.0, "66.0.0."), "it is there already"
    assert sets.add(bytes([40]), b"a", b"A", 25.0, "66.0.0."), "a generation later"


def test_a_few_owners_do_not_push_out_the_records_of_others():
    """Four networks that brought all they might filled both generations."""
    sets = _sets(max_records=1000, max_per_owner=500)
    assert sets.add(b"honest", b"a", b"A", 0.0, "9.9.9.")
    for round in range(3):
        for owner in range(8):
            for i in range(1000):
                sets.add(b"%d %d %d" % (round, owner, i), b"a", b"A", 0.0, f"{owner}")
    assert sets.sample(b"honest", 1, RNG, 0.0) == [b"A"]
    assert sets.add(b"newcomer", b"a", b"A", 0.0, "9.9.8.")
    assert sets.sample(b"newcomer", 1, RNG, 0.0) == [b"A"]


def test_a_few_owners_do_not_push_out_entries_of_others():
    shared = SharedTtlMap(max_items=1000, lifetime=30.0, now=0.0)
    assert shared.bring("honest", 1, 0.0, "a")
    brought = [sum(shared.bring((o, i), i, 0.0, f"{o}") for i in range(1000)) for o in range(20)]
    assert 350 < brought[0] < 400 and 150 < brought[1] < 200 and min(brought) >= MIN_SHARE
    assert shared.get("honest", 0.0) == 1
    assert shared.bring("newcomer", 1, 0.0, "b") and shared.bring("honest", 2, 0.0, "a")
    assert sum(shared.bring((0, i), i, 25.0, "0") for i in range(1000, 2000)) > 350, "a generation later"
    assert shared.get("honest", 25.0) == 2


def _owned(max_bytes=20 * (ENTRY_BYTES + 100), per_owner=5 * (ENTRY_BYTES + 100)):
    return OwnedMap(max_bytes=max_bytes, max_bytes_per_owner=per_owner, lifetime=60.0)


def test_values_are_bounded_by_bytes_and_the_oldest_make_room():
    values = _owned()
    for i in range(100):
        values.set(i, i, 100, f"{i % 10}", 0.0)
        assert values.size <= 20 * (ENTRY_BYTES + 100)
    assert len([i for i in range(100) if values.get(i, 0.0) is not None]) == 20
    assert values.get(99, 0.0) == 99


def test_an_owner_pushes_out_its_own_values():
    values = _owned()
    values.set("innocent", 1, 100, "a", 0.0)
    for i in range(100):
        values.set(i, i, 100, "b", 0.0)
    assert values.get("innocent", 0.0) == 1 and len(values) == 6
    assert [i for i in range(100) if values.get(i, 0.0) is not None] == list(range(95, 100))


def test_owners_that_fill_everything_do_not_push_out_values_of_owners_with_few():
    values = _owned()
    values.set("old", 1, 100, "a", 0.0)
    for i in range(1000):
        values.set(i, i, 100, f"flood {i % 8}", 0.0)
    values.set("new", 2, 100, "b", 0.0)
    for i in range(1000, 2000):
        values.set(i, i, 100, f"flood {i % 8}", 0.0)
        assert values.size <= 20 * (ENTRY_BYTES + 100)
    assert (values.get("old", 0.0), values.get("new", 0.0)) == (1, 2)


def test_no_peer_draws_values_of_others_into_a_large_account():
    values = _owned()
    values.set("innocent", 1, 100, "a", 0.0)
    for i in range(4):
        values.set(i, i, 100, "flood", 0.0)
    values.set("innocent", 1, 100, "flood", 0.0)
    for i in range(100):
        values.set(i, i, 100, "flood", 0.0)
    assert values.get("innocent", 0.0) == 1


def test_a_value_that_is_too_large_for_its_owner_is_not_kept():
    values = _owned()
    values.set("x", 1, 5 * (ENTRY_BYTES + 100), "a", 0.0)
    assert values.get("x", 0.0) is None and values.size == 0


def test_a_value_belongs_to_its_last_setter_and_ends_with_its_lifetime():
    values = _owned()
    values.set("x", 1, 100, "a", 0.0)
    values.set("x", 2, 200, "b", 50.0)
    assert values.get("x", 100.0) == 2 and len(values) == 1 and values.size == ENTRY_BYTES + 200
    assert values.get("x", 110.0) is None
    values.set("y", 3, 100, "a", 110.0)
    assert len(values) == 1, "what is over makes room"
    values.delete("y")
    assert values.size == 0 and len(values) == 0


@pytest.mark.slow
def test_an_entry_takes_no_more_memory_than_it_is_charged_for():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        values = OwnedMap(max_bytes=1 << 30, max_bytes_per_owner=1 << 30, lifetime=60.0)
        for i in range(10_000):
            target, value = i.to_bytes(32, "big"), i.to_bytes(500, "big")
            values.set((9, target), value, len(target) + len(value), f"{i}", 0.0)
        assert tracemalloc.get_traced_memory()[0] - before <= values.size
    finally:
        tracemalloc.stop()
