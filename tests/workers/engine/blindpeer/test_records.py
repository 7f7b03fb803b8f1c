"""Records of a blind peer: bounds, groups, and what survives a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.crypto import discovery_key
from workers.engine.blindpeer import records as records_module
from workers.engine.blindpeer.records import (
    MAX_CORES_OF_GROUP,
    MAX_REFERRERS_OF_CORE,
    PREFIX,
    SAVE_ACTIVE_MS,
    SEARCH_MS,
    UNKNOWN_CLIENT,
    UNUSED_MS,
    Record,
    RecordTable,
)

CLIENT, OTHER = b"\xc1" * 32, b"\xc2" * 32
GROUP = b"\x22" * 32


class Values:
    """The key-value table of a store."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get_meta(self, name: str) -> bytes | None:
        return self.values.get(name)

    def set_meta(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value

    def meta_names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.values if name.startswith(prefix))


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def record(number: int, client: bytes = CLIENT, host: str = "192.0.2.1", **fields: object) -> Record:
    return Record(key(number), client, host, **fields)  # type: ignore[arg-type]


@pytest.fixture
def values() -> Iterator[Values]:
    yield Values()


def test_records_survive_a_restart_with_their_groups(values: Values) -> None:
    table = RecordTable(values)
    assert table.add(record(1, priority=1, announce=True, referrers=(GROUP,), length=5, updated=7, active=9))
    assert table.add(record(2, client=OTHER, host="2001:db8::/64"))
    again = RecordTable(values)
    assert list(again) == [table.get(key(1)), table.get(key(2))] or {r.key for r in again} == {key(1), key(2)}
    found = again.get(key(1))
    assert found is not None
    assert (found.priority, found.announce, found.referrers, found.length) == (1, True, (GROUP,), 5)
    assert again.referrer(discovery_key(GROUP)) == GROUP
    assert (again.clients, again.referrers, len(again)) == (2, 1, 2)


@given(
    st.builds(
        Record,
        key=st.binary(min_size=32, max_size=32),
        client=st.binary(min_size=32, max_size=32),
        host=st.text(max_size=20),
        priority=st.integers(0, 2),
        announce=st.booleans(),
        referrers=st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
        length=st.integers(0, 2**53),
        held_bytes=st.integers(0, 2**53),
        held_blocks=st.integers(0, 2**53),
        updated=st.integers(0, 2**53),
        active=st.integers(0, 2**53),
        collected=st.booleans(),
    )
)
def test_a_record_is_read_as_it_was_written(made: Record) -> None:
    made.saved_active = made.active
    assert Record.decode(made.key, made.encode()) == made


@given(st.binary(max_size=80))
def test_a_value_that_is_no_record_is_counted_and_kept(garbage: bytes) -> None:
    values = Values()
    values.set_meta(PREFIX + key(1).hex(), garbage)
    values.set_meta(PREFIX + "not hex", b"[]")
    table = RecordTable(values)
    assert len(table) == 0 and table.unreadable == 2
    assert len(values.values) == 2


def test_a_removed_record_leaves_nothing_behind(values: Values) -> None:
    table = RecordTable(values)
    made = record(1, referrers=(GROUP,))
    table.add(made)
    assert table.remove(key(1)) is made
    assert table.remove(key(1)) is None
    assert values.values == {}
    assert (len(table), table.clients, table.referrers) == (0, 0, 0)
    assert table.referrer(discovery_key(GROUP)) is None


def test_the_records_of_a_client_an_address_and_of_all_are_bounded(values: Values) -> None:
    table = RecordTable(values, max_records=20, max_of_client=2, max_of_host=3)
    assert [table.add(record(i)) for i in range(3)] == [True, True, False]
    assert [table.add(record(10 + i, client=OTHER)) for i in range(2)] == [True, False]  # the address
    assert len(values.values) == len(table) == 3
    table = RecordTable(values, max_records=5)
    assert [table.add(record(20 + i, client=key(i), host=f"h{i}")) for i in range(1, 4)] == [
        True,
        True,
        False,
    ]
    assert len(values.values) == len(table) == 5


def test_the_cores_and_bytes_of_a_client_have_bounds_that_change_and_delete_nothing(values: Values) -> None:
    table = RecordTable(values, max_of_client=3)
    table.limit_clients(9, 1000)
    first = record(1, held_bytes=400)
    assert table.add(first) and table.add(record(2)) and table.has_bytes(CLIENT)
    table.hold(first, 1000, 1)
    assert not table.has_bytes(CLIENT) and table.has_bytes(OTHER)
    assert not table.add(record(3)) and table.add(record(4, OTHER))
    moved = record(5, UNKNOWN_CLIENT)
    assert table.add(moved) and table.has_bytes(UNKNOWN_CLIENT)
    assert not table.adopt(moved, CLIENT, "192.0.2.1", 0)
    table.limit_clients(2, None)
    assert not table.add(record(3)) and len(table) == 4
    table.limit_clients(None, None)
    assert table.add(record(3)) and not table.add(record(6)), "our own bound stays"
    table.limit_clients(None, 1000)
    table.remove(first.key)
    table.hold(first, 5000, 1)  # its last blocks become durable
    assert table.has_bytes(CLIENT)
    again = RecordTable(values)
    again.limit_clients(None, 1)
    assert again.has_bytes(CLIENT), "of what is stored"


def test_records_that_never_had_content_make_way_after_a_day(values: Values) -> None:
    table = RecordTable(values, max_records=2)
    table.add(record(1, active=0), trusted=True)
    table.add(record(2, active=0, length=3), trusted=True)
    assert not table.add(record(3, active=UNUSED_MS), trusted=True)
    soon = record(3, active=UNUSED_MS + SEARCH_MS - 1)
    assert not table.add(soon, trusted=True)  # searched again after a while
    assert table.add(record(3, active=UNUSED_MS + SEARCH_MS), trusted=True)
    assert {r.key for r in table} == {key(2), key(3)}


def test_a_full_table_is_searched_a_few_records_at_a_time(
    values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "SEARCH_STEP", 4)
    table = RecordTable(values, max_records=8)
    for i in range(7):
        assert table.add(record(i, active=0, length=1 if i < 5 else 0), trusted=True)
    assert table.add(record(7, active=0), trusted=True)
    now = UNUSED_MS + SEARCH_MS
    assert not table.add(record(8, active=now), trusted=True)  # three with content were visited
    assert table.add(record(8, active=now), trusted=True)
    assert table.get(key(5)) is None and len(table) == 8  # one made way, the others stay
    assert table.add(record(9, active=now), trusted=True)
    assert table.get(key(6)) is None


def test_a_few_addresses_leave_room_for_others_and_trusted_clients_have_some_of_their_own(
    values: Values,
) -> None:
    table = RecordTable(values, max_records=800)

    def fill(host: int, *, trusted: bool = False) -> int:
        taken = 0
        while table.add(record(host * 1000 + taken, client=key(1 + host), host=f"h{host}"), trusted=trusted):
            taken += 1
        return taken

    assert [fill(host) for host in range(4)] == [234, 156, 104, 69]
    assert fill(4) == 46
    for host in range(5, 30):
        fill(host)
    assert len(table) == 700
    assert fill(30, trusted=True) == 100


def test_cores_of_one_client_and_group_share_the_memory_of_their_names(values: Values) -> None:
    table = RecordTable(values)
    for i in range(2):
        client, group = bytes(bytearray(CLIENT)), bytes(bytearray(GROUP))
        table.add(record(i, client=client, host="".join(["192.0.2.", "1"]), referrers=(group,)))
    for each in (table, RecordTable(values)):
        one, other = each
        assert one.client is other.client and one.host is other.host
        assert one.referrers[0] is other.referrers[0]


def test_a_core_belongs_to_every_group_that_names_it_up_to_a_bound(values: Values) -> None:
    table = RecordTable(values, max_referrers=MAX_REFERRERS_OF_CORE + 1)
    made = record(1)
    table.add(made)
    joined = [table.join_group(made, bytes([i]) * 32) for i in range(MAX_REFERRERS_OF_CORE + 1)]
    assert joined == [True] * MAX_REFERRERS_OF_CORE + [False]
    assert not table.join_group(made, bytes(32))
    second = record(2)
    table.add(second)
    assert table.join_group(second, b"\x70" * 32)
    assert not table.join_group(second, b"\x71" * 32)  # all groups together
    assert table.join_group(second, bytes(32))


def test_the_further_groups_of_all_cores_are_bounded_and_each_core_may_have_one(values: Values) -> None:
    table = RecordTable(values, max_further=3)
    made = [record(i) for i in range(3)]
    for each in made:
        table.add(each)
    joined = [[table.join_group(each, bytes([group]) * 32) for group in range(3)] for each in made]
    assert sum(map(sum, joined)) == 6 and all(first for first, *_ in joined)
    table.remove(key(0))
    assert table.join_group(made[2], bytes([2]) * 32)


def test_the_latest_cores_of_a_group_come_first(values: Values) -> None:
    table = RecordTable(values)
    for i in range(5):
        table.add(record(i, referrers=(GROUP,), updated=(i * 3) % 5))
    assert [r.updated for r in table.latest(GROUP, 3)] == [4, 3, 2]
    assert table.latest(OTHER, 3) == []


def test_activity_alone_is_saved_seldom(values: Values) -> None:
    table = RecordTable(values)
    made = record(1)
    table.add(made)
    assert not table.touch(made, SAVE_ACTIVE_MS - 1)
    assert made.active == SAVE_ACTIVE_MS - 1
    assert table.touch(made, SAVE_ACTIVE_MS)
    assert not table.touch(made, SAVE_ACTIVE_MS + 1)
    found = RecordTable(values).get(key(1))
    assert found is not None and found.active == SAVE_ACTIVE_MS


def test_the_cores_of_a_group_are_bounded(values: Values) -> None:
    table = RecordTable(values)
    for i in range(MAX_CORES_OF_GROUP + 1):
        table.add(record(i, referrers=(GROUP,), updated=i))
    last = table.get(key(MAX_CORES_OF_GROUP))
    assert last is not None and last.referrers == ()
    assert [r.updated for r in table.latest(GROUP, 2)] == [MAX_CORES_OF_GROUP - 1, MAX_CORES_OF_GROUP - 2]
