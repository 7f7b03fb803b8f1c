"""The bookkeeping of packets in flight against a model of sets, and loss detection by time."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.udx.flight import Arrival, Flight
from support.examples import examples


@settings(max_examples=examples(200))
@given(st.integers(0, 2**32), st.integers(5, 60), st.sampled_from([0, 100, 2**32 - 3]))
def test_a_flight_counts_like_a_model_of_sets(seed: int, steps: int, first: int) -> None:
    random = Random(seed)
    flight = Flight(first)
    sent: list[bytes] = []
    arrived: set[int] = set()
    una, now, delivered = first, 1.0, 0
    for _ in range(steps):
        now += random.random() * 0.01
        end = first + len(sent)
        step = random.randrange(5)
        if step == 0:
            payloads = [random.randbytes(4) for _ in range(random.randrange(1, 9))]
            assert flight.send(payloads, now) == end
            sent += payloads
        elif step in (1, 2) and una < end:
            ack = random.randint(una, end) if step == 1 else una
            ranges = []
            for _ in range(random.randrange(4)):
                start = random.randint(una, end - 1)
                ranges.append((start, random.randint(start + 1, end)))
            new = set(range(una, ack)).union(*(range(*r) for r in ranges)) - arrived - set(range(first, una))
            arrival = Arrival()
            flight.acknowledge(ack, ranges, now, arrival)
            flight.finish(arrival, now)
            assert arrival.delivered == len(new)
            assert arrival.acked == ack - una
            if arrival.rtt is not None:
                assert 0 <= arrival.rtt <= now - 1.0
            arrived |= new
            una = ack
            delivered += len(new)
        elif step == 3:
            flight.detect_losses(now, random.choice([0.0, 0.005, 1.0]))
        elif flight.lost:
            seq = flight.next_lost()
            assert flight.payload(seq) == sent[seq - first]
            flight.resend(seq, now)
            assert flight.was_resent(seq)
        end = first + len(sent)
        missing = {seq for seq in range(una, end) if seq not in arrived}
        assert set(flight.lost) <= missing
        assert flight.in_flight == len(missing) - len(flight.lost)
        assert flight.delivered == delivered
        assert flight.outstanding == (una < end)
        assert (flight.una, flight.next_seq) == (una, end)
        for seq in range(una, end):
            assert flight.payload(seq) == sent[seq - first]
            assert flight.has_arrived(seq) == (seq in arrived)
    before = flight.in_flight + len(flight.lost)
    flight.mark_all_lost()
    assert flight.in_flight == 0
    assert len(flight.lost) == before


def arrive(flight: Flight, ack: int, sacks: list[tuple[int, int]], now: float) -> Arrival:
    arrival = Arrival()
    flight.acknowledge(ack, sacks, now, arrival)
    flight.finish(arrival, now)
    return arrival


def test_what_was_sent_before_something_that_arrived_is_lost_once_it_is_old_enough() -> None:
    flight = Flight()
    flight.send([b"a"] * 4, 1.0)
    flight.send([b"b"] * 4, 1.01)
    arrive(flight, 0, [(3, 4), (5, 6)], 1.05)
    assert flight.detect_losses(1.05, 0.05) == (3, 1.01 + 0.05)
    assert list(flight.lost) == [0, 1, 2]
    assert flight.detect_losses(1.06, 0.05) == (1, None)
    assert list(flight.lost) == [0, 1, 2, 4], "what follows the last arrival is not judged"


def test_a_repeated_packet_that_is_lost_again_is_found_by_what_was_sent_after_it() -> None:
    flight = Flight()
    flight.send([b"x"] * 3, 1.0)
    arrive(flight, 0, [(1, 3)], 1.1)
    assert flight.detect_losses(1.1, 0.1) == (1, None)
    flight.resend(0, 1.1)
    flight.send([b"y"], 1.15)
    assert flight.detect_losses(1.2, 0.1) == (0, None)
    arrive(flight, 0, [(1, 4)], 1.25)
    assert flight.detect_losses(1.25, 0.1)[0] == 1
    assert list(flight.lost) == [0]


def test_a_tail_that_is_lost_shows_when_the_repeated_last_packet_arrives() -> None:
    flight = Flight()
    flight.send([b"x"] * 5, 1.0)
    flight.resend(4, 1.2)
    arrive(flight, 0, [(4, 5)], 1.3)
    assert flight.detect_losses(1.3, 0.1) == (4, None)


def test_only_packets_sent_once_measure_a_round_trip() -> None:
    flight = Flight()
    flight.send([b"x"] * 2, 1.0)
    flight.resend(1, 1.5)
    assert arrive(flight, 2, [], 1.6).rtt is None
    flight.send([b"y"] * 2, 2.0)
    arrival = arrive(flight, 3, [], 2.25)
    assert arrival.rtt == 0.25
    assert arrival.newest is not None and arrival.newest.delivered == 2


def test_a_packet_that_was_late_and_not_lost_shows_that_the_path_reorders() -> None:
    flight = Flight()
    flight.send([b"x"] * 3, 1.0)
    arrive(flight, 0, [(2, 3)], 1.1)
    assert not flight.reordering_seen
    arrive(flight, 1, [(2, 3)], 1.11)
    assert flight.reordering_seen


def test_payloads_that_were_acknowledged_are_let_go() -> None:
    flight = Flight()
    for _ in range(100):
        flight.send([bytes(1000)] * 100, 1.0)
        arrive(flight, flight.next_seq - 1, [], 1.1)
    assert len(flight._payloads) < 1200
    assert len(flight._runs) < 3
    flight.clear()
    assert not flight._payloads
