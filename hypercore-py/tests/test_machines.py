"""The contract of `hypercore.machine`, for every state machine of the library."""

import ast
import inspect
import pkgutil
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hypercore
from hypercore.core import memory_store, store
from hypercore.crypto import KeyPair
from hypercore.dht import sessions
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.messages import HolepunchPayload, NoisePayload, UdxInfo
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.node import DhtCore
from hypercore.dht.noise import ClientHandshake
from hypercore.dht.punching import Puncher
from hypercore.dht.relays import AnnouncedRelays
from hypercore.dht.server_core import ServerCore
from hypercore.errors import RemoteProtocolError
from hypercore.machine import EventSource, Producer, Receiver, Timed
from hypercore.mux import Muxer, channel
from hypercore.replication import RateLimit, Replicator
from hypercore.swarm import SwarmPolicy, TopicSchedule
from hypercore.testing.cores import make_writer, sample_blocks
from hypercore.testing.linked import LinkedPair
from hypercore.udx.packet import FLAG_DATA, HEADER_BYTES, Packet, header_struct
from hypercore.udx.stream import UdxStream

NOW = 1000.0
"""When the machines are made: something is waited for from then on, where that is possible."""
LATE = float(2**20)
"""A clock that has run for twelve days."""

HERE, THERE = Address("77.0.0.1", 49737), Address("78.0.0.1", 1234)
SERVER, CLIENT = KeyPair.from_seed(b"\x01" * 32), KeyPair.from_seed(b"\x02" * 32)


def udx_stream(now: float) -> UdxStream:
    stream = UdxStream(now, heartbeat=5.0)
    stream.connect(7)
    stream.write(bytes(5000))
    datagram = Packet(FLAG_DATA, 8, 1000, 0, 0, b"hello").encode()
    stream.receive([(header_struct.unpack_from(datagram), memoryview(datagram)[HEADER_BYTES:])], now)
    return stream


class Handler:
    """A protocol on a channel that has nothing to say."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


def muxer(now: float) -> Muxer:
    made = Muxer(is_initiator=True, handshake_hash=bytes(64))
    made.create_channel("p", b"1", Handler()).open(b"", now)  # type: ignore[arg-type]
    return made


def replicator(now: float) -> Replicator:
    """Of a core that one peer has, which was asked for a block and does not answer."""
    pair = LinkedPair()
    pair.clock.now = now
    writer = make_writer(sample_blocks(3))
    core = memory_store().open_core(writer.core.key)
    assert core is not None
    made, other = Replicator(core), Replicator(writer.core)
    for one, end in ((made, pair.a), (other, pair.b)):
        end.remote_public_key = bytes(32)
        one.attach(end, now)
    while pair.step() and not made.downloader.requests:
        pass
    return made


def dht_core(now: float) -> DhtCore:
    core = DhtCore(rng=random.Random(1), now=now)
    core.bootstrap = [THERE]
    core.start_bootstrap(now)
    core.on_network_changed()
    return core


class Inbound:
    source = THERE


def server_core(now: float) -> ServerCore:
    core = ServerCore(
        SERVER,
        relays=AnnouncedRelays(),
        profile=lambda: NetworkProfile(firewall=Firewall.CONSISTENT, seen=(HERE,)),
        open_stream=lambda session: 7,
        random_bytes=random.Random(1).randbytes,
    )
    handshake = ClientHandshake(CLIENT, SERVER.public_key, random.Random(2).randbytes)
    noise = handshake.write(NoisePayload(udx=UdxInfo(77), secret_stream=1))
    assert core.handshake(noise, THERE, Inbound(), now, direct=False)  # type: ignore[arg-type]
    return core


def puncher(now: float) -> Puncher:
    made = Puncher(initiator=True, remote_host=THERE.host, random_bytes=random.Random(1).randbytes)
    made.update(HolepunchPayload(firewall=Firewall.CONSISTENT, addresses=(THERE,)), THERE.host)
    made.start(Firewall.CONSISTENT, now)
    return made


def swarm_policy(now: float) -> SwarmPolicy:
    """A dial has failed."""
    policy = SwarmPolicy(bytes(32), rng=random.Random(1))
    policy.topics.add(b"t" * 32)
    policy.peer_found(b"p" * 32, (THERE,), b"t" * 32, now)
    peer = policy.next_dial()
    assert peer is not None
    policy.ended(peer, now, client=True)
    return policy


def topic_schedule(now: float) -> TopicSchedule:
    """A topic was announced."""
    schedule = TopicSchedule(random.Random(1))
    topic = schedule.get_or_add(b"t" * 32)
    topic.servers = 1
    schedule.changed(topic)
    assert schedule.take(now) is topic
    topic.announced = True
    schedule.finished(topic, now, ok=True)
    return schedule


def rate_limit(now: float) -> RateLimit:
    """A peer waits for a debt to be paid."""
    limit = RateLimit()
    limit.set_rate(1000.0, now)
    limit.consume(5000)
    assert limit.take_turn(lambda: None, now) == 0
    return limit


class Machine(NamedTuple):
    make: Callable[[float], Any]
    verbs: str
    """Initials of receive, take_output, next_event and (handle_timer and next_deadline)."""


MACHINES = {
    "UdxStream": Machine(udx_stream, "rted"),
    "Muxer": Machine(muxer, "rt"),
    "Replicator": Machine(replicator, "ed"),
    "DhtCore": Machine(dht_core, "rted"),
    "ServerCore": Machine(server_core, "ed"),
    "Puncher": Machine(puncher, "td"),
    "SwarmPolicy": Machine(swarm_policy, "d"),
    "TopicSchedule": Machine(topic_schedule, "d"),
    "RateLimit": Machine(rate_limit, "d"),
}
PROTOCOLS = {"r": Receiver, "t": Producer, "e": EventSource, "d": Timed}


def having(verb: str) -> Any:
    return pytest.mark.parametrize("name", [name for name, each in MACHINES.items() if verb in each.verbs])


def drain(machine: Any, now: float) -> int:
    """Take all output and all events. Returns how many there were."""
    taken = 0
    while isinstance(machine, Producer) and machine.take_output(now):
        taken += 1
        assert taken < 10_000, "output without an end"
    while isinstance(machine, EventSource) and machine.next_event() is not None:
        taken += 1
        assert taken < 10_000, "events without an end"
    return taken


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_has_the_verbs_that_it_is_listed_with(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    has = {verb for verb, protocol in PROTOCOLS.items() if isinstance(machine, protocol)}
    assert has == set(MACHINES[name].verbs)


@having("t")
def test_output_comes_to_an_end_and_then_there_is_none(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    if name == "Puncher":
        machine.handle_timer(NOW)
    assert drain(machine, NOW)
    assert not machine.take_output(NOW) and not machine.take_output(NOW)


@having("e")
def test_events_come_to_an_end_and_then_there_are_none(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    assert drain(machine, NOW)
    assert machine.next_event() is None and machine.next_event() is None


@having("d")
def test_asking_for_the_deadline_changes_nothing(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    drain(machine, NOW)
    deadline = machine.next_deadline()
    assert deadline is not None and deadline >= NOW
    assert {machine.next_deadline() for _ in range(3)} == {deadline}
    assert not drain(machine, NOW)


@having("d")
def test_a_timer_that_comes_early_does_nothing(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    drain(machine, NOW)
    deadline = machine.next_deadline()
    machine.handle_timer(deadline - 0.001)
    assert machine.next_deadline() == deadline
    assert not drain(machine, deadline - 0.001)


@having("d")
def test_a_timer_that_is_due_moves_the_deadline(name: str) -> None:
    """Or a shell would call it again and again without a pause."""
    machine = MACHINES[name].make(NOW)
    drain(machine, NOW)
    for _ in range(20):
        deadline = machine.next_deadline()
        if deadline is None:
            break
        machine.handle_timer(deadline)
        drain(machine, deadline)
        after = machine.next_deadline()
        assert after is None or after > deadline


@having("d")
def test_a_timer_that_comes_hours_late_is_handled_once(name: str) -> None:
    machine = MACHINES[name].make(NOW)
    drain(machine, NOW)
    late = NOW + 36_000.0
    for _ in range(100):
        machine.handle_timer(late)
        drain(machine, late)
        after = machine.next_deadline()
        if after is None or after > late:
            return
    pytest.fail("the deadline stays in the past")


def life(name: str, start: float) -> list[object]:
    """What a machine that is made at `start` puts out, and when, in its first hour."""
    machine, now = MACHINES[name].make(start), start
    lived: list[object] = []
    for _ in range(60):
        while isinstance(machine, Producer) and (output := machine.take_output(now)):
            lived.append(output)
        while isinstance(machine, EventSource) and (event := machine.next_event()) is not None:
            lived.append(type(event))
        at = machine.next_deadline() if isinstance(machine, Timed) else None
        if at is None or at > start + 3600.0:
            break
        now = at
        lived.append(round(now - start, 6))
        assert isinstance(machine, Timed)
        machine.handle_timer(now)
    return lived


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_does_the_same_however_old_the_clock_is(name: str) -> None:
    """The clock may begin when the machine boots: a time that was never set must not look recent then."""
    young = life(name, 0.0)
    assert young
    assert young == life(name, LATE)


def garbage(name: str) -> Iterator[Any]:
    rng = random.Random(3)
    for size in (*range(40), 1200):
        data = rng.randbytes(size)
        if name == "UdxStream":
            data = data.ljust(HEADER_BYTES, b"\0")
            yield [(header_struct.unpack_from(data), memoryview(data)[HEADER_BYTES:])]
        else:
            yield (data, THERE) if name == "DhtCore" else data


@having("r")
def test_garbage_raises_nothing_but_protocol_errors(name: str) -> None:
    for data in garbage(name):
        machine = MACHINES[name].make(NOW)
        try:
            machine.receive(data, NOW)
        except RemoteProtocolError:
            continue
        drain(machine, NOW)


# --- tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [
        (channel.TRANSITIONS, channel.ChannelState.NEW, {channel.ChannelState.CLOSED}),
        (sessions.TRANSITIONS, sessions.Stage.NEW, sessions.OVER),
        (store.TRANSITIONS, store.FlushState.PREPARED, {store.FlushState.CLOSED}),
    ],
)
def test_every_state_of_a_table_is_reached_and_only_the_last_ones_have_no_way_on(
    table: Mapping[tuple[Enum, object], Enum], first: Enum, last: Collection[Enum]
) -> None:
    reached, new = set[Enum](), {first}
    while new:
        reached |= new
        new = {target for (state, _), target in table.items() if state in reached} - reached
    assert reached == set(type(first))
    assert {state for state in reached if all(state is not left for left, _ in table)} == set(last)


# --- one spelling -------------------------------------------------------------------------------------------

SIGNATURES = {
    "receive": 2,
    "take_output": 1,
    "next_event": 0,
    "next_deadline": 0,
    "handle_timer": 1,
}
"""Verb -> how many arguments it needs; the last one is `now`, where there is any."""


def classes() -> Iterator[type]:
    """Those of the library that do no I/O."""
    for module in pkgutil.walk_packages(hypercore.__path__, "hypercore."):
        if not module.name.startswith(("hypercore.aio", "hypercore.testing", "hypercore._")):
            for each in vars(import_module(module.name)).values():
                if inspect.isclass(each) and each.__module__ == module.name:
                    yield each


def test_the_verbs_have_one_signature_everywhere() -> None:
    found = set()
    for each in classes():
        for verb, count in SIGNATURES.items():
            method = vars(each).get(verb)
            if method is None:
                continue
            found.add(verb)
            required = [
                parameter.name
                for parameter in list(inspect.signature(method).parameters.values())[1:]
                if parameter.default is inspect.Parameter.empty
            ]
            assert len(required) == count, f"{each.__qualname__}.{verb}({', '.join(required)})"
            assert not count or required[-1] == "now", f"{each.__qualname__}.{verb}"
    assert found == set(SIGNATURES)


def test_the_shell_reads_one_clock() -> None:
    """See `hypercore.aio.timer`: a machine that is driven by two of them would see time go back."""
    readers = 0
    for path in sorted(Path(hypercore.__path__[0], "aio").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("time", "call_at"), f"{path.name}:{node.lineno}"
            readers += isinstance(node, ast.Call) and getattr(node.func, "id", "") == "monotonic"
    assert readers > 20
