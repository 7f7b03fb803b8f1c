"""A node by itself and among others: what it answers, whom it remembers, when it notices that it is alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.dht.address import Address, encode_address, node_id
from hypercore.dht.constants import Internal, RpcError
from hypercore.dht.health import IDLE_REQUESTS, NetworkHealth
from hypercore.dht.internal_commands import MAX_DELAYED_PINGS, MAX_PING_DELAY
from hypercore.dht.node import MAX_DOWN_HINTS_PER_TICK, TICK_SECONDS, DhtCore, NodeEvent
from hypercore.dht.packet import Request, Response, decode_packet
from hypercore.dht.table_maintenance import IGNORED_NODES, MAX_ANONYMOUS_SAMPLES, MAX_CHECKS, MAX_REPINGS
from support.dht_network import Network

HERE = Address("77.0.0.1", 49737)
THERE = Address("78.0.0.1", 1234)


def _core(**options):
    return DhtCore(rng=random.Random(1), now=0.0, **options)


def _ask(core, now=0.0, source=THERE, **fields):
    """Feed one request; return what the node sends."""
    core.receive((Request(tid=9, to=HERE, **fields).encode(), source), now)
    return [(decode_packet(data), to) for data, to in core.take_output(now)]


def _events(core):
    return [event for event in iter(core.next_event, None)]


@pytest.mark.parametrize("address", [None, HERE])
def test_ping_is_answered(address):
    [(reply, to)] = _ask(_core(address=address), command=Internal.PING, internal=True)
    assert to == THERE
    assert reply == Response(tid=9, to=THERE, id=node_id(HERE) if address else None)


def test_ping_nat_is_answered_to_the_port_asked_for():
    port = (4321).to_bytes(2, "little")
    [(reply, to)] = _ask(_core(), command=Internal.PING_NAT, internal=True, value=port)
    assert to == reply.to == Address(THERE.host, 4321)


@pytest.mark.parametrize("value", [None, b"", b"\1", b"\0\0"])
def test_ping_nat_without_a_port_is_ignored(value):
    assert _ask(_core(), command=Internal.PING_NAT, internal=True, value=value) == []


def test_find_node_is_answered_with_the_closest_and_no_token():
    core = _core(address=HERE)
    known = Address("77.0.0.2", 1)
    _ask(core, source=known, command=Internal.PING, internal=True, id=node_id(known))
    [(reply, _)] = _ask(core, command=Internal.FIND_NODE, internal=True, target=bytes(32))
    assert reply.closer_nodes == (known,) and reply.token is None
    assert _ask(core, command=Internal.FIND_NODE, internal=True) == []


def test_delayed_ping_is_answered_after_the_delay():
    core = _core()
    delay = (2500).to_bytes(4, "little")
    assert _ask(core, command=Internal.DELAYED_PING, internal=True, value=delay) == []
    assert core.next_deadline() == 2.5
    core.handle_timer(2.4)
    assert not core.take_output(4.0)
    core.handle_timer(2.5)
    assert decode_packet(core.take_output(2.5)[0][0]) == Response(tid=9, to=THERE)


def test_delayed_ping_beyond_the_longest_delay_is_ignored():
    core = _core()
    delay = int(MAX_PING_DELAY * 1000 + 1).to_bytes(4, "little")
    assert _ask(core, command=Internal.DELAYED_PING, internal=True, value=delay) == []
    core.handle_timer(4.0)
    assert not core.take_output(4.0)


def test_delayed_pings_are_bounded():
    core = _core()
    for _ in range(MAX_DELAYED_PINGS + 50):
        _ask(core, command=Internal.DELAYED_PING, internal=True, value=(1000).to_bytes(4, "little"))
    core.handle_timer(1.0)
    assert len(core.take_output(0.0)) == MAX_DELAYED_PINGS


@pytest.mark.parametrize("internal", [True, False])
def test_unknown_command_gets_an_error_and_the_closest_nodes(internal):
    core = _core(address=HERE)
    known = Address("77.0.0.2", 1)
    _ask(core, source=known, command=Internal.PING, internal=True, id=node_id(known))
    [(reply, _)] = _ask(core, command=99, internal=internal, target=bytes(32))
    assert (reply.error, reply.closer_nodes, reply.token) == (RpcError.UNKNOWN_COMMAND, (known,), None)
    [(reply, _)] = _ask(core, command=99, internal=internal)
    assert reply.closer_nodes == ()


def test_bad_token_gets_an_error_and_a_fresh_one():
    core = _core(address=HERE)
    [(reply, _)] = _ask(core, command=4, token=bytes(32), target=bytes(32))
    assert reply.error == RpcError.INVALID_TOKEN
    [(again, _)] = _ask(core, command=99, token=reply.token)
    assert again.error == RpcError.UNKNOWN_COMMAND


def test_only_nodes_with_the_id_of_their_address_are_remembered():
    core = _core(address=HERE)
    _ask(core, command=Internal.PING, internal=True)
    _ask(core, command=Internal.PING, internal=True, id=bytes(32))
    assert len(core.table) == 0
    _ask(core, command=Internal.PING, internal=True, id=node_id(THERE))
    assert [node.address for node in core.table] == [THERE]


def test_ignored_nodes_are_not_remembered():
    core = _core(address=HERE)
    for address in IGNORED_NODES:
        _ask(core, source=address, command=Internal.PING, internal=True, id=node_id(address))
    assert len(core.table) == 0


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x03", b"\x13"]), st.integers(0, 65535))
def test_garbage_is_dropped(garbage, prefix, port):
    core = _core(address=HERE)
    core.receive((prefix + garbage, Address("78.0.0.1", port)), 0.0)
    core.handle_timer(100.0)


def test_request_from_port_zero_is_dropped():
    assert _ask(_core(), source=Address("78.0.0.1", 0), command=Internal.PING, internal=True) == []


def test_down_hint_makes_us_look_for_ourselves():
    core = _core(address=HERE)
    known = Address("77.0.0.2", 1)
    hint = {"command": Internal.DOWN_HINT, "internal": True, "value": encode_address(known)}
    _ask(core, source=known, command=Internal.PING, internal=True, id=node_id(known))
    assert len(_ask(core, now=1.0, **hint)) == 1, "we heard of it a second ago"
    sent = _ask(core, now=60.0, **hint)
    assert [to for _, to in sent] == [known, THERE]
    assert len(_ask(core, now=60.0, **hint)) == 1, "it is being tested already"
    for second in range(61, 65):
        core.handle_timer(float(second))
    assert len(core.table) == 0


def test_tests_of_nodes_claimed_to_be_down_are_bounded():
    core = _core(address=HERE)
    known = [Address(f"77.0.1.{i}", 1) for i in range(MAX_CHECKS + 8)]
    for address in known:
        _ask(core, source=address, command=Internal.PING, internal=True, id=node_id(address))
    pings = 0
    for address in known:
        value = encode_address(address)
        pings += len(_ask(core, now=60.0, command=Internal.DOWN_HINT, internal=True, value=value)) - 1
    assert pings == MAX_CHECKS


def test_down_hints_of_ours_are_bounded_per_tick():
    core = _core()
    for _ in range(MAX_DOWN_HINTS_PER_TICK + 9):
        core.down_hint(THERE, HERE)
    assert len(core.take_output(0.0)) == MAX_DOWN_HINTS_PER_TICK


def test_bootstrap_fills_the_table_and_reports_our_address():
    network = Network(seed=2)
    nodes = network.nodes_of(30)
    here = network.address()
    core = network.node(persistent=False, bootstrap=[nodes[0].here], address=here)
    network.run(10)
    assert core.bootstrapped and len(core.table) >= 20
    assert (core.nat.host, core.nat.port) == here
    events = _events(core)
    assert NodeEvent.BOOTSTRAPPED in events and NodeEvent.ADDRESS_CHANGED in events
    assert all(here != node.address for other in nodes for node in other.table), "we are ephemeral"


def test_first_node_of_a_network_is_bootstrapped_at_once():
    core = Network().node()
    assert core.bootstrapped and _events(core) == [NodeEvent.BOOTSTRAPPED]


def test_bootstrap_is_repeated_until_a_peer_answers():
    network = Network(seed=2)
    nodes = network.nodes_of(5)
    late = network.address()
    core = network.node(persistent=False, bootstrap=[late])
    network.run(20)
    assert not core.bootstrapped and not core.online
    assert _events(core)[:2] == [NodeEvent.BOOTSTRAP_FAILED, NodeEvent.OFFLINE]
    network.node(address=late, bootstrap=[nodes[0].here])
    assert network.run(60, until=lambda: core.bootstrapped)
    assert NodeEvent.ONLINE in _events(core)


def test_dead_bootstrap_node_holds_up_one_query_only():
    network = Network(seed=2)
    nodes = network.nodes_of(5)
    dead = network.address()
    core = network.node(persistent=False, bootstrap=[dead, nodes[0].here])
    assert network.run(10, until=lambda: core.bootstrapped)
    start = network.now
    network.query(core, bytes(32), Internal.FIND_NODE, internal=True)
    assert network.now - start < 1
    assert list(core.bootstrap_addresses()) == [nodes[0].here]
    network.kill(nodes[0])
    network.query(core, bytes(32), Internal.FIND_NODE, internal=True)
    assert list(core.bootstrap_addresses()) == [dead, nodes[0].here], "both are silent: try both"
    network.run(120)
    network.node(address=dead, bootstrap=[nodes[1].here])
    network.query(core, bytes(32), Internal.FIND_NODE, internal=True)
    assert dead in core.bootstrap_addresses()


def test_node_notices_that_the_network_is_gone_and_back():
    network = Network(seed=4)
    nodes = network.nodes_of(10)
    core = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(30)
    _events(core)
    network.drop = lambda data, source, to: core.here in (source, to)
    assert network.run(900, until=lambda: not core.online)
    assert NodeEvent.OFFLINE in _events(core)
    network.drop = None
    assert network.run(60, until=lambda: core.online and len(core.table) >= 5)
    assert NodeEvent.ONLINE in _events(core)


def test_dead_nodes_leave_the_table_in_time():
    network = Network(seed=4)
    nodes = network.nodes_of(15)
    core = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(30)
    dead = nodes[10:]
    for node in dead:
        network.kill(node)
    network.run(1200)
    left = {node.address for node in core.table}
    assert left == {node.here for node in nodes[:10]}


def test_nodes_without_id_report_our_address_only_so_often():
    core = _core()
    for i in range(MAX_ANONYMOUS_SAMPLES + 5):
        to = Address(f"77.0.2.{i}", 1)
        core.ping(to, 0.0)
        request = decode_packet(core.take_output(0.0)[-1][0])
        core.receive((Response(tid=request.tid, to=HERE).encode(), to), 0.1)
    assert len(core.nat) == MAX_ANONYMOUS_SAMPLES


def test_dead_node_of_a_full_bucket_makes_room_for_a_newcomer():
    core = _core(address=HERE)
    core.start_bootstrap(0.0)
    top = core.table.number >> 255
    candidates = (Address(f"79.{i >> 8}.{i & 255}.1", 1) for i in range(65536))
    same = [a for a in (next(candidates) for _ in range(200)) if node_id(a)[0] >> 7 != top][:21]
    for address in same[:20]:
        _ask(core, source=address, command=Internal.PING, internal=True, id=node_id(address))
    sent = _ask(core, now=100.0, source=same[20], command=Internal.PING, internal=True, id=node_id(same[20]))
    assert sorted(to for _, to in sent) == sorted([same[0], same[20]])
    for second in range(101, 105):
        core.handle_timer(float(second))
    known = {node.address for node in core.table}
    assert same[0] not in known and same[20] in known


def test_buckets_searched_for_dead_nodes_at_a_time_are_bounded():
    core = _core(address=HERE)
    core.start_bootstrap(0.0)
    addresses = [Address(f"79.{i >> 8}.{i & 255}.1", 1) for i in range(3000)]
    for address in addresses:
        _ask(core, source=address, command=Internal.PING, internal=True, id=node_id(address))
    pings = 0
    for i in range(200):
        newcomer = Address(f"80.0.{i}.1", 1)
        sent = _ask(
            core, now=100.0, source=newcomer, command=Internal.PING, internal=True, id=node_id(newcomer)
        )
        pings += len(sent) - 1
    assert pings == MAX_REPINGS


def test_node_that_slept_tests_its_neighbours():
    network = Network(seed=4)
    nodes = network.nodes_of(10)
    core = nodes[3]
    network.flush(core)
    core.handle_timer(network.now + 3600)
    assert len(core.take_output(0.0)) >= 5


@pytest.mark.parametrize(
    ("ticks", "online"),
    [
        ([(0, IDLE_REQUESTS)], True),
        ([(0, IDLE_REQUESTS)] * 2, False),
        ([(0, IDLE_REQUESTS), (1, 9), (0, IDLE_REQUESTS)], True),
        ([(0, IDLE_REQUESTS - 1)] * 9, True),
        ([(0, 9), (0, 0), (0, 9)], False),
        ([(0, 9), (0, 9), (1, 0)], True),
    ],
)
def test_health_follows_from_answers(ticks, online):
    health = NetworkHealth()
    answered = timed_out = 0
    for more_answers, more_timeouts in ticks:
        answered += more_answers
        timed_out += more_timeouts
        health.update(answered, timed_out)
    assert health.online is online


def test_deadline_is_never_later_than_a_tick():
    assert _core().next_deadline() == TICK_SECONDS


def test_a_node_that_becomes_persistent_keeps_its_table_and_sends_its_id():
    core = _core()
    others = [Address(f"77.0.{number}.2", 1) for number in range(60)]
    for other in others:
        _ask(core, source=other, command=Internal.PING, internal=True, id=node_id(other))
    known = {node.address for node in core.table}
    core.set_persistent_address(HERE, 1.0)
    assert core.table.id == core.own_id == node_id(HERE)
    assert {node.address for node in core.table} <= known and len(core.table) >= 20
    [(reply, _)] = _ask(core, now=2.0, command=Internal.PING, internal=True)
    assert reply.id == node_id(HERE)
    core.set_persistent_address(None, 3.0)
    [(reply, _)] = _ask(core, now=4.0, command=Internal.PING, internal=True)
    assert reply.id is None and core.table.id != node_id(HERE)
