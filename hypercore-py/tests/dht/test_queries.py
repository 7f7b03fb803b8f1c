"""Announcing, finding, leaving, storing: over a simulated network of our own storing nodes."""

from functools import partial

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht import queries
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, RpcError
from hypercore.dht.messages import LookupReply
from hypercore.dht.packet import decode_packet
from hypercore.dht.record_store import MAX_BUMP_AHEAD_MS, MAX_RELAYS
from hypercore.dht.routing_table import BUCKET_SIZE
from hypercore.dht.signing import sign_announce, sign_mutable
from support.dht_network import Network

TOPIC = b"\x21" * 32
US = KeyPair.from_seed(b"\x01" * 32)
THEM = KeyPair.from_seed(b"\x02" * 32)
RELAYS = (Address("88.1.2.3", 10), Address("88.1.2.4", 20))


class World:
    def __init__(self, seed=1, size=40, **options):
        self.network = Network(seed=seed, **options)
        self.nodes = self.network.nodes_of(size)
        self.us = self.other_peer()
        self.them = self.other_peer()
        self.network.run(10)

    def other_peer(self):
        return self.network.node(persistent=False, bootstrap=[self.nodes[0].here])

    def announce(self, core=None, key_pair=US, relays=RELAYS, **options):
        core = core or self.us
        make = partial(queries.announce, core, TOPIC, key_pair, lambda: relays, **options)
        return self.network.finish(core, lambda done: make(on_done=done))

    def unannounce(self, core=None, key_pair=US, **options):
        core = core or self.us
        make = partial(queries.unannounce, core, TOPIC, key_pair, **options)
        return self.network.finish(core, lambda done: make(on_done=done))

    def lookup(self, core=None):
        """Public key to relay addresses, of all that a lookup finds; and in how many replies each was."""
        found, count = {}, {}

        def on_peers(reply, peers):
            for peer in peers:
                found[peer.public_key] = peer.relay_addresses
                count[peer.public_key] = count.get(peer.public_key, 0) + 1

        core = core or self.them
        self.network.finish(core, lambda done: queries.lookup(core, TOPIC, on_peers=on_peers, on_done=done))
        return found, count


@pytest.fixture
def world():
    return World()


def test_announced_peer_is_found_with_its_relays(world):
    query = world.announce()
    assert query.committed == BUCKET_SIZE
    found, count = world.lookup()
    assert found == {US.public_key: RELAYS}
    assert count == {US.public_key: BUCKET_SIZE}


def test_announcing_peer_learns_of_the_others(world):
    world.announce()
    heard = []
    world.announce(world.them, THEM, on_peers=lambda reply, peers: heard.extend(peers))
    assert {peer.public_key for peer in heard} == {US.public_key}
    assert set(world.lookup()[0]) == {US.public_key, THEM.public_key}


def test_peer_that_left_is_not_found(world):
    world.announce()
    world.announce(world.them, THEM)
    query = world.unannounce()
    assert not query.failed
    assert set(world.lookup()[0]) == {THEM.public_key}


def test_leaving_by_the_remembered_nodes_asks_only_those(world):
    query = world.announce()
    before = world.network.sent_by[world.us.here]
    seeds = [reply.source for reply in query.closest]
    world.unannounce(seeds=seeds, only_seeds=True, force=True)
    assert world.network.sent_by[world.us.here] - before == 2 * BUCKET_SIZE
    assert world.lookup()[0] == {}


def test_new_relays_replace_the_old_ones(world):
    world.announce()
    world.announce(relays=())
    assert world.lookup()[0] == {US.public_key: ()}


def test_clearing_announcement_survives_the_loss_of_its_unannouncements():
    """A repeated UNANNOUNCE must not arrive after the ANNOUNCE and undo it."""
    world = World(seed=3)
    world.announce()
    lost = set()

    def drop(data, source, to):
        if source != world.us.here or data[0] != 3:
            return False
        request = decode_packet(data)
        if request.internal or request.command != Command.UNANNOUNCE or to in lost:
            return False
        lost.add(to)
        return True

    world.network.drop = drop
    assert world.announce(clear=True).committed == BUCKET_SIZE
    assert len(lost) == BUCKET_SIZE
    world.network.run(10)
    assert world.lookup()[1] == {US.public_key: BUCKET_SIZE}


def test_announcement_survives_heavy_loss():
    world = World(seed=4, loss=0.2)
    assert world.announce().committed >= BUCKET_SIZE * 3 // 4
    assert set(world.lookup()[0]) == {US.public_key}


@pytest.mark.slow
def test_announcement_is_forgotten_unless_renewed(world):
    world.announce()
    world.network.run(12 * 60)
    assert world.lookup()[0]
    world.announce()
    world.network.run(12 * 60)
    assert world.lookup()[0]
    world.network.run(27 * 60)
    assert world.lookup()[0] == {}


def test_self_announced_peer_is_found_by_key(world):
    target = blake2b_256(US.public_key)
    make = partial(queries.announce, world.us, target, US, lambda: ())
    world.network.finish(world.us, lambda done: make(on_done=done))
    records = []
    world.network.finish(
        world.them,
        lambda done: queries.find_peer(
            world.them, target, on_record=lambda reply, record: records.append(record), on_done=done
        ),
    )
    assert {record.public_key for record in records} == {US.public_key}
    # And its record is among those of the topic of the same name
    found = []
    world.network.finish(
        world.them,
        lambda done: queries.lookup(
            world.them, target, on_peers=lambda reply, peers: found.extend(peers), on_done=done
        ),
    )
    assert {peer.public_key for peer in found} == {US.public_key}


def test_unknown_peer_is_not_found(world):
    records = []
    query = world.network.finish(
        world.them,
        lambda done: queries.find_peer(
            world.them, bytes(32), on_record=lambda *found: records.append(found), on_done=done
        ),
    )
    assert records == [] and query.successes >= BUCKET_SIZE


def test_record_under_the_wrong_key_is_not_believed(world):
    target = blake2b_256(US.public_key)
    for node in world.nodes:
        record = node.router.routes
        node.handlers[Command.FIND_PEER] = lambda inbound, now: inbound.reply(THEM.public_key + b"\0")
        assert len(record) == 0
    records = []
    world.network.finish(
        world.them,
        lambda done: queries.find_peer(
            world.them, target, on_record=lambda *found: records.append(found), on_done=done
        ),
    )
    assert records == []


@pytest.mark.parametrize("value", [b"\xff" * 30, b"\x05abc"])
def test_lookup_reply_that_does_not_decode_is_skipped(world, value):
    world.announce()
    for node in world.nodes[:20]:
        node.handlers[Command.LOOKUP] = lambda inbound, now: inbound.reply(value)
    assert set(world.lookup()[0]) == {US.public_key}


def _get(world, public_key, **options):
    found = []
    world.network.finish(
        world.them,
        lambda done: queries.mutable_get(
            world.them,
            public_key,
            on_record=lambda reply, record: found.append(record),
            on_done=done,
            **options,
        ),
    )
    return {(record.seq, record.value) for record in found}


def _put(world, value, seq):
    return world.network.finish(
        world.us, lambda done: queries.mutable_put(world.us, US, value, seq=seq, on_done=done)
    )


def test_mutable_value_is_found_and_replaced(world):
    assert _put(world, b"one", 1).committed == BUCKET_SIZE
    assert _get(world, US.public_key) == {(1, b"one")}
    assert _put(world, b"two", 2).committed == BUCKET_SIZE
    assert _get(world, US.public_key) == {(2, b"two")}
    assert _get(world, US.public_key, seq=3) == set()


def test_mutable_value_is_not_replaced_by_an_older_or_equal_one(world):
    _put(world, b"two", 2)
    assert _put(world, b"one", 1).committed == 0
    assert _put(world, b"other", 2).committed == 0
    assert _put(world, b"two", 2).committed == BUCKET_SIZE
    assert _get(world, US.public_key) == {(2, b"two")}


def test_immutable_value_is_found_by_its_hash(world):
    value = b"some bytes that never change"
    query = world.network.finish(world.us, lambda done: queries.immutable_put(world.us, value, on_done=done))
    assert query.committed == BUCKET_SIZE
    found = []
    world.network.finish(
        world.them,
        lambda done: queries.immutable_get(
            world.them,
            blake2b_256(value),
            on_value=lambda reply, value: found.append(value),
            on_done=done,
        ),
    )
    assert set(found) == {value}


def _stored(world, command, **fields):
    """Ask the first node to store something with a token that it gave us."""
    node = world.nodes[5]
    if "token" not in fields:
        fields["token"] = world.network.ask(
            world.us, node.here, Command.LOOKUP, target=fields["target"]
        ).token
    return node, world.network.ask(world.us, node.here, command, retries=0, **fields)


def test_announcement_signed_for_another_node_is_ignored(world):
    value = sign_announce(US, target=TOPIC, node_id=bytes(32), token=bytes(32))
    assert _stored(world, Command.ANNOUNCE, target=TOPIC, value=value)[1] is None


def test_announcement_with_a_stale_token_gets_an_error_and_a_fresh_token(world):
    _, reply = _stored(world, Command.ANNOUNCE, target=TOPIC, value=b"x", token=bytes(32))
    assert reply.error == RpcError.INVALID_TOKEN and reply.token


@pytest.mark.parametrize(
    "command", [Command.ANNOUNCE, Command.UNANNOUNCE, Command.MUTABLE_PUT, Command.IMMUTABLE_PUT]
)
def test_nothing_is_stored_without_a_token_or_with_a_garbled_value(world, command):
    assert _stored(world, command, target=TOPIC, value=b"\x05garbled")[1] is None
    assert _stored(world, command, target=TOPIC, value=b"\x05garbled", token=None)[1] is None


def test_value_under_a_foreign_target_is_ignored(world):
    put = sign_mutable(US, 1, b"value").encode()
    assert _stored(world, Command.MUTABLE_PUT, target=TOPIC, value=put)[1] is None
    assert _stored(world, Command.IMMUTABLE_PUT, target=TOPIC, value=b"value")[1] is None


@pytest.mark.parametrize(
    "command", [Command.LOOKUP, Command.FIND_PEER, Command.MUTABLE_GET, Command.IMMUTABLE_GET]
)
def test_question_without_a_target_is_ignored(world, command):
    assert world.network.ask(world.us, world.nodes[0].here, command, retries=0, value=b"\0") is None


def test_relays_kept_of_an_announcement_are_bounded(world):
    many = tuple(Address(f"88.1.2.{n}", n) for n in range(1, 30))
    assert world.announce(relays=many).committed == BUCKET_SIZE
    assert world.lookup()[0] == {US.public_key: many[:MAX_RELAYS]}


def _bump(world, bump):
    """Announce with a bump at one node; return the bump that it reports then."""
    node = world.nodes[5]
    token = world.network.ask(world.us, node.here, Command.LOOKUP, target=TOPIC).token
    value = sign_announce(US, target=TOPIC, node_id=node.own_id, token=token, bump=bump)
    assert world.network.ask(world.us, node.here, Command.ANNOUNCE, target=TOPIC, token=token, value=value)
    reply = world.network.ask(world.them, node.here, Command.LOOKUP, target=TOPIC)
    return LookupReply.decode(reply.value).bump


def test_bump_grows_and_is_not_believed_far_ahead(world):
    now = int(world.network.now * 1000)
    assert _bump(world, now) == now
    assert _bump(world, now - 1) == now
    assert _bump(world, now + 5000) == now + 5000
    assert _bump(world, now + 10 * MAX_BUMP_AHEAD_MS) == now + 5000
