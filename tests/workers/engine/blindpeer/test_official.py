"""Records of an official blind peer become ours."""

from __future__ import annotations

import pytest

from hypercore.blindpeer import CoreRecord
from hypercore.codec import Writer
from hypercore.core import memory_store
from workers.engine.blindpeer.official import AUTH, NotABlindPeer, read_cores, read_seed, take_over
from workers.engine.blindpeer.records import UNCLAIMED_MS, UNKNOWN_CLIENT, UNUSED_MS, Record, RecordTable

KEY, GROUP, CLIENT = bytes([0, 1]) * 16, b"\x22" * 32, b"\xc1" * 32
NOW = 1_700_000_000_000


def item(core: CoreRecord) -> tuple[bytes, bytes]:
    w = Writer()
    core.encode(w)
    return b"\x02\x00" + core.key.replace(b"\x00", b"\x00\x02") + b"\x00\x01", bytes(w)[32:]


def core(number: int, **fields: object) -> CoreRecord:
    return CoreRecord(key=bytes([number]) * 32, **fields)  # type: ignore[arg-type]


def test_records_are_read_whatever_zeros_their_keys_have() -> None:
    cores = [CoreRecord(key=KEY, length=5, priority=1, referrer=GROUP), CoreRecord(key=bytes(32))]
    items = [(AUTH, bytes(64)), *map(item, cores), (b"\x03anything", b"")]
    assert list(read_cores(items)) == cores
    assert read_seed(KEY + bytes(32)) == KEY


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"\x02", b""), (b"\x02\x00" + KEY + b"\x00\x01", b""), (item(core(1))[0], b"\x01\x02")],
)
def test_what_is_no_record_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(NotABlindPeer):
        list(read_cores([(name, value)]))
    with pytest.raises(NotABlindPeer):
        read_seed(None)


def test_cores_are_taken_over_without_their_blocks_and_a_repeat_changes_nothing() -> None:
    store = memory_store()
    cores = [
        core(1, length=9, bytes_allocated=90, priority=1, referrer=GROUP, updated=5, active=6),
        core(2, length=9, blocks_cleared=9, bytes_cleared=90, priority=250),
        core(3, announce=True),
    ]
    assert take_over(cores, RecordTable(store), NOW) == (3, 0, 0, 0)
    assert take_over(cores, RecordTable(store), NOW) == (0, 3, 0, 0)
    table = RecordTable(store)
    records = [table.get(each.key) for each in cores]
    assert [(r.length, r.priority, r.announce, r.collected) for r in records if r] == [
        (0, 1, False, False),
        (0, 2, False, True),
        (0, 0, True, False),
    ]
    assert records[0] is not None and (records[0].updated, records[0].active) == (5, NOW)
    assert [record.key for record in table.latest(GROUP, 9)] == [cores[0].key]


def test_the_bound_of_all_records_holds_and_that_of_one_client_does_not() -> None:
    table = RecordTable(memory_store(), max_records=3, max_of_client=1, max_of_host=1)
    assert take_over(map(core, range(1, 6)), table, NOW) == (3, 0, 2, 0)


def test_announced_cores_those_with_content_and_those_used_last_come_first() -> None:
    table = RecordTable(memory_store(), max_unclaimed=4)
    unused = [core(n, priority=2, active=NOW + n) for n in range(100, 120)]  # a client that named any keys
    kept = [
        core(1, announce=True),
        core(2, bytes_allocated=5, active=3),
        core(3, bytes_allocated=9, active=2),
        core(119, priority=2, active=NOW + 119),
    ]
    assert take_over([*unused, *kept[:3]], table, NOW) == (4, 0, 19, 0)
    assert {record.key for record in table} == {each.key for each in kept}


def test_records_that_were_taken_over_make_way_neither_for_one_another_nor_soon_for_others() -> None:
    table = RecordTable(memory_store(), max_records=3)
    table.add(Record(b"\x99" * 32, CLIENT, "192.0.2.1", active=NOW - 2 * UNUSED_MS))
    old = [core(n, length=9, active=n * UNUSED_MS) for n in range(1, 6)]  # used on different days
    assert take_over(old, table, NOW) == (3, 0, 2, 1)
    assert {record.key for record in table} == {core(n).key for n in (3, 4, 5)}
    other = Record(b"\x98" * 32, CLIENT, "192.0.2.1", active=NOW + UNCLAIMED_MS)
    assert not table.add(other, trusted=True)
    first = next(iter(table))
    assert table.adopt(first, CLIENT, "192.0.2.1", NOW + UNCLAIMED_MS)
    other.active += 2 * 60_000
    assert table.add(other, trusted=True)  # one made way
    assert len(table) == 3 and {first.key, other.key} < {record.key for record in table}


def test_the_first_client_that_names_a_core_takes_its_place() -> None:
    table = RecordTable(memory_store(), max_of_client=1)
    take_over(map(core, (1, 2)), table, NOW)
    assert table.clients == 0
    first, second = table
    assert table.adopt(first, CLIENT, "192.0.2.1", NOW) and not table.adopt(
        first, b"\xc2" * 32, "192.0.2.2", NOW
    )
    assert not table.adopt(second, CLIENT, "192.0.2.1", NOW)  # it has as many as it may
    assert (first.client, second.client, table.clients) == (CLIENT, UNKNOWN_CLIENT, 1)
    for record in (first, second):
        assert table.remove(record.key)
    assert table.clients == 0
