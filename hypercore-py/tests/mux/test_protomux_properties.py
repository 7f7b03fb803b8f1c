"""Properties of the muxer: no bytes break it, and no order of opens and closes lets two of them disagree."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.errors import RemoteProtocolError
from hypercore.mux import Channel, CloseReason, Muxer
from hypercore.testing.linked import LinkedPair
from support.examples import examples

NAMES = [b"1", b"2", b"3"]


class Peer:
    """One end of a channel that checks what it receives."""

    def __init__(self, world: "World", side: str, name: bytes) -> None:
        self.world, self.side, self.name = world, side, name
        muxer = world.muxer(side)
        self.opened = False
        self.closed = False
        self.received: list[int] = []
        self.channel: Channel = muxer.create_channel("p", name, self)
        self.channel.open(name, world.pair.clock.now)

    def channel_opened(self, handshake: Reader, now: float) -> None:
        assert not self.opened
        assert not self.closed
        assert handshake.rest() == self.name
        self.opened = True

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        assert self.opened
        assert not self.closed
        self.received.append(message.uint())

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        assert not self.closed
        self.closed = True

    def channel_flush(self, now: float) -> None:
        raise AssertionError("nobody asked for it")

    channel_writable = channel_flush


class World:
    def __init__(self, latency: float, accept: set[bytes]) -> None:
        self.pair = LinkedPair(latency=latency)
        self.peers: dict[tuple[str, bytes], list[Peer]] = {}
        self.sent = 0
        for side in "ab":
            self.muxer(side).on_open("p", lambda name, now, side=side: self.accept(side, name))
        self.accepted = accept

    def muxer(self, side: str) -> Muxer:
        return self.pair.a if side == "a" else self.pair.b

    def accept(self, side: str, name: bytes | None) -> bool:
        if name in self.accepted and self.muxer(side).channel("p", name) is None:
            self.open(side, name)
        return False

    def open(self, side: str, name: bytes) -> None:
        if self.muxer(side).channel("p", name) is None:
            self.peers.setdefault((side, name), []).append(Peer(self, side, name))

    def close(self, side: str, name: bytes) -> None:
        channel = self.muxer(side).channel("p", name)
        if channel is not None:
            channel.close(self.pair.clock.now)

    def send(self, side: str, name: bytes) -> None:
        channel = self.muxer(side).channel("p", name)
        if channel is not None:
            self.sent += 1
            channel.send(0, bytes(Writer().uint(self.sent)))

    def wait(self, side: str, name: bytes) -> None:
        self.pair.clock.advance(0.03)
        self.pair.step()

    def run_until_idle(self) -> None:
        for _ in range(200):
            while self.pair.step():
                pass
            at = self.pair.next_arrival()
            if at is None:
                return
            self.pair.clock.now = max(at, self.pair.clock.now)
        raise AssertionError("they never stop talking")


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sets(st.sampled_from(NAMES)),
    st.lists(
        st.tuples(
            st.sampled_from(["open", "open", "close", "send", "wait"]),
            st.sampled_from("ab"),
            st.sampled_from(NAMES),
        ),
        max_size=60,
    ),
)
def test_two_muxers_agree_whatever_crosses(
    latency: float, accept: set[bytes], steps: list[tuple[str, str, bytes]]
) -> None:
    world = World(latency, accept)
    for action, side, name in steps:
        getattr(world, action)(side, name)
    world.run_until_idle()
    assert not world.pair.errors
    for name in NAMES:
        ends = [world.muxer(side).channel("p", name) for side in "ab"]
        live = [end for end in ends if end is not None]
        assert len(live) in (0, 2)
        assert all(channel.opened for channel in live)
        if live:
            assert ends[0].local_id == ends[1].remote_id
            assert ends[1].local_id == ends[0].remote_id
    for side in "ab":
        for name in NAMES:
            for peer in world.peers.get((side, name), []):
                assert peer.received == sorted(peer.received)
    for side in "ab":  # every number that is not in use can be used again
        world.accepted = set(NAMES)
        for name in NAMES:
            world.open(side, name)
        world.run_until_idle()
        assert max(channel.local_id for channel in world.muxer(side)) <= len(steps) + 3
    assert not world.pair.errors
    assert sum(len(list(world.muxer(side))) for side in "ab") == 6


@settings(max_examples=examples(500), deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_raises_only_remote_protocol_errors(messages: list[bytes]) -> None:
    muxer = Muxer(is_initiator=True, handshake_hash=bytes(64))
    muxer.on_open("", lambda channel_id, now: True)
    try:
        for message in messages:
            muxer.receive(message, 0)
    except RemoteProtocolError:
        pass


CONTROL = st.one_of(
    st.builds(lambda n, name, i: bytes(Writer().uint(1).uint(n).string(name).optional_buffer(i)),
              st.integers(0, 5), st.sampled_from(["p", "q", ""]), st.binary(max_size=2)),
    st.builds(lambda t, n: bytes(Writer().uint(t).uint(n)), st.integers(0, 4), st.integers(0, 5)),
)  # fmt: skip


@settings(max_examples=examples(500), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), CONTROL | st.binary(max_size=4)), max_size=30), st.booleans())
def test_nearly_valid_conversations_raise_only_remote_protocol_errors(
    entries: list[tuple[int, bytes]], batched: bool
) -> None:
    world = World(0.0, {b"1"})
    muxer = world.pair.a
    world.open("a", b"2")
    muxer.on_open("q", lambda channel_id, now: True)
    w = Writer().uint(0).uint(0).uint(0)
    for channel, payload in entries:
        w.uint(0).uint(channel).buffer(payload)
    messages = [bytes(w)] if batched else [bytes(Writer().uint(c).raw(p)) for c, p in entries]
    try:
        for message in messages:
            muxer.receive(message, 0)
            muxer.take_output(0)
    except RemoteProtocolError:
        pass
