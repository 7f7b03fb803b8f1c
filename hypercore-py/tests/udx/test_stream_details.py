"""Messages, probes, heartbeats and changes of the remote id, over a simulated network."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.testing import Simulation
from hypercore.udx.limits import RECEIVE_WINDOW_BYTES
from hypercore.udx.packet import FLAG_DATA, FLAG_END, FLAG_HEARTBEAT, FLAG_SACK, Packet
from support.examples import examples
from support.udx_paths import GOOD_TIME, both_closed, paths, transfer

pytestmark = pytest.mark.slow


def test_messages_arrive_beside_the_stream_and_are_not_repeated() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.stream.send_message(b"hello")
    left.stream.send_message(b"")
    left.stream.write(b"data")
    sim.run(2)
    assert (right.messages, right.received) == ([b"hello", b""], b"data")
    left.path.loss = 1.0
    left.stream.send_message(b"lost")
    sim.run(20)
    assert len(right.messages) == 2
    assert left.closed is None


def test_early_data_is_acknowledged_when_the_receiver_connects() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(), connect=False)
    right.sent = []
    left.stream.connect(right.local_id)
    left.stream.write(b"early")
    sim.run(0.1)
    assert (right.received, right.sent) == (b"early", [])
    right.stream.connect(left.local_id)
    sim.run(0.1)
    assert [Packet.decode(d)[:5] for d in right.sent] == [(0, left.local_id, RECEIVE_WINDOW_BYTES, 0, 1)]
    assert not left.stream.sender.flight.outstanding


def test_a_lost_packet_is_repeated_within_a_round_trip_or_so() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(delay=0.02))
    left.stream.write(b"warm up")
    sim.run(1)
    left.path.loss = 1.0
    left.stream.write(bytes(1152))
    sim.run(0.0)
    left.path.loss = 0.0
    left.sent, right.sent = [], []
    left.stream.write(bytes(8000))
    start = sim.now
    assert sim.run(5, until=lambda: len(right.received) == 9159)
    assert sim.now - start < 0.2
    assert [Packet.decode(d).seq for d in left.sent].count(1) == 1
    assert any(Packet.decode(d).flags == FLAG_SACK for d in right.sent)


def test_a_lost_tail_is_probed_for_without_waiting_for_the_timeout() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(delay=0.02))
    left.stream.write(b"warm up")
    sim.run(1)
    left.path.loss = 1.0
    left.stream.write(bytes(5000))
    sim.run(0.0)
    left.path.loss = 0.0
    start = sim.now
    assert sim.run(5, until=lambda: len(right.received) == 5007)
    assert sim.now - start < 0.4


def test_a_change_of_the_remote_id_is_reported_when_the_old_packets_have_arrived() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.stream.write(b"old path ")
    sim.run(0.0)
    events = []
    collect = left.collect
    left.stream.change_remote(right.local_id)
    left.stream.write(b"new path")

    def spy() -> None:
        events.extend(type(e).__name__ for e in left.stream._events)
        collect()

    left.collect = spy  # type: ignore[method-assign]
    sim.run(1)
    assert right.received == b"old path new path"
    assert events.count("RemoteChanged") == 1


def test_an_idle_stream_with_heartbeat_asks_for_a_sign_of_life() -> None:
    from hypercore.udx import UdxStream

    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.stream = UdxStream(sim.now, heartbeat=2.0)
    left.stream.connect(right.local_id)
    left.sent, right.sent = [], []
    sim.run(11)
    assert {Packet.decode(d).flags for d in left.sent} == {FLAG_HEARTBEAT}
    assert len(left.sent) == len(right.sent) == 5


def test_small_writes_share_packets_and_the_end_rides_along() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.sent = []
    for _ in range(10):
        left.stream.write(b"0123456789")
    left.stream.end()
    right.on_end = right.stream.end
    sim.run(5)
    data = [p for p in map(Packet.decode, left.sent) if p.flags & (FLAG_DATA | FLAG_END)]
    assert [(p.flags, p.seq, len(p.payload)) for p in data] == [(FLAG_DATA | FLAG_END, 0, 100)]


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2**32), st.lists(st.binary(min_size=0, max_size=60), max_size=20))
def test_garbage_between_the_packets_does_not_spoil_a_transfer(seed: int, garbage: list[bytes]) -> None:
    """Packets that name the stream but say nonsense; those that a real attacker on the path could not forge
    better are left out: DESTROY with the right number, and data in the window."""
    random = Random(seed)
    sim = Simulation()
    left, right = sim.add_pair(*paths(seed))
    data = random.randbytes(50_000)
    transfer(sim, left, right, data)
    for at, noise in enumerate(garbage):
        flags = random.choice([0, FLAG_SACK, FLAG_HEARTBEAT, FLAG_DATA, 0x80, FLAG_SACK | FLAG_DATA])
        seq = random.randrange(2**31, 2**32 - 100)  # behind the window
        packet = Packet(flags, right.local_id, 2**22, seq, random.randrange(2**31, 2**32)).encode()
        sim.inject(packet[:3] + noise[:1].ljust(1, b"\0") + packet[4:] + noise, sim.now + at * 0.01)
    assert sim.run(GOOD_TIME, until=lambda: both_closed(left, right))
    assert right.received == data
