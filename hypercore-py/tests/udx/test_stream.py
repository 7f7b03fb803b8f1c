"""The rules of one stream, packet by packet (transport.md a.4, a.5; observed on the official binary)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.errors import LocalProtocolError
from hypercore.testing import Path as NetworkPath
from hypercore.testing import Simulation
from hypercore.udx import Closed, Data, Ended, Message, UdxStream
from hypercore.udx.limits import MAX_FLIGHT_BYTES, WRITE_BUFFER_BYTES
from hypercore.udx.packet import (
    FLAG_DATA,
    FLAG_DESTROY,
    FLAG_END,
    FLAG_HEARTBEAT,
    FLAG_MESSAGE,
    FLAG_SACK,
    HEADER_BYTES,
    Packet,
    RawPacket,
    header_struct,
)
from hypercore.udx.stream import MAX_QUEUED_MESSAGES
from hypercore.udx.time_wait import TimeWait
from support.examples import examples
from support.vectors import load

WINDOW = 4 << 20
SESSIONS = load("transport/udx-packets")


def raw(datagram: bytes) -> RawPacket:
    header: Any = header_struct.unpack_from(datagram)
    return header, memoryview(datagram)[HEADER_BYTES:]


class Probe:
    """A connected stream and what it says to hand-made packets."""

    def __init__(self, **options: Any) -> None:
        self.stream = UdxStream(0.0, **options)
        self.stream.connect(88)
        self.now = 0.0

    def feed(self, *packets: Packet) -> list[Packet]:
        """Packets of one batch; returns the answers."""
        self.now += 0.01
        self.stream.receive([raw(packet.encode()) for packet in packets], self.now)
        return self.answers()

    def answers(self) -> list[Packet]:
        out = []
        while (burst := self.stream.take_output(self.now)) is not None:
            step = len(burst.buffers) // burst.packets
            for at in range(0, len(burst.buffers), step):
                out.append(Packet.decode(b"".join(burst.buffers[at : at + step])))
        return out

    def events(self) -> list[Any]:
        out = []
        while (event := self.stream.next_event()) is not None:
            out.append(event)
        return out

    def data(self) -> bytes:
        return b"".join(b"".join(e.chunks) for e in self.events() if isinstance(e, Data))


def packet(flags: int, seq: int, ack: int, payload: bytes = b"", **rest: Any) -> Packet:
    return Packet(flags, 77, rest.pop("window", WINDOW), seq, ack, payload, **rest)


def state(ack: int, seq: int = 0, sacks: tuple[tuple[int, int], ...] = ()) -> Packet:
    return Packet(FLAG_SACK if sacks else 0, 88, WINDOW, seq, ack, b"", sacks)


# --- a.4, as gen/09-udx-rules.py saw it
# -----------------------------------------------------------------------


def test_the_rules_of_a_receiver_hold_one_after_the_other() -> None:
    probe = Probe()
    assert probe.feed(packet(FLAG_DATA, 0, 0, b"a")) == [state(1)]
    assert probe.feed(packet(FLAG_DATA, 0, 0, b"a")) == [state(1)], "a duplicate is acknowledged again"
    assert probe.feed(packet(FLAG_DATA, 2, 0, b"c")) == [state(1, sacks=((2, 3),))]
    assert probe.feed(packet(FLAG_DATA, 1, 5, b"b")) == [], "an ack beyond our seq is not answered"
    assert probe.data() == b"abc", "but its data counts"
    assert probe.feed(packet(FLAG_HEARTBEAT, 3, 0)) == [state(3)]
    assert probe.feed(packet(FLAG_DATA, 3, 0, b"pad", padding=4)) == [state(4)]
    assert probe.data() == b"pad"
    assert probe.feed(packet(FLAG_MESSAGE, 99, 0, b"m")) == []
    assert probe.events() == [Message(b"m")]
    assert probe.feed(packet(0, 4, 0)) == []
    assert probe.feed(packet(FLAG_DESTROY, 1, 0)) == [], "an old DESTROY is ignored"
    assert probe.feed(packet(FLAG_DATA, 4, 0, b"still alive")) == [state(5)]
    assert probe.data() == b"still alive"
    assert probe.feed(packet(FLAG_DESTROY, 5, 0)) == []
    [closed] = probe.events()
    assert isinstance(closed, Closed) and closed.error is not None
    assert closed.error.code == "ECONNRESET"


def test_a_heartbeat_packet_is_answered_and_otherwise_not_looked_at() -> None:
    probe = Probe()
    assert probe.feed(packet(FLAG_HEARTBEAT | FLAG_DATA, 0, 0, b"x")) == [state(0)]
    assert probe.events() == []


def test_a_data_offset_beyond_the_end_drops_the_packet() -> None:
    probe = Probe()
    good = packet(FLAG_DATA, 0, 0, b"abc").encode()
    probe.stream.receive([raw(good[:3] + b"\x04" + good[4:])], 1.0)
    assert probe.answers() == []
    assert probe.events() == []


def test_one_acknowledgement_answers_a_whole_batch() -> None:
    probe = Probe()
    batch = [packet(FLAG_DATA, seq, 0, bytes([seq])) for seq in range(5)]
    assert probe.feed(*batch) == [state(5)]
    assert probe.data() == bytes(range(5))
    assert probe.stream.bytes_in == 5


def test_an_empty_data_packet_takes_a_number_and_delivers_nothing() -> None:
    probe = Probe()
    assert probe.feed(packet(FLAG_DATA, 0, 0)) == [state(1)]
    assert probe.events() == []


def test_the_end_comes_after_the_data_and_the_stream_closes_once_both_sides_ended() -> None:
    probe = Probe()
    assert probe.feed(packet(FLAG_END, 1, 0)) == [state(0, sacks=((1, 2),))]
    assert probe.events() == []
    assert probe.feed(packet(FLAG_DATA, 0, 0, b"x")) == [state(2)]
    assert [type(e) for e in probe.events()] == [Data, Ended]
    probe.stream.end()
    assert probe.answers() == [Packet(FLAG_END, 88, WINDOW, 0, 2)]
    assert probe.feed(packet(0, 2, 1)) == [state(2, seq=1)], "a last word for a peer that missed one"
    assert probe.events() == [Closed(None)]
    assert probe.stream.closed


def test_data_and_end_may_share_a_packet() -> None:
    probe = Probe()
    assert probe.feed(packet(FLAG_DATA | FLAG_END, 0, 0, b"bye")) == [state(1)]
    assert [type(e) for e in probe.events()] == [Data, Ended]
    probe.stream.write(b"bye")
    probe.stream.end()
    assert probe.answers() == [Packet(FLAG_DATA | FLAG_END, 88, WINDOW, 0, 1, b"bye")]


def test_destroying_says_so_once_with_the_next_number() -> None:
    probe = Probe()
    probe.stream.write(b"x")
    assert [p.flags for p in probe.answers()] == [FLAG_DATA]
    probe.stream.destroy()
    assert probe.answers() == [Packet(FLAG_DESTROY, 88, WINDOW, 1, 0)]
    assert probe.answers() == []
    assert probe.events() == [Closed(None)]
    probe.stream.destroy()
    assert probe.events() == []
    assert probe.stream.next_deadline() is None


def test_nothing_is_sent_before_the_stream_is_connected() -> None:
    stream = UdxStream(0.0)
    stream.write(b"x")
    stream.receive([raw(packet(FLAG_DATA, 0, 0, b"y").encode())], 1.0)
    assert stream.take_output(1.0) is None
    assert stream.next_deadline() is None
    assert isinstance(stream.next_event(), Data)
    stream.connect(5)
    burst = stream.take_output(1.0)
    assert burst is not None
    assert Packet.decode(b"".join(burst.buffers)) == Packet(FLAG_DATA, 5, WINDOW, 0, 1, b"x")


def test_a_window_update_that_is_older_than_the_last_does_not_count() -> None:
    probe = Probe()
    sender = probe.stream.sender
    probe.feed(packet(0, 5, 0, window=1000))
    assert sender.remote_window == 1000
    probe.feed(packet(0, 4, 0, window=2000))
    assert sender.remote_window == 1000
    probe.feed(packet(0, 5, 0, window=3000))
    assert sender.remote_window == 3000


def test_the_window_offered_is_smaller_after_an_overrun_of_our_socket() -> None:
    probe = Probe()
    probe.feed(packet(FLAG_DATA, 0, 0, b"a"))
    assert not probe.stream.has_gaps
    [answer] = probe.feed(packet(FLAG_DATA, 2, 0, b"c"))
    assert probe.stream.has_gaps
    assert answer.window == WINDOW
    probe.stream.on_rx_dropped(150_000, probe.now)
    [answer] = probe.feed(packet(FLAG_DATA, 3, 0, b"d"))
    assert answer.window == 150_000
    probe.stream.write(b"x")
    assert [p.window for p in probe.answers()] == [150_000]


def test_ranges_of_what_was_never_sent_or_is_acknowledged_are_ignored() -> None:
    probe = Probe()
    probe.stream.write(bytes(5000))
    assert len(probe.answers()) == 5
    bad = ((5, 3), (4, 9), (2**31, 2**31 + 5), (2**32 - 3, 2))
    probe.feed(packet(FLAG_SACK, 0, 0, sacks=bad))
    assert not probe.stream.sender.flight.sacked
    probe.feed(packet(FLAG_SACK, 0, 0, sacks=((3, 4),)))
    assert list(probe.stream.sender.flight.sacked) == [(3, 4)]


def test_a_bogus_acknowledgement_frees_nothing() -> None:
    probe = Probe()
    probe.stream.write(b"x")
    probe.answers()
    for ack in (2, 2**31, 2**32 - 1):
        probe.feed(packet(0, 0, ack))
        assert probe.stream.sender.flight.outstanding
    probe.feed(packet(0, 0, 1))
    assert not probe.stream.sender.flight.outstanding


def test_the_first_flight_is_ten_packets() -> None:
    probe = Probe()
    probe.stream.write(bytes(100_000))
    assert len(probe.answers()) == 10


def test_what_is_kept_for_a_peer_that_acknowledges_nothing_is_bounded_whatever_it_offers() -> None:
    probe = Probe()
    probe.feed(packet(0, 1, 0, window=2**32 - 1))
    sender = probe.stream.sender
    sender.congestion.window = 10**6
    sender.congestion.rate = 1e9
    while probe.stream.writable:
        probe.stream.write(bytes(1 << 20))
    for _ in range(3000):
        probe.now += 0.001
        if not probe.answers() and not probe.stream.writable:
            break
        while probe.stream.writable:
            probe.stream.write(bytes(1 << 20))
    held = sender.flight.in_flight * 1152
    assert MAX_FLIGHT_BYTES - 1152 <= held <= MAX_FLIGHT_BYTES
    assert probe.stream.send_queue_bytes < MAX_FLIGHT_BYTES + WRITE_BUFFER_BYTES + (1 << 20)


def test_writing_after_the_end_is_our_own_mistake() -> None:
    probe = Probe()
    probe.stream.end()
    with pytest.raises(LocalProtocolError):
        probe.stream.write(b"x")
    with pytest.raises(LocalProtocolError):
        probe.stream.connect(1)
    with pytest.raises(LocalProtocolError):
        UdxStream(0.0).change_remote(1)
    with pytest.raises(LocalProtocolError):
        probe.stream.send_message(bytes(1153))


def test_messages_that_wait_are_bounded() -> None:
    stream = UdxStream(0.0)
    sent = [stream.send_message(b"x") for _ in range(MAX_QUEUED_MESSAGES + 1)]
    assert sent == [True] * MAX_QUEUED_MESSAGES + [False]


def test_a_closed_stream_answers_with_its_last_acknowledgement_until_it_is_destroyed() -> None:
    probe = Probe()
    probe.stream.end()
    probe.answers()
    assert probe.stream.time_wait() is None
    probe.feed(packet(FLAG_END, 0, 1))
    time_wait = probe.stream.time_wait()
    assert time_wait is not None
    assert time_wait.answer([raw(packet(0, 1, 1).encode())]) is None
    answer = time_wait.answer([raw(packet(FLAG_END, 0, 1).encode())] * 3)
    assert answer is not None
    assert Packet.decode(answer) == state(1, seq=1)
    assert time_wait.answer([raw(packet(FLAG_DESTROY, 1, 1).encode())]) is None
    assert time_wait.answer([raw(packet(FLAG_END, 0, 1).encode())]) is None


def test_a_reset_stream_leaves_nothing_behind() -> None:
    probe = Probe()
    probe.feed(packet(FLAG_DESTROY, 0, 0))
    assert probe.stream.time_wait() is None
    unconnected = UdxStream(0.0)
    unconnected.destroy()
    assert unconnected.time_wait() is None
    assert unconnected.take_output(0.0) is None


def test_a_destroyed_stream_repeats_that_to_a_peer_that_talks_on() -> None:
    probe = Probe()
    probe.stream.destroy()
    probe.answers()
    time_wait = probe.stream.time_wait()
    assert isinstance(time_wait, TimeWait)
    answer = time_wait.answer([raw(packet(FLAG_DATA, 0, 0, b"x").encode())])
    assert answer is not None
    assert Packet.decode(answer).flags == FLAG_DESTROY


@settings(max_examples=examples(300))
@given(st.lists(st.binary(min_size=18, max_size=60), max_size=20), st.integers(0, 2**32), st.booleans())
def test_garbage_packets_raise_nothing(noise: list[bytes], seed: int, paused: bool) -> None:
    """Any bytes behind magic and version, numbers near the real ones included."""
    random = Random(seed)
    stream = UdxStream(0.0, initial_ack=2**32 - 2)
    stream.connect(1)
    stream.write(bytes(4000))
    if paused:
        stream.pause()
    now = 0.0
    for body in noise:
        while stream.take_output(now) is not None:
            pass
        near = header_struct.pack(
            0x01FF | random.getrandbits(16) << 16,
            77,
            random.choice([0, 1, WINDOW, 2**32 - 1]),
            (2**32 - 2 + random.randrange(-3, 6)) % 2**32,
            random.randrange(-2, 7) % 2**32,
        )
        datagram = random.choice([b"\xff\x01" + body, near + body[HEADER_BYTES:], near])
        now += random.random()
        stream.receive([raw(datagram)], now)
        deadline = stream.next_deadline()
        if deadline is not None and deadline <= now:
            stream.handle_timer(now)
        while stream.next_event() is not None:
            pass


# --- captured sessions
# ----------------------------------------------------------------------------------------


def session(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(s["output"] for s in SESSIONS if s["name"].startswith(name))
    return found


def whole(capture: dict[str, Any]) -> bytes:
    """The captured datagram; long ones were cut, and go on with their last byte."""
    head = bytes.fromhex(capture["hex"].split("...")[0])
    if capture["dataOffset"] and len(head) < capture["len"]:
        head = head[: HEADER_BYTES + capture["dataOffset"]].ljust(HEADER_BYTES + capture["dataOffset"], b"\0")
        return head.ljust(capture["len"], b"\x02")
    return head.ljust(capture["len"], head[-1:])


@pytest.mark.parametrize(
    "name", ["keepalive heartbeat", "destroy", "loss of one packet", "bulk with mtu probing"]
)
def test_a_receiver_of_ours_answers_a_captured_sender_byte_for_byte(name: str) -> None:
    """B of these sessions only receives: its packets must be those of the official B, up to its own
    DESTROY."""
    stream = UdxStream(0.0)
    stream.connect(1001)
    ours, theirs, received = [], [], 0
    for capture in session(name):
        if "hex" not in capture or capture.get("dropped"):
            continue
        now = capture["t"] / 1000
        if capture["dir"] == "B->A":
            if capture["flags"] != "DESTROY":
                theirs.append(capture["hex"])
            continue
        stream.receive([raw(whole(capture))], now)
        while (burst := stream.take_output(now)) is not None:
            ours.append(b"".join(burst.buffers).hex())
        while (event := stream.next_event()) is not None:
            if isinstance(event, Data):
                received += sum(map(len, event.chunks))
    assert ours == theirs
    expected = {"keepalive heartbeat": 1, "destroy": 1, "loss of one packet": 8004}
    assert received == expected.get(name, 40000)
    assert stream.closed == any(c.get("flags") == "DESTROY" and c["dir"] == "A->B" for c in session(name))


def test_data_before_connect_is_answered_like_the_official_stream_does() -> None:
    stream = UdxStream(0.0)
    early, answer = (c for c in session("data before connect") if c.get("len") in (20, 25) and c["t"] < 150)
    stream.receive([raw(whole(early))], 0.001)
    assert stream.take_output(0.002) is None
    stream.connect(1001)
    burst = stream.take_output(0.1)
    assert burst is not None
    assert b"".join(burst.buffers).hex() == answer["hex"]


@pytest.mark.parametrize("role", ["A", "B"])
@pytest.mark.parametrize("name", ["basic exchange", "write + end"])
def test_both_roles_of_a_captured_exchange_send_the_same_data_and_close(name: str, role: str) -> None:
    """Ours may acknowledge with a data packet what the official stream does in a packet of its own."""
    remote = {"A": 2002, "B": 1001}[role]
    words = {
        ("basic exchange", "A"): b"hello",
        ("basic exchange", "B"): b"world",
        ("write + end", "A"): b"bye",
    }
    word = words.get((name, role), b"")
    stream = UdxStream(0.0)
    stream.connect(remote)
    ours: list[Packet] = []
    theirs: list[Packet] = []
    closed: Closed | None = None
    if role == "A":
        stream.write(word)
        if name == "write + end":
            stream.end()

    def flush(now: float) -> None:
        nonlocal closed, word
        while (event := stream.next_event()) is not None:
            if isinstance(event, Data) and role == "B" and word:
                stream.write(word)
            if isinstance(event, Ended):
                stream.end()
            if isinstance(event, Closed):
                closed = event
        while (burst := stream.take_output(now)) is not None:
            ours.append(Packet.decode(b"".join(burst.buffers)))

    flush(0.0)
    for capture in session(name):
        if "hex" not in capture:
            continue
        now = capture["t"] / 1000
        if capture["dir"][0] == role:
            theirs.append(Packet.decode(whole(capture)))
            if capture["flags"] == "END" and role == "A":
                stream.end()
        else:
            stream.receive([raw(whole(capture))], now)
        flush(now)
    flush(10.0)

    def reported(packets: list[Packet]) -> list[tuple[int, int, bytes]]:
        return [(p.flags, p.seq, p.payload) for p in packets if p.flags]

    assert reported(ours) == reported(theirs)
    assert ours[-1].ack == theirs[-1].ack
    assert closed == Closed(None)


def test_a_dead_path_is_retried_on_the_official_schedule() -> None:
    """Probe after two round trips, then timeouts at 1, 3, 5 … 11 s, and the end at 13 s."""
    official = [c["t"] / 1000 for c in session("total loss") if c.get("dir") == "A->B" and c["seq"] == 1]
    given_up = next(c["t"] / 1000 for c in session("total loss") if c.get("event") == "A error ETIMEDOUT")
    sim = Simulation()
    random = Random(1)
    left, _ = sim.add_pair(NetworkPath(random, delay=0.0005), NetworkPath(random, delay=0.0005))
    left.stream.write(b"one")
    sim.run(0.05)
    left.path.loss = 1.0
    times: list[float] = []
    start = sim.now - official[0]
    arrivals = left.path.arrivals

    def spy(now: float, size: int) -> list[float]:
        times.append(now - start)
        return arrivals(now, size)

    left.path.arrivals = spy  # type: ignore[method-assign]
    left.stream.write(b"two")
    sim.run(30, until=lambda: left.closed is not None)
    assert len(times) == len(official)
    assert all(abs(ours - theirs) < 0.05 for ours, theirs in zip(times, official, strict=True))
    assert abs(sim.now - start - given_up) < 0.05
