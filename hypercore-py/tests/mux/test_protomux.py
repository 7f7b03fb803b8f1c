"""The muxer, against what the official protomux was seen to send (vectors/data/protomux.json) and on its
own."""

import pytest

from hypercore.codec import Writer
from hypercore.errors import FrameDecodeError, LocalProtocolError, RemoteProtocolError
from hypercore.mux import (
    MAX_BATCH_BYTES,
    MAX_BUFFERED_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PENDING_OPENS,
    MAX_QUEUED_REJECTS,
    PAUSE_BUFFERED_BYTES,
    CloseReason,
    Muxer,
    UndecidedBudget,
)
from hypercore.mux.outbox import ENTRY_OVERHEAD
from hypercore.testing.linked import LinkedPair
from support.muxers import Recorder, new_muxer, open_channel, opening, text
from support.vectors import load_named

VECTORS = load_named("data/protomux")


def taken(muxer: Muxer) -> list[str]:
    return [message.hex() for message in muxer.take_output(0)]


def test_what_the_official_muxer_sent_is_what_ours_sends() -> None:
    """The conversation of gen/05-protomux.js, step by step, on one muxer."""
    muxer = new_muxer()
    log: list[object] = []
    v = {name: case["output"] for name, case in VECTORS.items()}

    foo = open_channel(muxer, "foo", b"id1", text("hs"), log)
    assert taken(muxer) == v["open"]
    foo.channel.send(0, text("hello"))
    first = taken(muxer)
    foo.channel.send(1, bytes(Writer().uint(300)))
    assert first + taken(muxer) == v["messages-uncorked"]
    bar = open_channel(muxer, "bar", None, text(""), log)
    assert taken(muxer) == v["open-noid"]
    foo.channel.send(0, text("x"))
    foo.channel.send(1, b"\x01")
    bar.channel.send(0, text("y"))
    foo.channel.send(0, text("z"))
    bar.channel.close(0)
    assert taken(muxer) == v["corked-batch"]

    def receive(name: str) -> dict[str, object]:
        log.clear()
        for frame in VECTORS[name]["inputs"].get("frames") or [VECTORS[name]["inputs"]["frame"]]:
            muxer.receive(bytes.fromhex(frame), 0)
        return {"log": list(log), "sent": taken(muxer), "destroyed": False, "err": None}

    # The vector's log begins with the close of `bar`; its channels decode the handshake as a buffer, ours do
    # not
    paired = receive("recv-open-pairs")
    assert [["close", False], ["open", paired["log"][0][1][2:]]] == v["recv-open-pairs"]["log"]
    assert paired["sent"] == v["recv-open-pairs"]["sent"]
    assert receive("recv-message")["log"] == v["recv-message"]["log"]
    assert receive("recv-unknown-type")["log"] == v["recv-unknown-type"]["log"]
    assert receive("recv-unknown-channel")["log"] == v["recv-unknown-channel"]["log"]
    assert receive("recv-open-unpaired")["sent"] == v["recv-open-unpaired"]["sent"]

    def notify(channel_id: bytes | None, now: float) -> bool:
        log.append(["notify", channel_id.hex()])
        open_channel(muxer, "qux", channel_id, text("late"), log)
        return False

    muxer.on_open("qux", notify)
    notified = receive("recv-open-notify")
    assert notified["log"] == [["notify", "0102"], ["open", "01aa"], ["m0", "a"]]
    assert notified["sent"] == v["recv-open-notify"]["sent"]
    closed = receive("recv-close")
    assert (closed["log"], closed["sent"]) == (v["recv-close"]["log"], v["recv-close"]["sent"])
    again = open_channel(muxer, "foo", b"id1", text("again"))
    assert taken(muxer) == v["reopen-reuses-local-id"]["sent"]
    again.channel.close(0)
    assert taken(muxer) == v["close"]["sent"]
    assert receive("recv-reject-after-close")["err"] == v["recv-reject-after-close"]["err"]


@pytest.mark.parametrize(
    "name", ["violation-reject-unknown", "violation-open-id-gap", "open-id-0", "truncated"]
)
def test_what_destroys_the_official_stream_is_an_error_here(name: str) -> None:
    assert VECTORS[name]["output"]["destroyed"]
    with pytest.raises(RemoteProtocolError):
        new_muxer().receive(bytes.fromhex(VECTORS[name]["inputs"]["frame"]), 0)


def test_empty_messages_and_unknown_control_types_are_ignored() -> None:
    muxer = new_muxer()
    for frame in VECTORS["empty-frame+unknown-control"]["inputs"]["frames"]:
        muxer.receive(bytes.fromhex(frame), 0)
    assert taken(muxer) == VECTORS["empty-frame+unknown-control"]["output"]["sent"]


def test_answers_to_a_batch_go_out_as_a_batch() -> None:
    muxer = new_muxer()
    echo = open_channel(muxer, "echo", None)
    echo.on_message = lambda type_id, value: echo.channel.send(type_id, text(value + "!"))
    muxer.receive(opening(1, "echo"), 0)
    taken(muxer)
    muxer.receive(bytes.fromhex(VECTORS["recv-batch-reply-is-batched"]["inputs"]["frame"]), 0)
    assert taken(muxer) == VECTORS["recv-batch-reply-is-batched"]["output"]["sent"]


# --- numbers ------------------------------------------------------------------------------------------------


def test_a_closed_channel_keeps_its_number_until_the_peer_answers() -> None:
    muxer = new_muxer()
    open_channel(muxer, "p", b"1").channel.close(0)
    second = open_channel(muxer, "p", b"2")
    assert second.channel.local_id == 2
    muxer.receive(opening(1, "p", b"1"), 0)  # crossing: the peer opened before it saw our close
    assert open_channel(muxer, "p", b"3").channel.local_id == 1
    muxer.receive(opening(1, "q"), 0)  # the number it used for the ignored open is free again too


def test_a_reject_of_a_channel_that_we_closed_frees_the_number() -> None:
    muxer = new_muxer()
    open_channel(muxer, "p", b"1").channel.close(0)
    muxer.receive(b"\0\2\1", 0)
    assert open_channel(muxer, "p", b"2").channel.local_id == 1
    with pytest.raises(RemoteProtocolError):
        muxer.receive(b"\0\2\2", 0)


def test_the_handler_of_a_rejected_channel_is_notified() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"1")
    muxer.receive(b"\0\2\1", 0)
    assert recorder.closed is CloseReason.REJECTED
    assert muxer.channel("p", b"1") is None
    assert not list(muxer)


def test_reopening_before_the_answer_pairs_in_order() -> None:
    muxer = new_muxer()
    first = open_channel(muxer, "p", b"1")
    first.channel.close(0)
    second = open_channel(muxer, "p", b"1")
    assert second.channel.local_id == 2
    muxer.receive(opening(1, "p", b"1"), 0)  # answers the first open, which nobody waits for any more
    assert not second.channel.opened
    muxer.receive(opening(1, "p", b"1"), 0)
    assert second.channel.opened
    assert first.log == [["close", False]]


def test_a_used_number_cannot_be_opened_again() -> None:
    muxer = new_muxer()
    open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    with pytest.raises(RemoteProtocolError):
        muxer.receive(opening(1, "p", b"2"), 0)


def test_a_number_closed_by_the_peer_may_be_opened_again() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    muxer.receive(b"\0\3\1", 0)
    assert recorder.closed is CloseReason.REMOTE
    recorder = open_channel(muxer, "p", b"1")
    assert recorder.channel.local_id == 1
    muxer.receive(opening(1, "p", b"1"), 0)
    assert recorder.channel.opened


def test_messages_to_a_channel_that_we_closed_are_ignored() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    recorder.channel.close(0)
    muxer.receive(b"\1\0\1a", 0)
    muxer.receive(b"\0\3\1", 0)  # crossing closes
    assert recorder.log == [["open", ""], ["close", False]]
    recorder.channel.send(0, b"late")
    assert len(taken(muxer)) == 1  # the open and the close, nothing after them


def test_one_channel_of_a_kind_at_a_time() -> None:
    muxer = new_muxer()
    open_channel(muxer, "p", b"1")
    with pytest.raises(LocalProtocolError):
        muxer.create_channel("p", b"1", Recorder())
    muxer.receive(opening(1, "p", b"1"), 0)
    taken(muxer)
    muxer.on_open("p", lambda channel_id, now: pytest.fail("asked about a channel that is open"))
    muxer.receive(opening(2, "p", b"1"), 0)
    assert taken(muxer) == ["000202"]


def test_ids_of_none_and_of_no_bytes_are_the_same() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"")
    muxer.receive(opening(1, "p"), 0)
    assert recorder.channel.opened


def test_an_alias_pairs_with_the_name_it_stands_for() -> None:
    muxer = new_muxer()
    muxer.add_alias("hypercore", "hypercore/alpha")
    recorder = open_channel(muxer, "hypercore/alpha", b"k")
    muxer.receive(opening(1, "hypercore", b"k"), 0)
    assert recorder.channel.opened
    asked: list[bytes | None] = []
    muxer.on_open("hypercore/alpha", lambda channel_id, now: bool(asked.append(channel_id)))
    muxer.receive(opening(2, "hypercore", b"other"), 0)
    assert asked == [b"other"]


# --- channels that wait for a decision ----------------------------------------------------------------------


def test_a_handler_of_one_id_goes_before_that_of_all() -> None:
    muxer = new_muxer()
    asked: list[str] = []
    muxer.on_open("p", lambda channel_id, now: bool(asked.append("all")))
    muxer.on_open("p", lambda channel_id, now: bool(asked.append("one")), b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    muxer.receive(opening(1, "p", b"2"), 0)
    assert asked == ["one", "all"]


def test_messages_wait_for_a_late_decision_and_arrive_in_order() -> None:
    muxer = new_muxer()
    muxer.on_open("p", lambda channel_id, now: True)
    muxer.receive(opening(1, "p", b"1", b"hi"), 0)
    muxer.receive(b"\1\0\1a", 0)
    muxer.receive(b"\0\0\1\3\0\1b\2\1\7", 0)
    recorder = open_channel(muxer, "p", b"1")
    assert recorder.log == [["open", b"hi".hex()], ["m0", "a"], ["m0", "b"], ["m1", 7]]
    assert not muxer.paused


def test_a_late_reject_frees_the_number() -> None:
    muxer = new_muxer()
    muxer.on_open("p", lambda channel_id, now: True)
    muxer.receive(opening(1, "p", b"1"), 0)
    assert taken(muxer) == []
    muxer.reject("p", b"1")
    assert taken(muxer) == ["000201"]
    muxer.receive(opening(1, "p", b"1"), 0)


def test_a_channel_closed_while_it_waits_is_rejected_so_that_its_number_is_free() -> None:
    muxer = new_muxer()
    muxer.on_open("p", lambda channel_id, now: True)
    muxer.receive(opening(1, "p", b"1"), 0)
    muxer.receive(b"\0\3\1", 0)
    assert taken(muxer) == ["000201"]
    recorder = open_channel(muxer, "p", b"1")
    assert not recorder.channel.opened
    muxer.receive(opening(1, "p", b"1"), 0)
    assert recorder.channel.opened


def test_messages_buffered_for_undecided_channels_are_bounded() -> None:
    muxer = new_muxer()
    muxer.on_open("p", lambda channel_id, now: True)
    muxer.receive(opening(1, "p", b"1"), 0)
    assert not muxer.paused
    muxer.receive(b"\1\0" + bytes(PAUSE_BUFFERED_BYTES), 0)
    assert muxer.paused
    with pytest.raises(RemoteProtocolError):
        for _ in range(MAX_BUFFERED_BYTES // PAUSE_BUFFERED_BYTES):
            muxer.receive(b"\1\0" + bytes(PAUSE_BUFFERED_BYTES), 0)
    muxer.reject("p", b"1")
    assert not muxer.paused


def test_muxers_share_a_budget_for_undecided_channels() -> None:
    """Peers that fill it leave the others room to open channels, and what is decided or gone is free."""
    budget = UndecidedBudget(4 * PAUSE_BUFFERED_BYTES)

    def waiting() -> Muxer:
        muxer = Muxer(is_initiator=True, handshake_hash=bytes(64), undecided=budget)
        muxer.on_open("p", lambda channel_id, now: True)
        muxer.receive(opening(1, "p", b"1"), 0)
        return muxer

    hostile = [waiting() for _ in range(3)]
    for muxer in hostile:
        muxer.receive(b"\1\0" + bytes(PAUSE_BUFFERED_BYTES), 0)
    late = waiting()
    with pytest.raises(RemoteProtocolError):
        late.receive(b"\1\0" + bytes(PAUSE_BUFFERED_BYTES), 0)
    while budget.held < budget.limit:
        hostile.append(waiting())
    for muxer in (late, *hostile):
        muxer.shutdown(0)
    assert budget.held == 0
    honest = waiting()
    honest.receive(b"\1\0" + bytes(PAUSE_BUFFERED_BYTES), 0)
    assert budget.held > PAUSE_BUFFERED_BYTES
    assert open_channel(honest, "p", b"1").channel.opened
    assert budget.held == 0


def test_channels_of_an_ended_connection_are_closed_in_portions() -> None:
    """What is not closed yet hears nothing, says nothing, and can be closed by its owner."""
    muxer = new_muxer()
    recorders = [open_channel(muxer, "p", b"%d" % number) for number in range(5)]
    for number in range(1, 5):
        muxer.receive(opening(number, "p", b"%d" % (number - 1)), 0)
    taken(muxer)
    for recorder in recorders:
        recorder.log.clear()
    assert not muxer.shutdown(7.0, lambda: True)
    assert [recorder.closed for recorder in recorders] == [CloseReason.DISCONNECTED, *4 * [None]]
    assert muxer.channels == 4
    for recorder in recorders:
        channel = recorder.channel
        assert channel is not None
        assert not channel.opened
        channel.send(0, text("late"))
        channel.mark_dirty()
        channel.wait_writable()
    muxer.receive(b"\2\0" + text("late"), 8.0)
    assert not muxer.has_output
    assert taken(muxer) == []
    owned = recorders[3].channel
    assert owned is not None
    owned.close(8.0)
    assert recorders[3].closed is CloseReason.DISCONNECTED
    assert not muxer.shutdown(9.0, lambda: True)
    assert muxer.shutdown(9.0)
    assert muxer.channels == 0
    assert [recorder.log for recorder in recorders] == 5 * [[["close", True]]]  # and nothing else, once


def test_undecided_channels_are_bounded() -> None:
    muxer = new_muxer()
    muxer.on_open("p", lambda channel_id, now: True)
    for number in range(1, MAX_PENDING_OPENS + 1):
        muxer.receive(opening(number, "p", b"%d" % number), 0)
    assert taken(muxer) == []
    muxer.receive(opening(MAX_PENDING_OPENS + 1, "p", b"more"), 0)
    assert len(taken(muxer)) == 1


def test_rejects_to_a_peer_that_does_not_read_are_bounded() -> None:
    muxer = new_muxer()
    with pytest.raises(RemoteProtocolError):
        for _ in range(MAX_QUEUED_REJECTS + 1):
            muxer.receive(opening(1, "nothing"), 0)
    assert muxer.queued_bytes <= (4 + ENTRY_OVERHEAD) * MAX_QUEUED_REJECTS


# --- batches ------------------------------------------------------------------------------------------------


def test_a_batch_inside_a_batch_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        new_muxer().receive(b"\0\0" + b"\0" + b"\3\0\0\1", 0)


def test_an_entry_longer_than_its_batch_is_refused() -> None:
    muxer = new_muxer()
    open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    with pytest.raises(FrameDecodeError):
        muxer.receive(b"\0\0\1\5\0\1a", 0)


def test_a_message_cannot_read_beyond_its_entry_of_the_batch() -> None:
    muxer = new_muxer()
    recorder = open_channel(muxer, "p", b"1")
    muxer.receive(opening(1, "p", b"1"), 0)
    with pytest.raises(FrameDecodeError):
        muxer.receive(b"\0\0\1\2\0\3abc", 0)
    assert recorder.log == [["open", ""]]


def test_control_messages_travel_in_batches() -> None:
    pair = LinkedPair()
    a1, a2 = open_channel(pair.a, "p", b"1", b"x"), open_channel(pair.a, "p", b"2", b"y")
    b2 = open_channel(pair.b, "p", b"2", b"z")
    a1.channel.close(0)
    while pair.step():
        pass
    assert (a2.log, b2.log) == ([["open", b"z".hex()]], [["open", b"y".hex()]])
    assert pair.messages_sent == (1, 2)  # b answered the open of 1 with a reject
    assert not pair.errors


def test_batches_are_closed_well_below_the_official_limit() -> None:
    muxer = new_muxer()
    channel = open_channel(muxer, "p", b"1").channel
    for _ in range(1000):
        channel.send(0, bytes(4096))
    sizes = []
    while messages := muxer.take_output(0):
        sizes += [len(message) for message in messages]
    assert sum(sizes) > 1000 * 4096
    assert max(sizes) < MAX_BATCH_BYTES * 1.01


def test_a_long_message_goes_alone() -> None:
    muxer = new_muxer()
    channel = open_channel(muxer, "p", b"1").channel
    taken(muxer)
    big = bytes(MAX_BATCH_BYTES)
    channel.send(0, b"a")
    channel.send(0, big)
    channel.send(0, b"b")
    assert muxer.take_output(0, limit=1 << 30) == [b"\1\0a", b"\1\0" + big, b"\1\0b"]


def test_take_output_gives_about_as_much_as_was_asked_for() -> None:
    muxer = new_muxer()
    channel = open_channel(muxer, "p", b"1").channel
    for _ in range(100):
        channel.send(0, bytes(65536))
    taken_bytes = sum(map(len, muxer.take_output(0, limit=300_000)))
    assert 300_000 <= taken_bytes <= 300_000 + MAX_BATCH_BYTES


def test_a_message_that_no_frame_can_carry_is_refused_before_it_is_queued() -> None:
    muxer = new_muxer()
    channel = open_channel(muxer, "p", b"1").channel
    with pytest.raises(LocalProtocolError):
        channel.send(0, bytes(MAX_MESSAGE_BYTES))
    channel.send(0, bytes(15 * 1024 * 1024))
