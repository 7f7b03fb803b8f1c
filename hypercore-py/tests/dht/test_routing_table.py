"""Buckets, distances, order of hearing."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.dht.address import Address, node_id
from hypercore.dht.routing_table import BUCKET_SIZE, MAX_NODES, RoutingTable, TableNode, node_number
from support.examples import examples


def _nodes(count, seed=0):
    rng = random.Random(seed)
    return [
        TableNode(Address(f"77.1.{i >> 8}.{i & 255}", rng.randrange(1, 65536)), 0.0) for i in range(count)
    ]


def _table(nodes, own=bytes(32)):
    table = RoutingTable(own)
    kept = [node for node in nodes if table.add(node)]
    return table, kept


@settings(max_examples=examples(60))
@given(st.integers(0, 300), st.integers(0, 1000), st.binary(min_size=32, max_size=32), st.integers(1, 25))
def test_closest_are_the_nearest_by_xor(count, seed, target, wanted):
    table, kept = _table(_nodes(count, seed), random.Random(seed).randbytes(32))
    number = int.from_bytes(target, "big")
    expected = sorted(node.number ^ number for node in kept)[:wanted]
    assert [node.number ^ number for node in table.closest(number, wanted)] == expected


def test_closest_to_our_own_id_are_the_neighbours():
    table, kept = _table(_nodes(200))
    assert [n.number for n in table.closest(table.number)] == sorted(n.number for n in kept)[:BUCKET_SIZE]


def test_full_bucket_takes_no_more():
    table, kept = _table(_nodes(5000))
    assert len(table) == len(kept) < MAX_NODES
    for node in kept:
        assert len(table.bucket_of(node.number)) <= BUCKET_SIZE
    # Half of all ids differ from ours in the first bit: that bucket is full
    far = next(n for n in _nodes(5000) if n.number >> 255 and table.get(n.number) is None)
    assert not table.add(far)
    table.remove(next(n.number for n in kept if n.number >> 255))
    assert table.add(far)


def test_own_id_is_never_added():
    here = Address("1.2.3.4", 5)
    table = RoutingTable(node_id(here))
    assert not table.add(TableNode(here, 0.0))
    assert len(table) == 0


def test_node_is_added_once():
    table, _ = _table(_nodes(1))
    assert table.add(_nodes(1)[0])
    assert len(table) == 1


def test_touched_node_is_the_latest():
    table, kept = _table(_nodes(5))
    assert list(table) == kept
    table.touch(kept[1])
    assert next(table.latest()) is kept[1]
    assert next(iter(table)) is kept[0]


def test_removed_node_is_gone():
    table, kept = _table(_nodes(5))
    table.remove(kept[2].number)
    table.remove(kept[2].number)
    assert table.get(kept[2].number) is None
    assert kept[2] not in table.closest(kept[2].number)
    table.touch(kept[2])
    assert len(table) == 4


def test_number_is_the_id():
    here = Address("1.2.3.4", 5)
    assert node_number(here).to_bytes(32, "big") == node_id(here)
