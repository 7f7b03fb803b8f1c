"""What a muxer has to send: when the shell is notified, whose turn it is, and in which portions."""

import time

import pytest

from hypercore.errors import LocalProtocolError, RemoteProtocolError
from hypercore.mux import (
    HIGH_WATER_BYTES,
    CloseReason,
    Muxer,
)
from hypercore.mux.channel import TRANSITIONS, ChannelState, ChannelStep
from support.muxers import Recorder, new_muxer, open_channel, opening

# --- turns --------------------------------------------------------------------------------------------------


def test_on_output_is_called_once_until_the_output_is_taken() -> None:
    notified: list[int] = []
    muxer = Muxer(is_initiator=True, handshake_hash=bytes(64), on_output=lambda: notified.append(1))
    channel = open_channel(muxer, "p", b"1").channel
    channel.send(0, b"a")
    assert notified == [1]
    muxer.take_output(0)
    channel.mark_dirty()
    assert notified == [1, 1]


def test_a_dirty_channel_is_flushed_once_before_output_is_taken() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"1")
    recorder.channel.mark_dirty()
    recorder.channel.mark_dirty()
    muxer.take_output(0)
    muxer.take_output(0)
    assert recorder.log == [["flush"]]


def test_channels_that_wait_for_room_take_turns() -> None:
    muxer = new_muxer()
    order: list[bytes] = []

    class Server(Recorder):
        left = 3

        def channel_writable(self, now: float) -> None:
            order.append(self.channel.id)
            self.channel.send(0, bytes(HIGH_WATER_BYTES // 2))
            self.left -= 1
            if self.left:
                self.channel.wait_writable()

    for name in (b"1", b"2"):
        server = Server()
        server.channel = muxer.create_channel("p", name, server)
        server.channel.open(b"", 0)
        server.channel.wait_writable()
    rounds = []
    while muxer.take_output(0, limit=1 << 30):
        rounds.append(len(order))
    assert order == [b"1", b"2"] * 3
    assert rounds == [2, 4, 6]  # never more than the high-water mark at a time


def test_every_channel_is_closed_when_the_connection_is_gone() -> None:
    muxer = new_muxer()
    recorders = [open_channel(muxer, "p", b"%d" % number) for number in range(3)]
    muxer.receive(opening(1, "p", b"1"), 0)
    muxer.shutdown(0)
    assert [recorder.closed for recorder in recorders] == [CloseReason.DISCONNECTED] * 3
    muxer.receive(b"\1\0\1a", 0)
    assert muxer.take_output(0) == []
    with pytest.raises(LocalProtocolError):
        open_channel(muxer, "p", b"9")


# --- portions -----------------------------------------------------------------------------------------------


def test_a_batch_is_worked_off_in_portions() -> None:
    muxer, log = new_muxer(), list[object]()
    open_channel(muxer, "p", b"1", log=log)
    muxer.receive(opening(1, "p", b"1"), 0)
    log.clear()
    entries = b"".join(bytes((2, 1, n)) for n in range(10))
    muxer.begin(b"\0\0\1" + entries, 0)
    portions = 0
    while not muxer.go_on(0, lambda: len(log) % 3 == 0):
        portions += 1
        assert len(log) == 3 * portions
    assert portions == 3
    assert len(log) == 10
    assert muxer.go_on(0)


def test_a_batch_that_changes_channels_for_nothing_is_refused() -> None:
    """8 MiB of such took more than a second, and say nothing."""
    muxer = new_muxer()
    open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    muxer.receive(b"\0\0\2" + b"\0\1" + b"\1\5" + b"\0\2", 0)
    with pytest.raises(RemoteProtocolError):
        muxer.receive(b"\0\0\1" + b"\0\2" * 2 + b"\1\5", 0)


def test_output_is_made_in_portions() -> None:
    class Chatty(Recorder):
        def channel_flush(self, now: float) -> None:
            flushed.append(self)

    muxer, flushed = new_muxer(), list[Recorder]()
    for number in range(5):
        handler = Chatty()
        handler.channel = muxer.create_channel("p", b"%d" % number, handler)
        handler.channel.open(b"", 0)
        handler.channel.mark_dirty()
    assert muxer.take_output(0, expired=lambda: True)
    assert len(flushed) == 1
    assert muxer.has_output
    muxer.take_output(0)
    assert len(flushed) == 5
    assert not muxer.has_output


def test_a_channel_that_has_answers_to_make_has_a_turn_even_if_input_has_used_up_the_slice() -> None:
    """Otherwise a peer that sends without a pause is never answered."""

    class Answering(Recorder):
        def channel_writable(self, now: float) -> None:
            answered.append(self)

    muxer, answered = new_muxer(), list[Recorder]()
    for number in range(3):
        handler = Answering()
        handler.channel = muxer.create_channel("p", b"%d" % number, handler)
        handler.channel.open(b"", 0)
        handler.channel.wait_writable()
    for count in (1, 2, 3):
        muxer.take_output(0, expired=lambda: True)
        assert len(answered) == count
    assert not muxer.waits


@pytest.mark.slow
def test_a_thousand_channels_that_wait_take_their_turns_in_no_time() -> None:
    class Waiting(Recorder):
        def channel_writable(self, now: float) -> None:
            if self.channel is not None and len(turns) < 200_000:
                turns.append(1)
                self.channel.wait_writable()

    muxer, turns = new_muxer(), list[int]()
    for number in range(20_000):
        handler = Waiting()
        handler.channel = muxer.create_channel("p", b"%d" % number, handler)
        handler.channel.open(b"", 0)
        handler.channel.wait_writable()
    muxer.holding = True
    muxer.take_output(0, limit=1 << 30)
    assert not turns
    muxer.holding = False
    started = time.process_time()
    muxer.take_output(0)
    assert time.process_time() - started < 3  # minutes while each turn looked past all the ones before


def test_a_channel_closed_while_the_connection_goes_hears_of_that_once() -> None:
    """The owner of one channel may close another when it is informed of the end."""
    muxer = new_muxer()
    first, second = open_channel(muxer, "p", b"1"), open_channel(muxer, "p", b"2")
    for one, other in ((first, second), (second, first)):
        assert one.channel is not None and other.channel is not None
        closed, channel = one.channel_closed, other.channel
        one.channel_closed = lambda reason, now, closed=closed, channel=channel: (  # type: ignore[method-assign]
            closed(reason, now),
            channel.close(now),
        )
    muxer.shutdown(0)
    assert first.log[-1:] == second.log[-1:] == [["close", True]]
    assert first.closed is second.closed is CloseReason.DISCONNECTED


@pytest.mark.parametrize("state", ChannelState)
@pytest.mark.parametrize("step", [*ChannelStep, *CloseReason])
def test_a_channel_does_what_its_table_says_and_nothing_else(
    state: ChannelState, step: ChannelStep | CloseReason
) -> None:
    channel = new_muxer().create_channel("p", b"1", Recorder())
    channel._state = state
    if (state, step) in TRANSITIONS:
        channel._move(step)
        assert channel._state is TRANSITIONS[state, step]
    else:
        with pytest.raises(LocalProtocolError):
            channel._move(step)
        assert channel._state is state
