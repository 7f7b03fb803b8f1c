"""Walks over a simulated network: they find the nearest nodes in spite of loss, dead nodes and liars."""

import random

import pytest

from hypercore.dht.address import Address, node_id
from hypercore.dht.constants import Command, Internal
from hypercore.dht.messages import PeerRecord
from hypercore.dht.query import MAX_REFERRERS, MAX_SEEN, Query
from hypercore.dht.routing_table import BUCKET_SIZE, node_number
from hypercore.dht.rpc import Reply
from support.dht_network import Network


@pytest.fixture(scope="module")
def hundred():
    network = Network(seed=3)
    nodes = network.nodes_of(100)
    return network, nodes


def _nearest(nodes, target, count=BUCKET_SIZE):
    number = int.from_bytes(target, "big")
    return sorted((node.here for node in nodes), key=lambda a: node_number(a) ^ number)[:count]


def _found(query):
    return [reply.source for reply in query.closest]


@pytest.mark.parametrize("seed", range(5))
def test_query_finds_exactly_the_nearest_nodes(hundred, seed):
    network, nodes = hundred
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    target = random.Random(seed).randbytes(32)
    query = network.query(peer, target, Internal.FIND_NODE, internal=True)
    assert _found(query) == _nearest(nodes, target)
    assert not query.failed
    network.kill(peer)


def test_query_asks_far_fewer_nodes_than_there_are(hundred):
    network, nodes = hundred
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    before = network.sent_by[peer.here]
    network.query(peer, bytes(32), Internal.FIND_NODE, internal=True)
    assert network.sent_by[peer.here] - before < 60
    network.kill(peer)


def test_remembered_nodes_shorten_the_walk(hundred):
    network, nodes = hundred
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    target = b"\x55" * 32
    first = network.query(peer, target, Internal.FIND_NODE, internal=True)
    before = network.sent_by[peer.here]
    again = network.query(peer, target, Internal.FIND_NODE, internal=True, seeds=_found(first))
    assert _found(again) == _found(first)
    assert network.sent_by[peer.here] - before == BUCKET_SIZE
    network.kill(peer)


def test_query_succeeds_with_a_third_of_all_packets_lost():
    network = Network(seed=5)
    nodes = network.nodes_of(60)
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    network.loss = 0.33
    for seed in range(3):
        target = random.Random(seed).randbytes(32)
        query = network.query(peer, target, Internal.FIND_NODE, internal=True, seconds=120)
        assert len(set(_found(query)) & set(_nearest(nodes, target))) >= BUCKET_SIZE * 3 // 4


def test_dead_nodes_are_left_out_and_their_referrers_get_a_hint():
    network = Network(seed=6)
    nodes = network.nodes_of(40)
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    target = b"\x33" * 32
    for address in _nearest(nodes, target, 5):
        network.kill(network.nodes[address])
    alive = [node for node in nodes if node.here in network.nodes]
    hints = []
    network.drop = lambda data, source, to: source == peer.here and data[1] & 4 and hints.append(data)
    query = network.query(peer, target, Internal.FIND_NODE, internal=True)
    # What the others know of the neighbourhood still holds five dead nodes
    assert len(_found(query)) >= BUCKET_SIZE - 5
    assert set(_found(query)) <= {node.here for node in alive}
    assert any(data[10] == Internal.DOWN_HINT for data in hints)


def test_a_query_ends_when_no_node_answers():
    network = Network()
    lonely = network.node(persistent=False, bootstrap=[Address("66.6.6.6", 1)])
    query = network.query(lonely, bytes(32), Internal.FIND_NODE, internal=True)
    assert query.failed and query.errors == 1 and query.closest == []


def test_a_query_ends_when_there_is_no_node_to_ask():
    network = Network()
    lonely = network.node(persistent=False)
    assert network.query(lonely, bytes(32), Internal.FIND_NODE, internal=True).failed


def test_closer_nodes_of_an_error_are_followed():
    """Routers answer user commands with UNKNOWN_COMMAND: they still show the way."""
    network = Network(seed=8)
    nodes = network.nodes_of(30)
    target = b"\x44" * 32
    del nodes[0].handlers[Command.LOOKUP]
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    query = network.query(peer, target, Command.LOOKUP)
    assert _found(query) == _nearest(nodes[1:], target)
    assert all(reply.token for reply in query.closest)


def test_commit_goes_to_the_nearest_with_their_tokens():
    network = Network(seed=9)
    nodes = network.nodes_of(30)
    stored = []
    for node in nodes:

        def store(inbound, now, here=node.here):
            stored.append((here, inbound.value))
            inbound.reply(token=False, closer_nodes=False)

        node.handlers[Command.ANNOUNCE] = store
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    target = b"\x44" * 32
    query = network.query(
        peer, target, Command.LOOKUP, commit=lambda reply: (Command.ANNOUNCE, reply.source.host.encode())
    )
    assert query.committed == BUCKET_SIZE and not query.failed
    assert sorted(stored) == sorted((a, a.host.encode()) for a in _nearest(nodes, target))


def test_a_commit_that_no_node_takes_is_a_failure():
    network = Network(seed=9)
    nodes = network.nodes_of(5)
    peer = network.node(persistent=False, bootstrap=[nodes[0].here])
    network.run(5)
    query = network.query(peer, bytes(32), Command.LOOKUP, commit=lambda reply: (Command.ANNOUNCE, b"x"))
    assert query.successes and query.committed == 0 and query.failed


def test_held_query_does_not_end_before_it_is_released():
    network = Network(seed=9)
    nodes = network.nodes_of(5)
    done = []
    query = Query(nodes[0], bytes(32), Internal.FIND_NODE, internal=True, on_done=done.append)
    query.hold()
    nodes[0].start(query, network.now)
    network.flush(nodes[0])
    assert not network.run(30, until=lambda: done)
    query.release()
    assert done == [query]


def test_cancelled_query_is_silent():
    network = Network(seed=9)
    nodes = network.nodes_of(10)
    heard = []
    query = Query(
        nodes[0],
        bytes(32),
        Internal.FIND_NODE,
        internal=True,
        on_reply=heard.append,
        on_done=heard.append,
    )
    nodes[0].start(query, network.now)
    network.flush(nodes[0])
    query.cancel()
    network.run(30)
    assert heard == []


def test_only_the_given_nodes_are_asked_if_so_wished():
    network = Network(seed=10)
    nodes = network.nodes_of(30)
    asked = [node.here for node in nodes[5:9]]
    target = bytes(32)
    query = network.query(nodes[0], target, Internal.FIND_NODE, internal=True, seeds=asked, only_seeds=True)
    assert sorted(_found(query)) == sorted(asked)
    assert query.successes == 4


def test_query_falls_back_on_the_table_when_remembered_nodes_are_gone():
    network = Network(seed=11)
    nodes = network.nodes_of(40)
    gone = [Address(f"66.0.0.{i}", 1) for i in range(1, BUCKET_SIZE + 1)]
    target = b"\x12" * 32
    query = network.query(nodes[0], target, Internal.FIND_NODE, internal=True, seeds=gone)
    assert _found(query) == _nearest(nodes[1:], target)


class Liar:
    """Answers every question with addresses of its own making."""

    def __init__(self, network, make):
        self.core = network.node()
        self.here = self.core.here
        self.core.closer_addresses = lambda target: tuple(make(target))


def test_made_up_addresses_neither_enter_the_result_nor_trap_the_query():
    network = Network(seed=12)
    nodes = network.nodes_of(40)
    rng = random.Random(1)
    target = b"\x77" * 32
    liar = Liar(
        network, lambda t: (Address(f"66.{rng.randrange(256)}.{rng.randrange(256)}.1", 9) for _ in range(250))
    )
    peer = network.node(persistent=False, bootstrap=[liar.here, nodes[0].here])
    network.run(20)
    query = network.query(peer, target, Internal.FIND_NODE, internal=True, seconds=600)
    honest = [*nodes, liar.core]
    assert set(_found(query)) <= {node.here for node in honest}
    assert len(set(_found(query)) & set(_nearest(honest, target))) >= BUCKET_SIZE - 1


@pytest.mark.slow
def test_remembered_addresses_of_one_query_are_bounded():
    network = Network(seed=13)
    counter = iter(range(10**9))

    def endless(target):
        for _ in range(300):
            number = next(counter)
            yield Address(f"66.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 9)

    class Host:
        """A node whose every question is answered at once, by a liar."""

        def __init__(self):
            self.pending = []

        def request(self, outgoing, handler):
            self.pending.append((outgoing.to, handler.on_reply))
            return object()

        def closest_nodes(self, target, count):
            return []

        def bootstrap_addresses(self):
            return [Address("66.255.0.1", 9)]

        def is_own(self, address):
            return False

        def cancel(self, call):
            pass

    host = Host()
    done = []
    query = Query(host, network.rng.randbytes(32), 0, on_done=done.append)
    query.start()
    asked = 0
    while host.pending:
        to, on_reply = host.pending.pop(0)
        asked += 1
        # An error: it never counts as one of the closest, so every made-up address looks worth asking
        on_reply(Reply(to, to, None, None, tuple(endless(None)), 1, None, 0.1))
    assert done
    assert asked <= MAX_SEEN


def test_hints_to_the_referrers_of_a_dead_node_are_bounded():
    """Every node asked names the same dead one."""

    class Host:
        def __init__(self):
            self.asked = []
            self.notified = []

        def request(self, outgoing, handler):
            self.asked.append((outgoing.to, handler.on_reply, handler.on_timeout))
            return object()

        def closest_nodes(self, target, count):
            return []

        def bootstrap_addresses(self):
            return [Address(f"66.0.0.{n}", 9) for n in range(15)]

        def is_own(self, address):
            return False

        def cancel(self, call):
            pass

        def down_hint(self, referrer, down):
            self.notified.append(referrer)

    host, dead = Host(), Address("67.0.0.1", 9)
    Query(host, node_id(dead), 0).start()
    give_up = None
    while host.asked:
        to, on_reply, on_timeout = host.asked.pop(0)
        if to == dead:
            give_up = on_timeout
        else:
            on_reply(Reply(to, to, node_id(to), None, (dead,), 0, None, 0.1))
    give_up()
    assert len(host.notified) == MAX_REFERRERS


def test_own_address_and_port_zero_are_not_asked():
    network = Network(seed=14)
    nodes = network.nodes_of(3)
    me = nodes[1]
    nodes[0].closer_addresses = lambda target: (me.here, Address("66.1.1.1", 0))
    sent = []
    network.drop = lambda data, source, to: sent.append((source, to)) if source == me.here else False
    network.query(me, bytes(32), Internal.FIND_NODE, internal=True)
    assert (me.here, me.here) not in sent
    assert all(to.port for _, to in sent)


def test_peer_record_fits_the_reply():
    record = PeerRecord(public_key=node_id(Address("1.2.3.4", 5)))
    assert PeerRecord.decode(record.encode()) == record
