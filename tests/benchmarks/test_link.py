"""The lossy line of the benchmarks: without a device and a clock first, then through the kernel."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from random import Random

import pytest

from benchmarks import link
from benchmarks.link import QUEUE_PACKETS, Lane, Line, Link

UDP_SEGMENT = 103


def test_a_packet_arrives_after_the_delay_and_in_order() -> None:
    lane = Lane(Line(delay=0.02, loss=0.0), Random(1))
    lane.push(b"one", 1.0)
    lane.push(b"two", 1.001)
    assert list(lane.take(1.0199)) == []
    assert list(lane.take(1.0201)) == [b"one"]
    assert not lane.idle
    assert list(lane.take(2.0)) == [b"two"]
    assert lane.idle


def test_the_share_of_lost_packets_is_the_one_asked_for() -> None:
    lane = Lane(Line(delay=0.0, loss=0.25), Random(2))
    arrived = 0
    for number in range(10_000):
        lane.push(b"packet", float(number))
        arrived += len(list(lane.take(float(number))))
    assert 7_200 < arrived < 7_800
    assert lane.dropped == 0


def test_what_the_queue_has_no_room_for_is_dropped() -> None:
    lane = Lane(Line(delay=1.0, loss=0.0), Random(3))
    for _ in range(QUEUE_PACKETS + 5):
        lane.push(b"packet", 0.0)
    assert lane.dropped == 5
    assert len(list(lane.take(1.0))) == QUEUE_PACKETS


@pytest.fixture
def lossless() -> Iterator[Link]:
    reason = link.missing()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    made = Link(Line(delay=0.02, loss=0.0))
    try:
        yield made
    finally:
        made.close()


def _socket(at: str) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((at, 0))
    udp.settimeout(20)
    return udp


def test_a_train_crosses_the_line_as_packets_of_their_own_and_late(lossless: Link) -> None:
    with (
        lossless.inside("a"),
        _socket(lossless.host("a")) as here,
        lossless.inside("b"),
        _socket(lossless.host("b")) as there,
    ):
        here.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sent_at = time.monotonic()
        here.sendto(b"a" * 1000 + b"b" * 1000 + b"c" * 10, there.getsockname())
        arrived = [there.recv(65536) for _ in range(3)]
        assert time.monotonic() - sent_at >= 0.02
        assert arrived == [b"a" * 1000, b"b" * 1000, b"c" * 10]
        there.sendto(b"back", here.getsockname())
        assert here.recv(65536) == b"back"


def test_a_closed_link_leaves_no_namespace_behind(lossless: Link) -> None:
    place = lossless.namespace("a")
    assert place.exists()
    lossless.close()
    assert not place.exists()
