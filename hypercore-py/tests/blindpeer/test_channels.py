"""Channels of both ends over two joined muxers, against official frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.blindpeer import (
    AddCoreRequest,
    AddedCore,
    BlindPeerChannel,
    CoreRecord,
    CoreRef,
    Cores,
    ErrorCode,
    Hello,
    Notification,
    RpcChannel,
    RpcFailure,
    RpcReply,
    WakeupChannel,
)
from hypercore.blindpeer.channel import MAX_OPEN_REQUESTS, PROTOCOL
from hypercore.blindpeer.rpc import MAX_METHOD_BYTES, MAX_UNANSWERED, MAX_VALUE_BYTES, write_response
from hypercore.blindpeer.wakeup import MAX_HINTS, MAX_HINTS_READ, WakeupHandshake, capability
from hypercore.codec import Reader, Writer
from hypercore.errors import FrameDecodeError
from hypercore.mux import CloseReason
from hypercore.testing.linked import LinkedPair
from support.codec_cases import load, to_bytes, unhex
from support.muxers import new_muxer, opening

KEY, OTHER, GROUP = b"\x11" * 32, b"\x12" * 32, b"\x22" * 32
NAMED = Cores(cores=(CoreRef(KEY, 3),))
ROOM = Notification(core=KEY, index=6, room=GROUP, room_discovery_key=bytes(32))


class Owner:
    """Records what its channel receives."""

    def __init__(self) -> None:
        self.cores: list[tuple[Cores, int | None]] = []
        self.notifications: list[tuple[Notification, int | None]] = []
        self.malformed: list[FrameDecodeError] = []
        self.ended: list[CloseReason] = []

    def cores_received(
        self, channel: BlindPeerChannel, cores: Cores, request: int | None, now: float
    ) -> None:
        self.cores.append((cores, request))

    def notification_received(
        self, channel: BlindPeerChannel, notification: Notification, request: int | None, now: float
    ) -> None:
        self.notifications.append((notification, request))

    def malformed_received(self, channel: BlindPeerChannel, error: FrameDecodeError, now: float) -> None:
        self.malformed.append(error)

    def channel_ended(self, channel: BlindPeerChannel, reason: CloseReason, now: float) -> None:
        self.ended.append(reason)


class Joined:
    """Two muxers, a and b, and the messages that each sent, in hex."""

    def __init__(self) -> None:
        self.sent: dict[str, list[str]] = {"a": [], "b": []}
        self.pair = LinkedPair(tap=lambda side, message: self.sent[side].append(message.hex()))

    def run(self) -> None:
        while self.pair.step():
            pass
        assert self.pair.errors == []


class Ends(Joined):
    """A client (a) and a server (b) that opens when it is asked to."""

    def __init__(self, hello: Hello | None = None, server_hello: Hello | None = None) -> None:
        super().__init__()
        self.client_owner, self.owner = Owner(), Owner()
        self.answers: list[tuple[int, object]] = []
        self.servers: list[BlindPeerChannel] = []

        def accept(channel_id: bytes | None, now: float) -> bool:
            self.servers.append(BlindPeerChannel(self.pair.b, self.owner))
            self.servers[-1].open(now, server_hello)
            return True

        self.pair.b.on_open(PROTOCOL, accept)
        self.client = BlindPeerChannel(
            self.pair.a,
            self.client_owner,
            on_response=lambda number, answer: self.answers.append((number, answer)),
        )
        self.client.open(0, hello)

    @property
    def server(self) -> BlindPeerChannel:
        return self.servers[-1]


def case(name: str) -> dict[str, dict[str, object]]:
    return next(c for c in load("blindpeer/channel") if c["name"] == name)


@pytest.mark.parametrize("name", ["open-old-old", "open-new-old", "open-old-new", "open-new-new"])
def test_old_and_new_ends_open_a_channel_with_the_official_bytes(name: str) -> None:
    recorded = case(name)
    inputs, output = recorded["inputs"], recorded["output"]
    hellos = [None if text is None else Hello.decode(Reader(unhex(text))) for text in inputs.values()]
    ends = Ends(*hellos)
    ends.run()
    ends.client.send_cores(NAMED)
    ends.run()
    assert ends.sent == {"a": output["client"], "b": output["server"]}
    assert ends.owner.cores == [(NAMED, None)]
    assert ends.server.hello == (hellos[0] or Hello())
    assert ends.client.hello == (hellos[1] or Hello())
    assert ends.client.opened and ends.server.opened


def test_messages_of_one_turn_share_a_batch_with_the_official_bytes() -> None:
    ends = Ends()
    ends.run()
    ends.sent["a"].clear()
    ends.client.send_cores(Cores(cores=(CoreRef(KEY, 3),), referrer=GROUP, priority=1))
    ends.client.send_cores(Cores(cores=(CoreRef(OTHER, 4),)))
    ends.run()
    assert ends.sent["a"] == [case("batch")["output"]]
    ends.client.close(0)
    ends.run()
    assert ends.sent["a"][-1] == case("close")["output"]
    assert ends.owner.ended == [CloseReason.REMOTE]


def test_cores_that_come_before_the_channel_is_accepted_are_received() -> None:
    ends = Ends()
    ends.client.send_cores(NAMED)
    ends.run()
    assert ends.owner.cores == [(NAMED, None)]


def test_a_second_channel_opens_after_the_first_was_closed() -> None:
    ends = Ends()
    ends.run()
    ends.client.close(0)
    ends.run()
    again = BlindPeerChannel(ends.pair.a, ends.client_owner)
    again.open(0)
    again.send_cores(NAMED)
    ends.run()
    assert again.opened and len(ends.servers) == 2
    assert ends.owner.cores == [(NAMED, None)]


def test_a_notification_may_ask_for_no_answer() -> None:
    ends = Ends()
    ends.run()
    ends.client.send_notification(ROOM)
    ends.run()
    assert ends.owner.notifications == [(ROOM, None)]
    assert ends.answers == []


def test_requests_are_answered_in_any_order() -> None:
    ends = Ends()
    ends.run()
    first, push, third = (
        ends.client.request_cores(NAMED), ends.client.request_notification(ROOM),
        ends.client.request_cores(NAMED)
    )  # fmt: skip
    ends.run()
    assert (first, push, third) == (0, 1, 2)
    assert ends.owner.cores == [(NAMED, 0), (NAMED, 2)]
    assert ends.owner.notifications == [(ROOM, 1)]
    ends.server.fail(2, ErrorCode.RATE_LIMITED)
    ends.server.acknowledge(1)
    ends.server.respond(0, [AddedCore(KEY, 2, True)])
    ends.server.respond(0, [])  # it is answered
    ends.run()
    assert ends.answers == [(2, ErrorCode.RATE_LIMITED), (1, ()), (0, (AddedCore(KEY, 2, True),))]


def test_a_peer_with_too_many_open_requests_is_answered_that_it_is_limited() -> None:
    ends = Ends()
    ends.run()
    for _ in range(MAX_OPEN_REQUESTS + 2):
        ends.client.request_cores(NAMED)
    ends.run()
    assert ends.answers == [(MAX_OPEN_REQUESTS + i, ErrorCode.RATE_LIMITED) for i in range(2)]
    assert len(ends.owner.cores) == MAX_OPEN_REQUESTS
    ends.server.respond(0, [])
    ends.client.request_cores(NAMED)
    ends.run()
    assert len(ends.owner.cores) == MAX_OPEN_REQUESTS + 1


@pytest.mark.parametrize("payload", ["", "00", "0002" + "11" * 32 + "01", "00fe00000010"])
def test_cores_that_cannot_be_read_are_ignored_and_the_channel_stays(payload: str) -> None:
    ends = Ends()
    ends.run()
    ends.pair.send_raw("a", b"\x01\x00" + unhex(payload))
    ends.pair.send_raw("a", b"\x01\x03" + bytes(Writer().uint(7).buffer(unhex(payload))))
    ends.pair.send_raw("a", b"\x01\x09" + unhex(payload))  # an unknown type
    ends.client.send_cores(NAMED)
    ends.run()
    assert ends.owner.cores == [(NAMED, None)]
    assert len(ends.owner.malformed) == 2
    assert ends.sent["b"][-1] == "01" + "02" + "07" + "02" + "0003"  # a request gets DECODE_ERROR


def test_a_hello_that_cannot_be_read_does_not_close_the_channel() -> None:
    muxer, owner = new_muxer(), Owner()

    def accept(channel_id: bytes | None, now: float) -> bool:
        BlindPeerChannel(muxer, owner).open(now)
        return True

    muxer.on_open(PROTOCOL, accept)
    muxer.receive(opening(1, PROTOCOL, handshake=b"\x01\x06ab"), 0)
    muxer.receive(b"\x01\x00" + to_bytes(NAMED), 0)
    assert len(owner.malformed) == 1 and owner.cores == [(NAMED, None)]


# --- protomux-rpc


class RpcEnds(Joined):
    """A client (a) of a server (b) with the methods that were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[int, bytes | RpcFailure]] = []
        self.replies: list[RpcReply] = []
        self.deleted: list[bytes] = []
        methods = {
            "add-core": self.add_core, "delete-core": self.delete_core,
            "throws": lambda value, reply, now: reply.fail("plain text"),
            "throws-code": lambda value, reply, now: reply.fail("BANNED: go away", "BANNED"),
            "throws-context": lambda value, reply, now: reply.fail("with context", "CTX", "more"),
            "later": lambda value, reply, now: self.replies.append(reply),
        }  # fmt: skip
        self.server = RpcChannel(self.pair.b, b"\x77" * 32, methods)
        self.client = RpcChannel(
            self.pair.a,
            b"\x77" * 32,
            on_response=lambda number, answer: self.answers.append((number, answer)),
        )
        self.client.open(0)
        self.server.open(0)
        self.run()

    def add_core(self, value: Reader, reply: RpcReply, now: float) -> None:
        key = AddCoreRequest.decode(value).key
        made = CoreRecord(key=key, length=5, bytes_allocated=160, updated=1, active=2)
        reply.answer(to_bytes(made))

    def delete_core(self, value: Reader, reply: RpcReply, now: float) -> None:
        self.deleted.append(value.fixed32())
        reply.answer(b"\x01")


CALLS = [c for c in load("blindpeer/rpc") if c["name"].startswith("call-") and c["name"] != "call-bad-answer"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["name"])
def test_a_call_and_its_answer_have_the_official_bytes(call: dict[str, dict[str, object]]) -> None:
    ends = RpcEnds()
    method, value = call["inputs"]["method"], call["inputs"]["value"]
    if isinstance(value, dict):
        key = unhex(str(value["key"]))
        request = AddCoreRequest(key=key, priority=int(value.get("priority", 0)))
        payload = to_bytes(request) if method == "add-core" else key
    else:
        payload = unhex(value or "")
    number = unhex(str(call["output"]["request"]))[2]
    for _ in range(1, number):
        ends.client.request("later")
    ends.run()
    ends.sent = {"a": [], "b": []}
    assert ends.client.request(str(method), payload) == number
    ends.run()
    assert ends.sent == {"a": [call["output"]["request"]], "b": [call["output"]["response"]]}
    (given, answer), result = ends.answers[-1], call["result"]
    assert given == number
    if isinstance(answer, bytes):
        assert "value" in result
    else:
        cause = result["cause"]
        assert answer.code == result["code"]
        assert (answer.cause, answer.cause_code or None, answer.context or None) == (
            (cause["message"], cause["code"], cause["context"]) if cause else (None, None, None)
        )


def test_an_open_and_an_event_have_the_official_bytes_and_an_event_has_no_answer() -> None:
    named = {c["name"]: c for c in load("blindpeer/rpc")}
    ends = RpcEnds()
    assert ends.sent["a"] == [named["open"]["output"]]
    ends.client.send_event("delete-core", KEY)
    ends.run()
    assert ends.sent["a"][-1] == named["event"]["output"]["request"]
    assert ends.deleted == [KEY]
    assert ends.sent["b"] == [named["open"]["output"]]
    ends.client.close(0)
    ends.run()
    assert ends.sent["a"][-1] == named["close"]["output"]


def test_a_bad_answer_is_reported_with_the_official_bytes() -> None:
    call = next(c for c in load("blindpeer/rpc") if c["name"] == "call-bad-answer")
    failure = RpcFailure("Could not encode response", "ENCODE_ERROR", "Incorrect buffer size")
    w = Writer()
    write_response(w, unhex(call["output"]["request"])[2], failure)
    assert "0101" + bytes(w).hex() == call["output"]["response"]


def test_calls_that_wait_fail_when_the_channel_closes() -> None:
    ends = RpcEnds()
    ends.client.request("later")
    ends.run()
    ends.server.close(0)
    ends.run()
    assert ends.answers == [(1, RpcFailure("The channel was closed", "CHANNEL_CLOSED"))]
    ends.replies[0].answer(b"")  # too late, and harmless


def test_calls_beyond_the_bounds_are_ignored() -> None:
    ends = RpcEnds()
    ends.client.request("x" * (MAX_METHOD_BYTES + 1))
    ends.client.request("later", bytes(MAX_VALUE_BYTES + 1))
    for _ in range(MAX_UNANSWERED + 1):
        ends.client.request("later")
    ends.run()
    assert ends.answers == [] and len(ends.replies) == MAX_UNANSWERED
    ends.replies[0].answer(b"x")
    ends.client.request("later", bytes(MAX_VALUE_BYTES))
    ends.run()
    assert ends.answers == [(3, b"x")] and len(ends.replies) == MAX_UNANSWERED + 1


@pytest.mark.parametrize("new_ends", [Ends, RpcEnds])
@given(messages=st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=60)), max_size=20))
def test_garbage_on_a_channel_never_ends_the_connection(
    new_ends: type[Ends | RpcEnds], messages: list[tuple[int, bytes]]
) -> None:
    ends = new_ends()
    ends.run()
    for type_id, payload in messages:
        for side in ("a", "b"):
            ends.pair.send_raw(side, b"\x01" + bytes([type_id]) + payload)
    ends.run()
    assert ends.client.opened and ends.server.opened


# --- wakeup


class WakeupEnds(Joined):
    def __init__(self, *, key: bytes = GROUP, active: bool = True) -> None:
        super().__init__()
        self.hints: list[tuple[CoreRef, ...]] = []
        self.active: list[bool] = []
        self.closed: list[str] = []
        self.client = WakeupChannel(
            self.pair.a, GROUP, on_hints=lambda _, cores: self.hints.append(cores),
            on_close=lambda _: self.closed.append("client"),
        )  # fmt: skip
        self.server = WakeupChannel(
            self.pair.b, GROUP, on_active=lambda channel: self.active.append(channel.peer_active),
            on_close=lambda _: self.closed.append("server"),
        )  # fmt: skip
        self.client.key = key
        self.client.open(0, active=active)
        self.server.open(0)
        self.run()


def test_a_peer_that_is_active_gets_hints() -> None:
    ends = WakeupEnds()
    assert ends.active == [True] and ends.server.opened
    ends.server.announce([CoreRef(KEY, 3)])
    ends.run()
    assert ends.hints == [(CoreRef(KEY, 3),)]


def test_a_peer_may_become_active_later() -> None:
    ends = WakeupEnds(active=False)
    assert ends.active == [] and ends.server.opened
    for active in (True, True, False, True):
        ends.client.set_active(active)
        ends.client.lookup(KEY)
        ends.run()
    assert ends.active == [True, True]


def test_a_peer_that_does_not_know_the_key_is_closed_and_never_active() -> None:
    ends = WakeupEnds(key=OTHER)
    assert ends.active == []
    assert not ends.server.opened
    assert sorted(ends.closed) == ["client", "server"]


def test_a_list_of_hints_that_is_too_long_is_ignored() -> None:
    ends = WakeupEnds()
    ends.server.announce([CoreRef(KEY, i) for i in range(MAX_HINTS_READ + 1)])
    ends.server.announce([CoreRef(KEY, i) for i in range(MAX_HINTS)])
    ends.run()
    assert [len(hints) for hints in ends.hints] == [MAX_HINTS]


@given(st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=60)), max_size=20))
def test_garbage_on_a_wakeup_channel_never_ends_the_connection(messages: list[tuple[int, bytes]]) -> None:
    ends = WakeupEnds()
    for type_id, payload in messages:
        for side in ("a", "b"):
            ends.pair.send_raw(side, b"\x01" + bytes([type_id]) + payload)
    ends.run()
    assert ends.client.opened and ends.server.opened


def test_the_recorded_conversations_are_read_and_their_capabilities_verify() -> None:
    stories = load("blindpeer/session")[1:]
    assert len(stories) == 17
    messages = opens = 0
    for story in stories:
        frames = story["frames"]
        proofs = [frame["handshakeHash"] for frame in frames if frame["op"] == "opened"]
        for frame in frames:
            if frame["op"] == "message" and frame.get("channel") == PROTOCOL and "…" not in frame["payload"]:
                try:
                    read = Cores.decode(Reader(unhex(frame["payload"])))
                except FrameDecodeError:
                    continue
                assert to_bytes(read).hex() == frame["payload"], story["name"]
                messages += 1
            if frame["op"] == "open" and frame["channel"] == "wakeup" and len(proofs) == 1:
                hello = WakeupHandshake.decode(Reader(unhex(frame["handshake"])))
                key = unhex(story["observed"]["wakeupKey"])
                made = capability(key, unhex(proofs[0]), sender_is_initiator=frame["from"] == "client")
                assert hello.capability == made
                opens += 1
    assert messages >= 8 and opens >= 2
