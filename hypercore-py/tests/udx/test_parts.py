"""The small parts of UDX: ranges, send queue, reassembly, round trips, pacing, MTU search."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hypercore.ranges import RangeSet
from hypercore.udx.limits import (
    MAX_BURST_PACKETS,
    MAX_DATAGRAM_BYTES,
    MAX_OUT_OF_ORDER_PACKETS,
    MAX_RTO,
    MIN_RTO,
    MIN_RTT_WINDOW,
    RECEIVE_WINDOW_BYTES,
)
from hypercore.udx.mtu import LADDER, MAX_LOST_PROBES, MtuSearch
from hypercore.udx.pacing import BUCKET_PACKETS, BUCKET_TIME, Pacer
from hypercore.udx.packet import MAX_SACK_RANGES
from hypercore.udx.reassembly import Reassembly
from hypercore.udx.rtt import RoundTrip
from hypercore.udx.send_queue import SendQueue
from hypercore.udx.window import SMALLEST_BYTES, WindowTuner

spans = st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1]))


# --- ranges
# ---------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(spans, st.integers(0, 70)), max_size=25), spans)
def test_a_range_set_behaves_like_a_set(steps: list[tuple[int, int] | int], window: tuple[int, int]) -> None:
    ranges, model = RangeSet(), set[int]()
    for step in steps:
        if isinstance(step, int):
            gone = {n for n in model if n < step}
            assert ranges.remove_below(step) == len(gone)
            model -= gone
        else:
            new = set(range(*step)) - model
            assert ranges.add(*step) == len(new)
            model |= new
        assert ranges.count == len(model)
        assert bool(ranges) == bool(model)
        assert [n for start, end in ranges for n in range(start, end)] == sorted(model)
        assert all(end < start for (_, end), (start, _) in zip(list(ranges), list(ranges)[1:], strict=False))
        assert [n for n in range(80) if n in ranges] == sorted(model)
        gaps = [n for start, end in ranges.gaps(*window) for n in range(start, end)]
        assert gaps == [n for n in range(*window) if n not in model]
        if model:
            assert ranges.highest == max(model) + 1
        assert len(ranges) == len(list(ranges))


# --- send queue
# -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=50), max_size=12),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 6)), max_size=40),
)
def test_a_send_queue_cuts_the_stream_into_full_pieces(
    parts: list[bytes], takes: list[tuple[int, int]]
) -> None:
    queue = SendQueue()
    for part in parts:
        queue.append(part)
    rest = b"".join(parts)
    for size, limit in takes:
        assert queue.size == len(rest)
        pieces = queue.take(size, limit)
        assert len(pieces) == min(limit, -(-len(rest) // size))
        assert all(len(piece) == size for piece in pieces[:-1])
        taken = b"".join(pieces)
        assert taken == rest[: len(taken)]
        rest = rest[len(taken) :]
        if pieces and len(pieces[-1]) < size:
            assert not rest
    assert bool(queue) == bool(rest)


def test_a_buffer_that_changes_after_the_write_does_not_change_what_is_sent() -> None:
    queue, data = SendQueue(), bytearray(b"before")
    queue.append(data)
    data[:] = b"after!"
    assert queue.take(10, 1) == [b"before"]


# --- reassembly
# -----------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
def test_packets_are_delivered_once_and_in_order_whatever_order_they_come_in(
    seed: int, count: int, with_end: bool
) -> None:
    random = Random(seed)
    packets = [(seq, random.randbytes(random.randrange(5)), False) for seq in range(100, 100 + count)]
    if with_end:
        packets[-1] = (*packets[-1][:2], True)
    arrivals = packets + random.choices(packets, k=count)
    random.shuffle(arrivals)
    incoming = Reassembly(100)
    seen: set[int] = set()
    delivered = b""
    for seq, payload, is_end in arrivals:
        for chunk in incoming.add_packet(seq, memoryview(payload), is_end=is_end):
            delivered += chunk
        seen.add(seq)
        due = next(n for n in range(100, 101 + count) if n not in seen)
        assert incoming.next_seq == due
        reported = {n for start, end in incoming.sack_ranges() for n in range(start, end)}
        assert reported == {n for n in seen if n > due}
        assert incoming.has_gaps == bool(reported)
    assert delivered == b"".join(payload for _, payload, _ in packets)
    assert incoming.finished == with_end
    assert incoming.held_bytes == 0


def test_what_is_out_of_order_is_bounded_in_packets_and_bytes() -> None:
    incoming = Reassembly(0)
    incoming.add_packet(MAX_OUT_OF_ORDER_PACKETS, memoryview(b"too early"), is_end=False)
    assert not incoming.has_gaps
    incoming.add_packet(MAX_OUT_OF_ORDER_PACKETS - 1, memoryview(b"just not"), is_end=False)
    assert incoming.has_gaps
    for seq in range(1, MAX_OUT_OF_ORDER_PACKETS - 1):
        incoming.add_packet(seq, memoryview(bytes(MAX_DATAGRAM_BYTES)), is_end=False)
    assert RECEIVE_WINDOW_BYTES - MAX_DATAGRAM_BYTES < incoming.held_bytes <= RECEIVE_WINDOW_BYTES
    assert incoming.add_packet(0, memoryview(b"due"), is_end=False)[0] == b"due"


def test_what_is_held_for_a_reader_that_pauses_is_bounded_and_the_window_says_so() -> None:
    incoming = Reassembly(0)
    payload = memoryview(bytes(1452))
    seq = 0
    while incoming.window:
        assert incoming.window >= MAX_DATAGRAM_BYTES
        incoming.hold(seq, payload, is_end=False)
        seq += 1
        assert incoming.next_seq == seq
    for _ in range(5):
        incoming.hold(incoming.next_seq, payload, is_end=False)
    assert incoming.held_bytes <= RECEIVE_WINDOW_BYTES
    assert b"".join(incoming.take_unread()) == bytes(1452 * incoming.next_seq)
    assert incoming.window == RECEIVE_WINDOW_BYTES


def test_at_most_fifty_ranges_are_reported() -> None:
    incoming = Reassembly(0)
    for seq in range(1, 300, 2):
        incoming.add_packet(seq, memoryview(b"x"), is_end=False)
    assert incoming.sack_ranges() == [(n, n + 1) for n in range(1, 2 * MAX_SACK_RANGES, 2)]


def test_nothing_is_taken_behind_the_end_and_no_end_before_what_is_here() -> None:
    incoming = Reassembly(0)
    incoming.add_packet(5, memoryview(b"five"), is_end=False)
    incoming.add_packet(3, memoryview(b""), is_end=True)
    assert incoming.end is None
    incoming.add_packet(6, memoryview(b""), is_end=True)
    incoming.add_packet(7, memoryview(b"late"), is_end=False)
    assert (incoming.end, incoming.sack_ranges()) == (6, [(5, 7)])


# --- round trips and pacing
# -----------------------------------------------------------------------------------


def test_the_first_sample_sets_the_estimate_and_later_ones_move_it_an_eighth() -> None:
    rtt = RoundTrip()
    assert not rtt.known
    rtt.sample(0.8, 1.0)
    assert (rtt.smoothed, rtt.variation, rtt.rto) == (0.8, 0.4, 0.8 + 4 * 0.4)
    rtt.sample(0.4, 2.0)
    assert abs(rtt.smoothed - 0.75) < 1e-9
    assert abs(rtt.variation - 0.4) < 1e-9


def test_the_timeout_is_bounded_both_ways() -> None:
    rtt = RoundTrip()
    rtt.sample(0.001, 1.0)
    assert rtt.rto == MIN_RTO
    rtt = RoundTrip()
    rtt.sample(100.0, 1.0)
    assert rtt.rto == MAX_RTO


def test_an_outlier_counts_only_as_far_as_the_variation_goes() -> None:
    rtt = RoundTrip()
    for n in range(50):
        rtt.sample(1.0, n)
    ceiling = rtt.smoothed + 5 * rtt.variation
    rtt.sample(60.0, 51.0)
    assert rtt.latest == ceiling


def test_the_smallest_round_trip_is_forgotten_after_its_window() -> None:
    rtt = RoundTrip()
    rtt.sample(0.01, 0.0001)
    rtt.sample(0.05, MIN_RTT_WINDOW - 1)
    assert rtt.minimum == 0.01
    rtt.sample(0.05, MIN_RTT_WINDOW + 1)
    assert rtt.minimum == 0.05


@given(st.floats(1.0, 1e6), st.lists(st.floats(0.0, 0.1), max_size=50))
def test_a_pacer_lets_through_its_rate_and_one_bucket_at_most(rate: float, waits: list[float]) -> None:
    now, sent = 10.0, 0
    pacer = Pacer(now)
    for wait in waits:
        now += wait
        allowed = pacer.budget(now, rate)
        sent += allowed
        pacer.spend(allowed)
    assert sent <= (now - 10.0) * rate + max(BUCKET_PACKETS, rate * BUCKET_TIME) + 1
    assert 2 <= Pacer.quantum(rate) <= MAX_BURST_PACKETS


@given(st.floats(1.0, 1e7), st.integers(1, MAX_BURST_PACKETS), st.floats(1.0, 1e7))
def test_the_credit_is_there_when_the_pacer_says_it_will_be(rate: float, wanted: int, start: float) -> None:
    pacer = Pacer(start)
    pacer.spend(pacer.budget(start, rate))
    wanted = min(wanted, BUCKET_PACKETS)
    at = pacer.ready_at(wanted, rate)
    assert pacer.budget(at, rate) >= wanted or at - start < 1e-9


# --- the window offered ---


def test_the_window_is_cut_to_what_the_kernel_holds_and_then_bit_by_bit() -> None:
    tuner = WindowTuner()
    assert tuner.limit == RECEIVE_WINDOW_BYTES
    tuner.on_rx_dropped(200_000, 1.0)
    assert tuner.limit == 200_000
    tuner.on_rx_dropped(200_000, 1.001)
    assert tuner.limit == 200_000, "the same overrun"
    tuner.on_rx_dropped(200_000, 1.1)
    assert tuner.limit == 140_000
    for n in range(100):
        tuner.on_rx_dropped(200_000, 2.0 + n)
    assert tuner.limit == SMALLEST_BYTES


def test_the_window_grows_back_while_data_flows_and_nothing_is_overrun() -> None:
    tuner = WindowTuner()
    tuner.on_rx_dropped(100_000, 1.0)
    tuner.on_data(1.01)
    assert tuner.limit == 100_000
    now, grown = 1.0, []
    while tuner.limit < RECEIVE_WINDOW_BYTES:
        now += 0.01
        tuner.on_data(now)
        grown.append(tuner.limit)
    assert grown == sorted(grown)
    assert 2 < now < 8
    tuner.on_data(now + 1)
    assert tuner.limit == RECEIVE_WINDOW_BYTES


# --- MTU search
# -----------------------------------------------------------------------------------------------


def test_the_search_climbs_the_ladder_as_probes_arrive() -> None:
    search = MtuSearch()
    seen = [search.payload_bytes]
    while search.searching:
        assert 0 < search.padding <= 255
        search.probe_seq = 1
        assert not search.searching
        search.on_arrived()
        seen.append(search.payload_bytes)
    assert seen == [1152, *(mtu - 48 for mtu in LADDER)]


def test_three_lost_probes_of_a_size_end_the_search() -> None:
    search = MtuSearch()
    search.probe_seq = 1
    search.on_arrived()
    for _ in range(MAX_LOST_PROBES):
        assert search.searching
        search.probe_seq = 2
        search.on_lost()
    assert not search.searching
    assert search.payload_bytes == LADDER[0] - 48
