"""Two UDX streams over a simulated network: whatever it does, the bytes arrive, and both sides close."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hypercore.errors import StreamTimedOut
from hypercore.testing import Path, Simulation
from hypercore.udx.bbr import Phase
from hypercore.udx.limits import RECEIVE_WINDOW_BYTES, TIME_WAIT_SECONDS, WRITE_BUFFER_BYTES
from hypercore.udx.packet import FLAG_HEARTBEAT, Packet
from support.examples import examples
from support.udx_paths import GOOD_TIME, both_closed, paths, transfer

pytestmark = pytest.mark.slow


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.01, 0.1]),
    reordering=st.sampled_from([0.0, 0.05, 0.3]),
    duplication=st.sampled_from([0.0, 0.05]),
    jitter=st.sampled_from([0.0, 0.005, 0.05]),
    delay=st.sampled_from([0.0001, 0.02, 0.15]),
    mtu=st.sampled_from([1200, 1400, 1500]),
    sizes=st.tuples(st.integers(0, 200_000), st.integers(0, 60_000)),
    chunk=st.integers(1, 70_000),
    initial=st.sampled_from([(0, 0), (2**32 - 5, 2**31 - 3), (2**32 - 40, 2**32 - 1)]),
)
@example(
    seed=1, loss=0.1, reordering=0.3, duplication=0.05, jitter=0.05, delay=0.15, mtu=1200,
    sizes=(200_000, 60_000), chunk=977, initial=(2**32 - 5, 2**32 - 1),
)  # fmt: skip
def test_every_byte_arrives_both_ways_and_both_sides_close(
    seed: int,
    loss: float,
    reordering: float,
    duplication: float,
    jitter: float,
    delay: float,
    mtu: int,
    sizes: tuple[int, int],
    chunk: int,
    initial: tuple[int, int],
) -> None:
    random = Random(seed)
    options: dict[str, Any] = {
        "loss": loss, "reordering": reordering, "duplication": duplication,
        "jitter": jitter, "delay": delay, "mtu": mtu,
    }  # fmt: skip
    sim = Simulation()
    left, right = sim.add_pair(Path(random, **options), Path(random, **options), initial_seqs=initial)
    there, back = random.randbytes(sizes[0]), random.randbytes(sizes[1])
    transfer(sim, left, right, there, chunk=chunk)
    right.stream.write(back)
    assert sim.run(GOOD_TIME, until=lambda: both_closed(left, right))
    assert right.received == there
    assert left.received == back
    assert left.closed is not None and left.closed.error is None
    assert right.closed is not None and right.closed.error is None


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 150_000), delay=st.sampled_from([0.0001, 0.05]))
@example(seed=31813, size=28385, delay=0.0001)
@example(seed=579, size=625, delay=0.0001)
def test_on_a_path_that_loses_a_third_it_is_all_or_a_timeout(seed: int, size: int, delay: float) -> None:
    """Seven times in a row a single packet or its acknowledgement may get lost: that is the protocol's
    limit."""
    random = Random(seed)
    sim = Simulation()
    left, right = sim.add_pair(*(Path(random, delay=delay, loss=0.3, reordering=0.1) for _ in range(2)))
    data = random.randbytes(size)
    transfer(sim, left, right, data)
    sim.run(GOOD_TIME, until=lambda: both_closed(left, right))
    assert data.startswith(right.received)
    if left.closed is not None and left.closed.error is None:
        assert right.received == data
    else:
        assert left.closed is not None and isinstance(left.closed.error, StreamTimedOut)


@pytest.mark.parametrize("side", [0, 1])
def test_a_lost_last_acknowledgement_is_repeated_by_the_lingering_side(side: int) -> None:
    sim = Simulation()
    there, back = paths()
    pair = sim.add_pair(there, back)
    first, second = pair[side], pair[1 - side]
    transfer(sim, first, second, b"all there is")
    sim.run(GOOD_TIME, until=lambda: first.closed is not None or second.closed is not None)
    done, waiting = (first, second) if first.closed else (second, first)
    done.path.loss = 1.0
    sim.run(0.5)
    assert waiting.closed is None or waiting.closed.error is None
    done.path.loss = 0.0
    assert sim.run(TIME_WAIT_SECONDS, until=lambda: both_closed(first, second))
    assert waiting.closed is not None and waiting.closed.error is None


def test_a_stream_whose_peer_vanishes_before_its_end_gives_up() -> None:
    """Nothing is in flight, so no timeout shows it: the stream was kept for ever."""
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.stream.write(b"all there is")
    left.stream.end()
    sim.run(1)
    assert right.ended and left.closed is None
    right.path.loss = 1.0
    assert sim.run(60, until=lambda: left.closed is not None)
    assert left.closed is not None and isinstance(left.closed.error, StreamTimedOut)


def test_a_stream_whose_peer_goes_on_after_its_end_is_kept() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(loss=0.1))
    left.stream.end()
    sim.run(600)
    assert right.ended and left.closed is None
    right.stream.write(b"more")
    right.stream.end()
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert left.received == b"more" and left.closed == right.closed


def test_a_destroyed_peer_resets_the_other_even_when_the_first_word_of_it_is_lost() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    transfer(sim, left, right, bytes(500_000))
    sim.run(0.2)
    right.path.loss = 1.0
    right.stream.destroy()
    sim.run(0.05)
    assert left.closed is None
    right.path.loss = 0.0
    assert sim.run(10, until=lambda: left.closed is not None)
    assert left.closed is not None and left.closed.error is not None
    assert left.closed.error.code == "ECONNRESET"


def test_silence_times_out_after_about_thirteen_seconds() -> None:
    sim = Simulation()
    left, _ = sim.add_pair(*paths(delay=0.001))
    left.stream.write(b"one")
    sim.run(1)
    left.path.loss = 1.0
    left.stream.write(b"two")
    start = sim.now
    assert sim.run(60, until=lambda: left.closed is not None)
    assert left.closed is not None and left.closed.error is not None
    assert left.closed.error.code == "ETIMEDOUT"
    assert 12 < sim.now - start < 15


def test_an_end_that_no_peer_acknowledges_is_no_error_once_the_peer_has_ended_and_has_everything() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    right.stream.write(b"answer")
    right.stream.end()
    left.stream.write(b"question")
    sim.run(1)
    left.path.loss = 1.0  # the peer's process is gone; so is its last acknowledgement
    left.stream.end()
    assert sim.run(60, until=lambda: left.closed is not None)
    assert left.closed is not None and left.closed.error is None
    assert left.received == b"answer"


def test_one_percent_loss_at_forty_milliseconds_leaves_most_of_the_rate() -> None:
    """10 MB/s with a round trip of 40 ms: classic TCP would be left with about a twentieth of it."""
    sim = Simulation()
    random = Random(5)
    there = Path(random, delay=0.02, loss=0.01, rate=10e6, queue_bytes=400_000)
    left, right = sim.add_pair(there, Path(random, delay=0.02, loss=0.01))
    data = random.randbytes(12_000_000)
    transfer(sim, left, right, data)
    start = sim.now
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert right.received == data
    assert len(data) / (sim.now - start) > 6e6


def test_a_bad_line_with_room_is_used_at_far_more_than_one_window_of_conserved_packets() -> None:
    """A line that loses 1 % and has room to spare. One round at the pace of what arrives, each time that a
    packet is lost, would leave a third to two thirds of this."""
    sim = Simulation()
    random = Random(12)
    left, right = sim.add_pair(*(Path(random, delay=0.02, loss=0.01) for _ in range(2)))
    data = random.randbytes(16_000_000)
    transfer(sim, left, right, data)
    start = sim.now
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert right.received == data
    assert len(data) / (sim.now - start) > 20e6


def test_a_writer_that_found_a_stream_full_is_notified_when_there_is_room() -> None:
    """Also when it is the congestion window that fell, with no peer writing meanwhile."""
    sim = Simulation()
    left, _ = sim.add_pair(*paths(delay=0.001))
    drained: list[float] = []
    left.on_drain = lambda: drained.append(sim.now)
    congestion = left.stream.sender.congestion
    congestion.window = 1000
    while left.stream.send_queue_bytes < WRITE_BUFFER_BYTES + 500_000:
        assert left.stream.write(bytes(10_000))
    congestion.window = 4  # as after a timeout
    found_writable = left.stream.writable
    sim.run(20)
    assert left.stream.send_queue_bytes == 0
    assert found_writable or drained
    congestion.window = 4
    while left.stream.write(bytes(10_000)):
        pass
    assert not left.stream.writable
    sim.run(20)
    assert len(drained) == 1
    assert left.stream.writable


def test_what_came_early_takes_room_in_the_window_so_that_nothing_is_sent_in_vain() -> None:
    sim = Simulation()
    random = Random(13)
    there = Path(random, delay=0.05, loss=0.01)
    left, right = sim.add_pair(there, Path(random, delay=0.05))
    data = random.randbytes(32_000_000)
    transfer(sim, left, right, data, chunk=1 << 20)
    flight, widest = left.stream.sender.flight, 0

    def done() -> bool:
        nonlocal widest
        widest = max(widest, flight.next_seq - flight.una)
        return both_closed(left, right)

    assert sim.run(60, until=done)
    assert right.received == data
    assert abs(widest - RECEIVE_WINDOW_BYTES // 1452) < 54
    assert there.datagrams < 1.03 * len(data) / 1452


def test_a_clean_path_is_filled_without_flooding_its_queue() -> None:
    sim = Simulation()
    random = Random(6)
    there = Path(random, delay=0.02, rate=5e6, queue_bytes=1_000_000)
    left, right = sim.add_pair(there, Path(random, delay=0.02))
    data = random.randbytes(20_000_000)
    transfer(sim, left, right, data)
    start = sim.now
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert right.received == data
    assert len(data) / (sim.now - start) > 4.2e6
    assert there.dropped <= 0.02 * there.datagrams


def test_a_buffer_smaller_than_the_window_is_not_overrun_again_and_again() -> None:
    """As that of a socket is when its program is busy. Plain BBR 1 has 29 % of all packets dropped here."""
    sim = Simulation()
    random = Random(5)
    there = Path(random, delay=0.005, rate=20e6, queue_bytes=150_000)
    left, right = sim.add_pair(there, Path(random, delay=0.005))
    data = random.randbytes(20_000_000)
    transfer(sim, left, right, data)
    start = sim.now
    assert sim.run(30, until=lambda: both_closed(left, right))
    assert right.received == data
    assert there.dropped < 0.06 * there.datagrams
    assert len(data) / (sim.now - start) > 0.7 * 20e6


def test_the_rate_follows_a_path_that_changes_and_the_round_trip_is_probed_again() -> None:
    sim = Simulation()
    random = Random(11)
    there = Path(random, delay=0.01, rate=3e6, queue_bytes=200_000)
    left, right = sim.add_pair(there, Path(random, delay=0.01))
    transfer(sim, left, right, bytes(200_000_000), chunk=1 << 20)
    phases, rates = set(), []
    # A longer way is believed only when the memory of the shorter one has faded, after 10 s.
    for delay, rate, run_until_idle in ((0.01, 3e6, 1), (0.06, 3e6, 12), (0.01, 1e6, 1), (0.01, 4e6, 1)):
        there.delay, there.rate = delay, rate
        for _ in range(run_until_idle * 20):
            sim.run(0.05)
            phases.add(left.stream.sender.congestion.phase)
        before = len(right.received)
        sim.run(4)
        rates.append((len(right.received) - before) / 4 / rate)
    assert Phase.PROBE_RTT in phases
    assert all(share > 0.7 for share in rates), rates


def test_two_streams_share_a_bottleneck_fairly() -> None:
    sim = Simulation()
    random = Random(7)
    there = Path(random, delay=0.02, rate=2e6, queue_bytes=150_000)
    back = Path(random, delay=0.02)
    pairs = [sim.add_pair(there, back) for _ in range(2)]
    for left, right in pairs:
        transfer(sim, left, right, bytes(40_000_000))
    sim.run(3)
    marks = [len(right.received) for _, right in pairs]
    sim.run(12)
    shares = [len(right.received) - mark for (_, right), mark in zip(pairs, marks, strict=True)]
    assert sum(shares) > 12 * 2e6 * 0.75
    assert max(shares) < 3 * min(shares)


def test_a_path_that_carries_larger_packets_is_used_up_to_its_mtu() -> None:
    for mtu, expected in ((1200, 1172), (1400, 1372), (1450, 1372), (1500, 1472), (9000, 1472)):
        sim = Simulation()
        left, right = sim.add_pair(*paths(mtu=mtu, delay=0.005))
        left.sent = []
        data = Random(mtu).randbytes(3_000_000)
        transfer(sim, left, right, data)
        assert sim.run(60, until=lambda pair=(left, right): both_closed(*pair))
        assert right.received == data
        assert max(map(len, left.sent[-200:])) == expected


def test_a_paused_reader_stops_the_writer_and_loses_nothing() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(delay=0.001))
    data = Random(8).randbytes(12_000_000)
    right.stream.pause()
    transfer(sim, left, right, data)
    sim.run(30)
    assert not right.received
    held = len(data) - left.stream.send_queue_bytes
    assert held < RECEIVE_WINDOW_BYTES + 2 * WRITE_BUFFER_BYTES + 8_000_000
    assert right.stream._incoming.held_bytes <= RECEIVE_WINDOW_BYTES
    right.stream.resume()
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert right.received == data


def test_a_writer_keeps_asking_a_shut_window_until_it_opens() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths(delay=0.001))
    right.stream.pause()
    data = Random(9).randbytes(RECEIVE_WINDOW_BYTES + 100_000)
    transfer(sim, left, right, data)
    sim.run(20)
    left.sent = []
    sim.run(10)
    kinds = {Packet.decode(d).flags for d in left.sent}
    assert kinds == {FLAG_HEARTBEAT}
    assert 2 <= len(left.sent) <= 10
    right.path.loss = 1.0  # the news of the open window is lost
    right.stream.resume()
    sim.run(0.5)
    right.path.loss = 0.0
    assert sim.run(60, until=lambda: both_closed(left, right))
    assert right.received == data


def test_one_side_may_end_long_before_the_other() -> None:
    sim = Simulation()
    left, right = sim.add_pair(*paths())
    left.stream.end()
    assert sim.run(5, until=lambda: right.ended)
    assert left.closed is None and right.closed is None
    data = Random(10).randbytes(300_000)
    right.stream.write(data)
    sim.run(5)
    right.stream.end()
    assert sim.run(5, until=lambda: both_closed(left, right))
    assert left.received == data
