"""Which cores are replicated, and which make room."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.replication.ratelimit import BLOCK_OVERHEAD
from workers.engine.blindpeer import collection
from workers.engine.blindpeer.collection import HEADROOM_SHARE, Victim, choose, shortage
from workers.engine.blindpeer.decisions import MAX_PRIORITY, NOTHING, Stored, activates, raised
from workers.engine.blindpeer.rates import (
    CLIENT_BURST,
    CLIENT_RATE,
    HOST_BURST,
    MAX_BUCKETS,
    MAX_COUNTERS,
    Buckets,
    RequestRates,
    TopCounter,
    network_of,
)
from workers.engine.blindpeer.records import Record
from workers.engine.settings.blind_peer import parse_bans

KEY, CLIENT, OTHER = b"\x01" * 32, b"\xc1" * 32, b"\xc2" * 32


def known(**fields: object) -> Record:
    return Record(KEY, CLIENT, "192.0.2.1", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "stored", "length", "announce", "expected"),
    [
        (None, NOTHING, 0, False, True),  # a core known only by its key
        (None, Stored(3, True), 3, False, True),  # deleted, but its head is still there
        (known(), Stored(3, True), 3, False, False),  # unchanged
        (known(), Stored(3, True), 3, True, True),
        (known(), Stored(3, True), 4, False, True),  # the client has more
        (known(), Stored(3, True), 2, False, True),  # the client lacks some
        (known(), Stored(3, False), 3, False, True),  # we lack some
        (known(), NOTHING, 0, False, False),
        (known(), NOTHING, 1, False, True),
    ],
)
def test_a_core_is_replicated_if_either_side_lacks_some_of_it(
    record: Record | None, stored: Stored, length: int, announce: bool, expected: bool
) -> None:
    for may_return in (True, False):
        found = activates(record, stored, length=length, announce=announce, priority=0, may_return=may_return)
        assert found is expected


def test_a_collected_core_returns_if_there_is_room_or_its_priority_is_highest() -> None:
    def returns(priority: int, may_return: bool) -> bool:
        return activates(
            known(collected=True), NOTHING, length=5, announce=False, priority=priority, may_return=may_return
        )

    assert [returns(0, True), returns(1, False), returns(MAX_PRIORITY, False)] == [True, False, True]


def test_priority_and_announcement_rise_and_never_fall() -> None:
    record = known(priority=1)
    assert not raised(record, priority=0, announce=False)
    assert raised(record, priority=2, announce=True)
    assert not raised(record, priority=1, announce=False)
    assert (record.priority, record.announce) == (2, True)


# --- making room


def held(
    number: int, size: int, *, priority: int = 0, active: int = 0, client: bytes = CLIENT, host: str = "h"
) -> Record:
    return Record(
        number.to_bytes(32, "big"), client, host, priority=priority, active=active, held_bytes=size, length=1
    )


def chosen_of(
    records: list[Record], need: int, is_protected: Callable[[bytes], bool] = lambda key: False
) -> list[Victim]:
    steps = choose(records, need, is_protected)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: list[Victim] = done.value
            return found


def numbers(records: list[Record], need: int, protected: frozenset[int] = frozenset()) -> list[int]:
    chosen = chosen_of(records, need, lambda key: int.from_bytes(key, "big") in protected)
    return [int.from_bytes(victim.key, "big") for victim in chosen]


def test_low_priority_goes_first_then_what_was_used_longest_ago() -> None:
    records = [held(1, 10, active=5), held(2, 10, priority=1), held(3, 10, active=2), held(4, 0)]
    assert numbers(records, 1) == [3]
    assert numbers(records, 11) == [3, 1]
    assert numbers(records, 10_000) == [3, 1, 2]
    assert numbers(records, 0) == []


def test_cores_are_chosen_a_record_at_a_time_and_a_bounded_number_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collection, "MAX_VICTIMS", 3)
    records = [held(i, 10, active=-i) for i in range(9)]
    assert numbers(records, 10_000) == [8, 7, 6]
    steps = choose(records, 10_000, lambda key: False)
    assert sum(1 for _ in steps) == 2 * len(records)


def test_announced_and_protected_cores_stay() -> None:
    records = [held(1, 10), held(2, 10), held(3, 10)]
    records[0].announce = True
    assert numbers(records, 10_000, frozenset({2})) == [3]


def test_empty_blocks_count_as_the_room_counts_them() -> None:
    empty, modest = held(1, 0, active=9, client=OTHER, host="greedy"), held(2, 1000, active=1)
    empty.held_blocks, modest.held_blocks = 20_000, 1
    assert chosen_of([empty, modest], 1) == [(empty.key, 20_000 * BLOCK_OVERHEAD)]
    assert numbers([empty, modest], 20_000 * BLOCK_OVERHEAD + 1) == [1, 2]


def test_a_client_above_its_share_loses_its_own_cores_first() -> None:
    greedy = [held(i, 100, priority=2, active=1000, client=OTHER, host="greedy") for i in range(5)]
    modest = [held(10 + i, 10, priority=0, active=1) for i in range(3)]
    assert numbers([*greedy, *modest], 450) == [0, 1, 2, 3, 4]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2), st.integers(0, 9), st.booleans()), max_size=12),
    st.integers(0, 400),
)
def test_no_more_is_deleted_than_is_needed(cores: list[tuple[int, int, int, bool]], need: int) -> None:
    records = [held(i, size, priority=p, active=a) for i, (size, p, a, _) in enumerate(cores)]
    for one, (*_, announced) in zip(records, cores, strict=True):
        one.announce = announced
    chosen = chosen_of(records, need)
    freed = [victim.bytes for victim in chosen]
    assert sum(freed) >= need or len(chosen) == sum(r.held_bytes > 0 and not r.announce for r in records)
    assert not freed or sum(freed[:-1]) < need


def test_room_is_made_for_a_share_or_for_what_a_download_waits_for() -> None:
    total = 100 * HEADROOM_SHARE
    assert shortage(left=100, total=total) == 0
    assert shortage(left=40, total=total) == 60
    assert shortage(left=150, total=total, lacking=400) == 250
    assert shortage(left=-30, total=total) == 130


# --- rates


def test_a_client_may_name_many_cores_at_once_and_then_so_many_a_second() -> None:
    rates = RequestRates()
    assert rates.admit(CLIENT, "h", CLIENT_BURST, 0.0)
    assert not rates.admit(CLIENT, "h", 1, 0.0)
    assert rates.admit(OTHER, "h", 5, 0.0)
    assert rates.admit(CLIENT, "h", int(CLIENT_RATE), 1.0)
    assert not rates.admit(CLIENT, "h", 1, 1.0)


def test_the_clients_of_an_address_share_its_rate() -> None:
    rates = RequestRates()
    clients = HOST_BURST // CLIENT_BURST
    for i in range(clients):
        assert rates.admit(bytes([i]) * 32, "h", CLIENT_BURST, 0.0)
    assert not rates.admit(OTHER, "h", 1, 0.0)
    assert rates.admit(OTHER, "another", 1, 0.0)


def test_the_number_of_counted_clients_is_bounded() -> None:
    buckets: Buckets[int] = Buckets(rate=1, burst=1)
    for i in range(MAX_BUCKETS + 10):
        buckets.take(i, 1, 0.0)
    assert len(buckets) == MAX_BUCKETS
    assert buckets.left(MAX_BUCKETS + 9, 0.0) == 0


def test_the_most_frequent_names_are_counted_among_any_number_of_others() -> None:
    counter = TopCounter()
    for i in range(3 * MAX_COUNTERS):
        counter.add(f"once {i}")
        if i % 2:
            counter.add("often")
    name, count = counter.top(1)[0]
    assert name == "often" and count >= 3 * MAX_COUNTERS // 2
    assert len(counter.top(10 * MAX_COUNTERS)) == MAX_COUNTERS


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == "2001:db8::/64"
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("") == ""


def test_a_ban_list_has_keys_addresses_and_networks() -> None:
    bans = parse_bans(["ab" * 32, "192.0.2.7", "10.0.0.1/8", "2001:db8::/32"])
    assert bans.has_key(b"\xab" * 32) and not bans.has_key(CLIENT)
    found = [
        bans.has_host(h) for h in ("192.0.2.7", "192.0.2.8", "10.9.9.9", "2001:db8::1", "not an address")
    ]
    assert found == [True, False, True, True, False]
    with pytest.raises(ValueError, match="neither an address"):
        parse_bans(["example.org"])
