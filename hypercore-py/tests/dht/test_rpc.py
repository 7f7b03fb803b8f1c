"""Requests in flight: retries, time-outs, the window, and who may answer."""

import pytest

from hypercore.dht.address import Address, node_id
from hypercore.dht.packet import Request, Response, decode_packet
from hypercore.dht.rpc import (
    MAX_CALLS,
    SLOT_SECONDS,
    WINDOW,
    CongestionWindow,
    OutgoingRequest,
    ReplyHandler,
    Rpc,
)

THERE = Address("77.0.0.1", 49737)
US = Address("78.0.0.1", 1000)


class Calls:
    """An Rpc, and what its callbacks were called with."""

    def __init__(self, **options):
        self.rpc = Rpc(first_tid=options.pop("first_tid", 7), now=0.0, **options)
        self.log = []

    def call(self, now=0.0, to=THERE, name="call", own_id=None, on_slow=None, **options):
        handler = ReplyHandler(
            lambda reply: self.log.append((name, reply)), lambda: self.log.append((name, None)), on_slow
        )
        return self.rpc.call(OutgoingRequest(to, 0, **options), now, handler, own_id=own_id)

    def sent(self):
        packets = [(decode_packet(data), to) for data, to in self.rpc.outbox]
        self.rpc.outbox.clear()
        return packets

    def answer(self, tid, now, source=THERE, **fields):
        response = Response(tid=tid, to=US, **fields)
        reply = self.rpc.match(response, source, now)
        if reply is not None:
            self.rpc.deliver(tid, reply, now)
        return reply


def test_request_carries_what_was_asked():
    calls = Calls()
    calls.call(target=b"t" * 32, token=b"k" * 32, value=b"v", internal=True, own_id=b"i" * 32)
    assert calls.sent() == [
        (
            Request(
                tid=7,
                to=THERE,
                command=0,
                internal=True,
                id=b"i" * 32,
                token=b"k" * 32,
                target=b"t" * 32,
                value=b"v",
            ),
            THERE,
        )
    ]


def test_answer_is_delivered_once_with_its_round_trip_time():
    calls = Calls()
    calls.call()
    assert calls.answer(7, 0.25, value=b"x").rtt == 0.25
    assert calls.answer(7, 0.3) is None
    [(_, reply)] = calls.log
    assert (reply.source, reply.to, reply.value, reply.id) == (THERE, US, b"x", None)
    assert calls.rpc.in_flight == 0 and calls.rpc.next_deadline() is None


def test_id_counts_only_if_it_is_the_one_of_the_address():
    calls = Calls()
    calls.call()
    assert calls.answer(7, 0.1, id=node_id(THERE)).id == node_id(THERE)
    calls.call()
    assert calls.answer(8, 0.1, id=bytes(32)).id is None


def test_answer_from_elsewhere_is_ignored():
    calls = Calls()
    calls.call()
    assert calls.answer(7, 0.1, source=Address("77.0.0.2", 49737)) is None
    assert calls.answer(7, 0.1, source=Address("77.0.0.1", 1)) is None
    assert calls.answer(9, 0.1) is None
    assert calls.rpc.in_flight == 1


def test_unanswered_request_is_repeated_unchanged_then_given_up():
    calls = Calls()
    slow = []
    calls.call(retries=3, on_slow=lambda: slow.append(True))
    first = calls.sent()
    for second in (1.0, 2.0, 3.0):
        assert calls.rpc.next_deadline() == second
        assert calls.rpc.expire(second) == []
        assert calls.sent() == first
    assert slow == [True]
    assert calls.log == []
    failed = calls.rpc.expire(4.0)
    assert [call.to for call in failed] == [THERE]
    assert calls.log == [("call", None)] and calls.sent() == []
    assert calls.rpc.timed_out == 1 and calls.rpc.sent == 4


def test_late_answer_to_a_retry_counts():
    calls = Calls()
    calls.call()
    calls.rpc.expire(1.0)
    assert calls.answer(7, 1.5).rtt == 1.5
    assert calls.rpc.expire(9.0) == []


def test_a_cancelled_request_calls_no_callback():
    calls = Calls()
    call = calls.call()
    calls.rpc.cancel(call)
    calls.rpc.cancel(call)
    assert calls.answer(7, 0.1) is None
    calls.rpc.expire(10.0)
    assert calls.log == [] and calls.rpc.in_flight == 0


def test_own_timeout_of_a_request_holds():
    calls = Calls()
    calls.call(timeout=2.5, retries=0)
    assert calls.rpc.next_deadline() == 2.5
    calls.rpc.expire(2.5)
    assert calls.log == [("call", None)]


def test_tids_wrap_and_skip_those_in_flight():
    calls = Calls(first_tid=65535)
    calls.call()
    calls.call()
    assert [p.tid for p, _ in calls.sent()] == [65535, 0]
    calls.rpc._tid = 65535
    calls.call()
    assert [p.tid for p, _ in calls.sent()] == [1]


def test_burst_waits_for_room_in_the_window():
    calls = Calls()
    for _ in range(WINDOW + 10):
        calls.call()
    assert len(calls.sent()) == WINDOW
    assert calls.rpc.next_deadline() == SLOT_SECONDS
    calls.rpc.expire(SLOT_SECONDS)
    assert len(calls.sent()) == 10


def test_answer_makes_room_at_once():
    calls = Calls()
    for _ in range(WINDOW + 10):
        calls.call()
    calls.sent()
    calls.answer(7, 0.1)
    assert [p.tid for p, _ in calls.sent()] == [7 + WINDOW]


def test_forced_request_goes_past_the_window():
    calls = Calls()
    for _ in range(WINDOW + 1):
        calls.call()
    calls.sent()
    calls.call(force=True)
    assert len(calls.sent()) == 1


def test_waiting_request_that_was_cancelled_is_not_sent():
    calls = Calls()
    waiting = [calls.call() for _ in range(WINDOW + 2)][-2:]
    calls.sent()
    calls.rpc.cancel(waiting[0])
    calls.rpc.expire(SLOT_SECONDS)
    assert [p.tid for p, _ in calls.sent()] == [waiting[1].tid]


def test_answer_to_a_request_that_was_not_sent_yet_is_ignored():
    calls = Calls()
    waiting = [calls.call() for _ in range(WINDOW + 1)][-1]
    assert calls.answer(waiting.tid, 0.1) is None


@pytest.mark.slow
def test_calls_in_flight_are_bounded():
    calls = Calls()
    for _ in range(MAX_CALLS):
        assert calls.call() is not None
    assert not calls.rpc.room
    assert calls.call() is None


@pytest.mark.parametrize("pause", [0.1, SLOT_SECONDS * 3.5, 100.0])
def test_window_forgets_what_is_old(pause):
    window = CongestionWindow(0.0)
    for _ in range(WINDOW):
        window.sent()
    assert window.full
    window.advance(pause)
    assert window.full == (pause < SLOT_SECONDS)
    assert window.turn_at > pause


def test_window_is_full_at_twice_its_size_over_all_slots():
    window = CongestionWindow(0.0)
    for slot in range(3):
        window.advance(slot * SLOT_SECONDS)
        for _ in range(WINDOW - 1 if slot < 2 else 2):
            assert not window.full
            window.sent()
    assert window.full
