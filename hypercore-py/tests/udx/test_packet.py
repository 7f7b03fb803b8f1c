"""The UDX packet: official captures, round trips, truncation and garbage."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.errors import FrameDecodeError
from hypercore.udx.packet import (
    FLAG_DATA,
    FLAG_DESTROY,
    FLAG_END,
    FLAG_HEARTBEAT,
    FLAG_MESSAGE,
    FLAG_SACK,
    HEADER_BYTES,
    MAX_SACK_RANGES,
    Packet,
    decode_sacks,
    encode_sacks,
    sequence_distance,
)
from support.vectors import load

SESSIONS = load("transport/udx-packets")
FLAGS = {
    "DATA": FLAG_DATA,
    "END": FLAG_END,
    "SACK": FLAG_SACK,
    "MESSAGE": FLAG_MESSAGE,
    "DESTROY": FLAG_DESTROY,
    "HEARTBEAT": FLAG_HEARTBEAT,
}
u32 = st.integers(0, 2**32 - 1)
ranges = st.lists(st.tuples(u32, u32), min_size=1, max_size=MAX_SACK_RANGES).map(tuple)


def captured() -> list[dict[str, Any]]:
    return [p for session in SESSIONS for p in session["output"] if "hex" in p]


def test_every_captured_packet_is_read_as_the_official_one_is() -> None:
    assert len(captured()) > 150
    for capture in captured():
        raw = bytes.fromhex(capture["hex"].split("...")[0])
        packet = Packet.decode(raw.ljust(capture["len"], b"\0"))
        names = [] if capture["flags"].startswith("STATE") else capture["flags"].split("|")
        assert packet.flags == sum(FLAGS[name] for name in names)
        assert (packet.stream_id, packet.window) == (capture["remoteId"], capture["rwnd"])
        assert (packet.seq, packet.ack) == (capture["seq"], capture["ack"])
        assert packet.padding == capture["dataOffset"]
        assert [list(run) for run in packet.sacks] == capture.get("sacks", [])
        if len(raw) == capture["len"]:
            assert packet.encode() == raw


@given(st.sampled_from([0, *FLAGS.values()]).filter(lambda f: f != FLAG_SACK), u32, u32, u32, u32,
       st.binary(max_size=300), st.integers(0, 255))  # fmt: skip
def test_packets_survive_a_round_trip(
    flags: int, stream_id: int, window: int, seq: int, ack: int, payload: bytes, padding: int
) -> None:
    packet = Packet(flags, stream_id, window, seq, ack, payload, (), padding)
    assert Packet.decode(packet.encode()) == packet


@given(ranges, st.binary(max_size=20))
def test_sack_ranges_survive_a_round_trip_with_and_without_data(
    sacks: tuple[tuple[int, int], ...], payload: bytes
) -> None:
    alone = Packet(FLAG_SACK, 1, 2, 3, 4, b"", sacks)
    assert Packet.decode(alone.encode()) == alone
    if payload and len(sacks) * 8 < 256:
        both = Packet(FLAG_SACK | FLAG_DATA, 1, 2, 3, 4, payload, sacks)
        assert Packet.decode(both.encode()) == both


def test_surplus_sack_ranges_are_neither_sent_nor_read() -> None:
    many = [(n * 10, n * 10 + 1) for n in range(MAX_SACK_RANGES + 30)]
    assert len(encode_sacks(many)) == MAX_SACK_RANGES * 8
    area = b"".join(encode_sacks([run]) for run in many)
    assert decode_sacks(memoryview(area), 0) == many[:MAX_SACK_RANGES]


def test_odd_bytes_behind_the_ranges_are_ignored() -> None:
    area = encode_sacks([(1, 2)]) + b"\x07" * 7
    assert decode_sacks(area, 0) == [(1, 2)]
    assert decode_sacks(area[:5], 0) == []


@given(st.binary(max_size=60))
def test_garbage_raises_only_frame_decode_error(data: bytes) -> None:
    for candidate in (data, b"\xff\x01" + data):
        with suppress(FrameDecodeError):
            Packet.decode(candidate)


def test_short_packets_other_versions_and_offsets_beyond_the_end_are_refused() -> None:
    good = Packet(FLAG_DATA, 1, 2, 3, 4, b"abc", (), 2).encode()
    for size in range(HEADER_BYTES):
        with pytest.raises(FrameDecodeError):
            Packet.decode(good[:size])
    with pytest.raises(FrameDecodeError):
        Packet.decode(b"\xff\x02" + good[2:])
    with pytest.raises(FrameDecodeError):
        Packet.decode(good[:3] + b"\x06" + good[4:])
    assert Packet.decode(good[:3] + b"\x05" + good[4:]).payload == b""


@given(u32, st.integers(-(2**31), 2**31 - 1))
def test_distances_wrap_around(start: int, distance: int) -> None:
    assert sequence_distance(start, (start + distance) % 2**32) == distance
