"""Whatever happens on the way, readers end up with what the writer has; and no bytes break a site."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hypercore.codec import Writer
from hypercore.core import Core
from hypercore.errors import RemoteProtocolError
from hypercore.replication import Conflict, PeerMisbehaved, ReplicationConfig
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.testing.linked import LinkedPair
from hypercore.wire.control import BitfieldMessage, Cancel, Extension, NoData, Range, Sync, Unwant, Want
from hypercore.wire.data import Data, DataBlock, DataHash, DataUpgrade
from hypercore.wire.registry import MESSAGES, Message
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade
from support.examples import examples
from support.replication_world import Script, Site, World

pytestmark = pytest.mark.slow

CONFIG = ReplicationConfig(request_timeout=5, stall_pause=1, refine_timeout=1)
SITES = 4


@dataclass
class Chaos:
    """A writer (site 0), some readers, and links that come and go."""

    world: World
    sites: list[Site]
    links: dict[tuple[int, int], LinkedPair]
    added: int = 0

    @classmethod
    def begin(cls, length: int, have: list[set[int]]) -> Chaos:
        world = World()
        writer = world.writer(length, config=CONFIG)
        readers = [
            world.reader(writer.core.key, source=writer.core if known else None, have=known, config=CONFIG)
            for known in ({index for index in some if index < length} for some in have)
        ]
        return cls(world, [writer, *readers], {})

    def link(self, a: int, b: int, latency: float) -> None:
        a, b = sorted((a % len(self.sites), b % len(self.sites)))
        old = self.links.get((a, b))
        if a == b or (old is not None and old.connected):
            return
        self.links[a, b] = self.world.connect(self.sites[a], self.sites[b], latency=latency)

    def cut(self, a: int, b: int, latency: float) -> None:
        pair = self.links.get(tuple(sorted((a % len(self.sites), b % len(self.sites)))))
        if pair is not None:
            pair.cut()

    def mute(self, a: int, b: int, latency: float) -> None:
        """One side of a link says nothing any more, though it stands."""
        pair = self.links.get(tuple(sorted((a % len(self.sites), b % len(self.sites)))))
        if pair is not None:
            pair.windows["a" if a < b else "b"] = 0

    def unmute(self, a: int, b: int, latency: float) -> None:
        for pair in self.links.values():
            pair.windows = {"a": None, "b": None}

    def append(self, a: int, b: int, latency: float) -> None:
        self.sites[0].append(*sample_blocks(a + 1, 1000 + self.added))
        self.added += a + 1

    def truncate(self, a: int, b: int, latency: float) -> None:
        self.sites[0].truncate(self.sites[0].core.length * b // 8)

    def lose(self, a: int, b: int, latency: float) -> None:
        site = self.sites[1 + a % (len(self.sites) - 1)]
        site.core.clear(b * 3, b * 3 + 5)

    def wait(self, a: int, b: int, latency: float) -> None:
        self.world.run(seconds=a * b * 0.05, until=lambda: False)

    def check(self) -> None:
        for pair in self.world.links:
            assert not pair.errors
        for site in self.sites:
            assert not [event for event in site.events if isinstance(event, PeerMisbehaved | Conflict)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "link",
                "link",
                "link",
                "cut",
                "mute",
                "unmute",
                "append",
                "append",
                "truncate",
                "lose",
                "wait",
                "wait",
            ]
        ),
        st.integers(0, 7),
        st.integers(0, 7),
        st.sampled_from([0.0, 0.01, 0.2]),
    ),
    max_size=25,
)
HAVE = st.lists(st.sets(st.integers(0, 69), max_size=40), min_size=1, max_size=SITES - 1)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 70), HAVE, STEPS, st.booleans())
def test_readers_converge_to_the_writer(
    length: int, have: list[set[int]], steps: list[tuple[str, int, int, float]], line: bool
) -> None:
    chaos = Chaos.begin(length, have)
    for action, a, b, latency in steps:
        getattr(chaos, action)(a, b, latency)
    chaos.unmute(0, 0, 0)
    for number in range(1, len(chaos.sites)):
        chaos.link(number - 1 if line else 0, number, 0.01)
    writer = chaos.sites[0]
    if not writer.core.length:
        writer.append(b"something")
    readers = chaos.sites[1:]

    def same(site: Site) -> bool:
        return site.core.head.hash() == writer.core.head.hash() and site.core.fork == writer.core.fork

    converged = chaos.world.run(
        until=lambda: all(same(site) and site.core.complete for site in readers), seconds=120
    )
    chaos.check()
    assert converged, [(site.core, site.replicator.peers) for site in chaos.sites]
    for site in readers:
        assert site.blocks() == writer.blocks()
    chaos.world.run_until_idle()
    for site in chaos.sites:
        assert site.replicator.next_deadline() is None
        assert not site.replicator.downloader.requests


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 70), HAVE, STEPS)
@example(2, [{0}, set()], [("link", 1, 2, 0.0), ("wait", 1, 1, 0.0), ("lose", 0, 0, 0.0)])
def test_without_the_writer_readers_share_what_there_is(
    length: int, have: list[set[int]], steps: list[tuple[str, int, int, float]]
) -> None:
    chaos = Chaos.begin(length, have)
    for action, a, b, latency in steps:
        getattr(chaos, action)(a, b, latency)
    chaos.unmute(0, 0, 0)
    for (a, _), pair in chaos.links.items():
        if a == 0:
            pair.cut()
    readers = chaos.sites[1:]
    for a in range(1, len(chaos.sites)):
        for b in range(a + 1, len(chaos.sites)):
            chaos.link(a, b, 0.01)
    chaos.world.run(seconds=120)
    chaos.check()
    best = max(readers, key=lambda site: (site.core.fork, site.core.length)).core.head
    leaders = [
        site for site in readers if site.core.head.hash() == best.hash() and site.core.fork == best.fork
    ]
    union = {index for site in leaders for index in range(best.length) if site.core.has(index)}
    for site in readers:
        if site in leaders:
            assert {index for index in range(best.length) if site.core.has(index)} == union
        else:
            # Nobody holds the roots that this one has. That is so in the official protocol, too
            assert site.core.fork == best.fork
            assert not any(leader.core.can_upgrade_from(site.core.length) for leader in leaders)
        assert not site.replicator.downloader.requests


# --- hostile peers ------------------------------------------------------------------------------------------

SMALL = st.integers(0, 40)
NUMBER = st.one_of(SMALL, SMALL, st.sampled_from([2**21, 2**31, 2**53 - 1]))
WRITER: Core = make_writer(sample_blocks(33)).core


def real_answer(request: Request) -> Data:
    try:
        return WRITER.prove(request)
    except Exception:
        return Data(request=request.id, fork=request.fork)


REQUESTS = st.builds(
    Request,
    id=SMALL,
    fork=st.integers(0, 2),
    block=st.none() | st.builds(RequestBlock, NUMBER, SMALL),
    hash=st.none() | st.builds(RequestHash, NUMBER, SMALL),
    seek=st.none() | st.builds(RequestSeek, NUMBER, SMALL),
    upgrade=st.none() | st.builds(RequestUpgrade, SMALL, SMALL),
    manifest=st.booleans(),
    priority=st.integers(0, 3),
)
NODES = st.lists(
    st.sampled_from([WRITER.node(index) for index in range(20) if WRITER.node(index)]), max_size=4
)
DATAS = st.builds(
    Data,
    request=SMALL,
    fork=st.integers(0, 2),
    block=st.none() | st.builds(DataBlock, SMALL, st.binary(max_size=8), NODES),
    hash=st.none() | st.builds(DataHash, SMALL, NODES),
    upgrade=st.none() | st.builds(DataUpgrade, SMALL, SMALL, NODES, NODES, st.none() | st.just(bytes(68))),
    manifest=st.none() | st.just(WRITER.manifest),
)
FRAMES = st.one_of(
    st.builds(
        Sync,
        fork=st.integers(0, 2),
        length=NUMBER,
        remote_length=SMALL,
        can_upgrade=st.booleans(),
        uploading=st.booleans(),
        downloading=st.booleans(),
        has_manifest=st.booleans(),
    ),
    REQUESTS,
    DATAS,
    st.builds(Cancel, request=SMALL),
    st.builds(NoData, request=SMALL, reason=st.integers(0, 3)),
    st.builds(Want, start=NUMBER, length=NUMBER, any_=st.booleans()),
    st.builds(Unwant, start=NUMBER, length=NUMBER, any_=st.booleans()),
    st.builds(BitfieldMessage, start=NUMBER, words=st.binary(max_size=8).map(lambda b: b[: len(b) // 4 * 4])),
    st.builds(Range, start=NUMBER, length=NUMBER, drop=st.booleans()),
    st.builds(Extension, name=st.sampled_from(["", "x"]), message=st.binary(max_size=4)),
)


def victim(have: set[int], known: bool) -> tuple[World, Site, Script]:
    world = World()
    site = world.reader(WRITER.key, source=WRITER if known else None, have=have if known else ())
    return world, site, Script(world, site, 0)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sets(st.integers(0, 32)),
    st.booleans(),
    st.lists(st.one_of(FRAMES, st.just("answer"), st.floats(0, 40)), max_size=25),
)
def test_a_hostile_peer_is_at_worst_cut_off(
    have: set[int], known: bool, steps: list[Message | str | float]
) -> None:
    """Valid messages that make no sense, mixed with honest answers: nothing but RemoteProtocolError comes of
    them, and an honest peer still gets everything across."""
    world, site, script = victim(have, known)
    for step in steps:
        if not script.pair.connected:
            break
        if isinstance(step, float):
            script.wait(step)
        elif step == "answer":
            script.send(*(real_answer(message) for message in script.take() if isinstance(message, Request)))
        else:
            assert not isinstance(step, str)
            script.received += script.send(step)
    honest = world.reader(WRITER.key, source=WRITER, have=range(33))
    world.connect(site, honest)
    assert not site.replicator.frozen
    assert world.run(until=lambda: site.complete, seconds=300)
    assert site.blocks() == sample_blocks(33)


@settings(max_examples=examples(500), deadline=None)
@given(
    st.sets(st.integers(0, 32)),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=60))),
)
def test_garbage_raises_only_remote_protocol_errors(
    have: set[int], known: bool, messages: list[tuple[int, bytes]]
) -> None:
    world, _site, script = victim(have, known)
    muxer = script.pair.a
    try:
        for type_id, payload in messages:
            muxer.receive(bytes(Writer().uint(script.channel.local_id).uint(type_id).raw(payload)), world.now)
            muxer.take_output(world.now)
    except RemoteProtocolError:
        pass


@settings(max_examples=examples(300), deadline=None)
@given(FRAMES, st.data())
def test_cut_and_bent_messages_raise_only_remote_protocol_errors(frame: Message, data: st.DataObject) -> None:
    world, _site, script = victim({1, 2}, True)
    w = Writer().uint(script.channel.local_id).uint(frame.type_id)
    frame.encode(w)
    message = bytearray(bytes(w))
    at = data.draw(st.integers(1, len(message)))
    if data.draw(st.booleans()):
        del message[at:]
    else:
        message[at - 1] ^= data.draw(st.integers(1, 255))
    assert MESSAGES[frame.type_id] is type(frame)
    try:
        script.pair.a.receive(bytes(message), world.now)
        script.pair.a.take_output(world.now)
    except RemoteProtocolError:
        pass
