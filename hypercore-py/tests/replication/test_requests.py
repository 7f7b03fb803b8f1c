from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Writer
from hypercore.mux.outbox import KEEP_APART_BYTES, PartsWriter
from hypercore.node import Node
from hypercore.replication.requests import BlockRequest, InflightRequest, InflightTracker, Purpose
from hypercore.wire.data import Data, DataBlock, DataHash, DataUpgrade
from hypercore.wire.request import Request, RequestBlock

NUMBER = st.integers(0, 2**53 - 1)


@given(NUMBER, NUMBER, NUMBER, NUMBER, st.integers(0, 2))
def test_the_short_way_to_ask_for_a_block_writes_the_same_bytes(
    number: int, fork: int, index: int, nodes: int, priority: int
) -> None:
    short, whole = Writer(), Writer()
    BlockRequest(number, fork, index, nodes, priority).encode(short)
    Request(id=number, fork=fork, block=RequestBlock(index, nodes), priority=priority).encode(whole)
    assert bytes(short) == bytes(whole)


@given(st.sampled_from([0, 1, KEEP_APART_BYTES - 1, KEEP_APART_BYTES, 65536]), st.booleans())
def test_parts_are_what_a_plain_writer_would_have_written(size: int, upgraded: bool) -> None:
    value = bytes(size)
    node = Node(3, 77, bytes(32))
    data = Data(
        request=1,
        fork=0,
        block=DataBlock(5, value, [node, node]),
        upgrade=DataUpgrade(0, 6, [node], [], bytes(68)) if upgraded else None,
    )
    parts, plain = PartsWriter(), Writer()
    data.encode(parts)
    data.encode(plain)
    found = parts.finish()
    assert b"".join(found) == bytes(plain)
    assert parts.size == len(plain)
    assert any(part is value for part in found) == (size >= KEEP_APART_BYTES)  # referenced, not copied


def peer() -> Any:
    return SimpleNamespace(down=SimpleNamespace(inflight={}), muxer=SimpleNamespace(requested=0))


def test_requests_are_found_by_number_and_peer() -> None:
    table, a, b = InflightTracker(), peer(), peer()
    sent = InflightRequest(table.next_id(), a, 0, Purpose.BLOCK, 1.0, 7)
    table.add(sent)
    assert table.get(sent.id, a) is sent
    assert table.get(sent.id, b) is None
    assert table.get(99, a) is None
    assert a.down.inflight == {sent.id: 7}
    assert table.of(a) == [sent] and table.of(b) == []


def test_the_last_of_several_holders_is_known() -> None:
    table, peers = InflightTracker(), [peer() for _ in range(3)]
    several = [InflightRequest(table.next_id(), one, 0, Purpose.BLOCK, 1.0, 7) for one in peers]
    for sent in several:
        table.add(sent)
    assert table.requests_for(7) == tuple(several)
    assert [one.muxer.requested for one in peers] == [1, 1, 1]
    assert [table.remove(sent) for sent in (several[1], several[0], several[2])] == [False, False, True]
    assert [one.muxer.requested for one in peers] == [0, 0, 0]
    assert table.requests_for(7) == ()
    assert len(table) == 0
    assert table.oldest() is None


def test_numbers_are_not_used_twice() -> None:
    table = InflightTracker()
    assert len({table.next_id() for _ in range(100)}) == 100
    assert 0 not in {table.next_id() for _ in range(100)}


def test_an_answer_must_hold_what_was_asked_for_and_nothing_else() -> None:
    block = InflightRequest(1, peer(), 2, Purpose.BLOCK, 0.0, index=7)
    upgrade = InflightRequest(2, peer(), 2, Purpose.UPGRADE, 0.0, index=9)
    refine = InflightRequest(3, peer(), 2, Purpose.REFINE, 0.0, node=14)
    seven, nine = DataBlock(7, b"", []), DataBlock(9, b"", [])
    longer = DataUpgrade(0, 1, [], [], None)
    assert block.answered_by(Data(request=1, fork=2, block=seven))
    assert not block.answered_by(Data(request=1, fork=2))
    assert not block.answered_by(Data(request=1, fork=1, block=seven))
    assert not block.answered_by(Data(request=1, fork=2, block=nine))
    assert not block.answered_by(Data(request=1, fork=2, block=seven, upgrade=longer))
    assert upgrade.answered_by(Data(request=2, fork=2, upgrade=longer))
    assert upgrade.answered_by(Data(request=2, fork=2, block=nine, upgrade=longer))
    assert not upgrade.answered_by(Data(request=2, fork=2, block=seven, upgrade=longer))
    assert refine.answered_by(Data(request=3, fork=2, hash=DataHash(14, [])))
    assert not refine.answered_by(Data(request=3, fork=2, hash=DataHash(12, [])))
    assert not refine.answered_by(Data(request=3, fork=2, block=seven))
