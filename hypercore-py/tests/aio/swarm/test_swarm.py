"""Swarms of ours on real sockets, over a private DHT in this process."""

import asyncio
import gc
from time import monotonic

import pytest

from hypercore.aio.dht.node import DhtNode
from hypercore.aio.swarm import candidates as candidates_module
from hypercore.aio.swarm.peer_connection import Duplicate
from hypercore.aio.swarm.swarm import Swarm
from hypercore.crypto import discovery_key
from hypercore.dht.address import Address
from hypercore.dht.constants import Command, Mode
from hypercore.dht.messages import Handshake
from hypercore.dht.rpc import OutgoingRequest
from hypercore.errors import ConnectionClosed, LocalProtocolError
from hypercore.secretstream.framing import frame
from hypercore.secretstream.stream import stream_id
from hypercore.swarm import topics as topics_module
from hypercore.swarm.topics import MIN_PARALLEL
from hypercore.testing.testnet import Testnet
from hypercore.udx.packet import FLAG_DATA, Packet
from support.swarms import HIGH, LOW, TOPIC, Peer, run, until


def test_two_swarms_meet_and_part():
    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        assert await a.swarm.join(TOPIC, client=False).flushed()
        assert await b.swarm.join(TOPIC, server=False).flushed()
        await until(lambda: a.met and b.met)
        await b.swarm.flush()
        info = b.swarm.peers[LOW.public_key]
        assert info.client and info.proven and info.topics == {TOPIC}
        assert len(info.relay_addresses) == 3
        await b.swarm.close()
        await until(lambda: not a.swarm.connections)
        assert a.errors == [None], "a graceful end"
        ours, theirs = a.swarm.counts, b.swarm.counts
        assert (ours.server_opened, ours.server_closed, ours.client_attempted) == (1, 1, 0)
        assert (theirs.client_attempted, theirs.client_opened, theirs.client_closed) == (1, 1, 1)
        assert a.swarm.peers == {}

    run(scene)


def agreed(a, b):
    """Whether two peers have kept one connection, the same one, and no dial is under way."""
    if not (a.met and b.met) or a.swarm._policy.dialing or b.swarm._policy.dialing:
        return False
    ours, theirs = ([one.handshake_hash for one in peer.swarm.connections] for peer in (a, b))
    return len(ours) == 1 and ours == theirs  # one that makes way may still be listed


def test_larger_and_smaller_key_dial_at_once():
    async def scene(net, peer):
        for round in range(8):
            a, b = await peer(LOW), await peer(HIGH)
            topic = discovery_key(bytes([round + 1]) * 32)
            joins = [each.swarm.join(topic, client=False) for each in (a, b)]
            await asyncio.gather(*(join.flushed() for join in joins))
            for join in joins:
                join.set_mode(client=True)
            await until(lambda a=a, b=b: agreed(a, b))
            await asyncio.sleep(0.1)
            assert agreed(a, b), "and it stays"
            await asyncio.gather(a.swarm.close(), b.swarm.close())

    run(scene)


def test_swarms_that_join_at_the_same_moment_meet(monkeypatch):
    """Each looks before the other is announced."""
    monkeypatch.setattr(topics_module, "SECOND_LOOKUP_SECONDS", 0.5)

    async def scene(net, peer):
        swarms = [await peer() for _ in range(4)]
        for each in swarms:
            each.swarm.join(TOPIC)
        await until(lambda: all(len(each.swarm.connections) == 3 for each in swarms), 30)

    run(scene)


def test_swarms_that_join_at_the_same_moment_and_look_no_longer_meet(monkeypatch):
    """Seeders of a small key: each has it from the publisher before the other is announced."""
    monkeypatch.setattr(topics_module, "SECOND_LOOKUP_SECONDS", 0.2)

    async def scene(net, new):
        both = [await new(), await new()]
        joins = [peer.swarm.join(TOPIC, opportunistic_lookup=True) for peer in both]
        for peer, join in zip(both, joins, strict=True):
            await until(lambda peer=peer: peer.swarm._topics.schedule.topics[TOPIC].rounds)
            join.set_mode(client=False)
        await until(lambda: all(peer.swarm.connections for peer in both))

    run(scene)


def test_second_process_with_the_same_key_takes_over():
    """As after a crash: the old connection is still there when the peer dials again."""

    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        await a.swarm.join(TOPIC, client=False).flushed()
        b.swarm.join_peer(LOW.public_key)
        await until(lambda: a.met and b.met)
        twin = await peer(HIGH)
        twin.swarm.join_peer(LOW.public_key)
        await until(lambda: twin.met and a.opened == 2)
        assert isinstance(a.errors[0], Duplicate)
        assert len(a.swarm.connections) == 1

    run(scene)


def test_lost_connection_is_made_again():
    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        await a.swarm.join(TOPIC, client=False).flushed()
        await b.swarm.join(TOPIC, server=False).flushed()
        await until(lambda: a.met and b.met)
        next(iter(a.swarm.connections)).destroy()
        await until(lambda: not b.swarm.connections)
        await until(lambda: b.opened == 2 and a.met and b.met)

    run(scene)


def test_topics_are_left_one_join_at_a_time():
    async def scene(net, peer):
        a = await peer()
        node = await net.create_node()
        joins = [a.swarm.join(TOPIC), a.swarm.join(TOPIC, server=False), a.swarm.join(TOPIC, client=False)]
        await asyncio.gather(*(join.flushed() for join in joins))
        assert a.swarm.topics == 1
        for join in joins[:2]:
            await join.leave()
            await join.leave()
        assert [r.public_key for r in await node.client.lookup(TOPIC)] == [a.swarm.public_key]
        await joins[2].leave()
        assert await node.client.lookup(TOPIC) == [] and a.swarm.topics == 0
        assert await a.swarm.refreshed(TOPIC)
        joins[2].set_mode(server=True)
        assert a.swarm.topics == 0, "a join that was left stays so"

    run(scene)


def test_many_topics_are_announced_a_few_at_a_time():
    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        schedule = a.swarm._topics.schedule
        peaks = []
        start = a.swarm.node.client.start_query
        a.swarm.node.client.start_query = lambda query: (peaks.append(schedule.running), start(query))
        topics = [discovery_key(number.to_bytes(32, "big")) for number in range(100)]
        joins = [a.swarm.join(topic, client=False) for topic in topics]
        assert all(await asyncio.gather(*(join.flushed() for join in joins)))
        assert max(peaks) == MIN_PARALLEL
        found = b.swarm.join(topics[-1], server=False)
        await found.flushed()
        await until(lambda: a.met and b.met)

    run(scene)


def test_topics_are_refreshed_again_and_again(monkeypatch):
    monkeypatch.setattr(topics_module, "REFRESH_SECONDS", 0.2)
    monkeypatch.setattr(topics_module, "REFRESH_JITTER_SECONDS", 0.1)

    async def scene(net, peer):
        announced = []
        for node in net.nodes:
            store = node.core.handlers[Command.ANNOUNCE]
            node.core.handlers[Command.ANNOUNCE] = lambda inbound, now, store=store: (
                announced.append(inbound.target) or store(inbound, now)
            )
        a = await peer()
        joins = [a.swarm.join(discovery_key(bytes([n]) * 32), client=False) for n in range(3)]
        await asyncio.gather(*(join.flushed() for join in joins))
        for join in joins:
            await until(lambda join=join: announced.count(join.topic) >= 3 * len(net.nodes))

    run(scene)


def test_closing_takes_back_what_was_announced():
    async def scene(net, peer):
        a = await peer()
        node = await net.create_node()
        topics = [discovery_key(number.to_bytes(32, "big")) for number in range(100)]
        await asyncio.gather(*(a.swarm.join(topic).flushed() for topic in topics))
        await a.swarm.close(timeout=60)
        await a.swarm.close()
        for topic in topics:
            assert await node.client.lookup(topic) == []
        assert await node.client.find_peer(a.swarm.public_key) == []
        with pytest.raises(ConnectionClosed):
            a.swarm.join(TOPIC)

    run(scene)


def test_closing_does_not_wait_for_nodes_that_are_gone():
    async def scene(net, peer):
        a = await peer()
        await a.swarm.join(TOPIC).flushed()
        stop_answering(net)
        start = monotonic()
        await a.swarm.close(timeout=0.2)
        # The node's requests give up after more than three seconds
        assert 0.2 <= monotonic() - start < 2

    run(scene)


def stop_answering(net):
    """From now on the nodes of the DHT ignore what they get."""
    for node in net.nodes:
        node.endpoint._on_message = None


def test_closing_that_is_cut_short_frees_the_port_and_reports_no_error():
    async def scene(net, peer):
        reports = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        async with Swarm(bootstrap=net.bootstrap, host="127.0.0.1") as swarm:
            await swarm.join(TOPIC).flushed()
            port = swarm.node.local_port
            stop_answering(net)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(swarm.close(), 0.1)
            again = DhtNode(bootstrap=[], host="127.0.0.1", port=port)
            await again.start()
            await again.close()
        gc.collect()  # a future reports an exception that nobody has taken when it is destroyed
        assert reports == []

    run(scene)


def test_closing_ends_a_dial_that_is_under_way():
    async def scene(net, peer):
        a = await peer()
        a.swarm.join_peer(LOW.public_key)
        await asyncio.sleep(0.01)
        await a.swarm.close()
        assert not a.swarm.connections

    run(scene)


def test_swarm_has_to_be_started():
    swarm = Swarm(bootstrap=[])
    with pytest.raises(LocalProtocolError, match="not started"):
        swarm.join(TOPIC)
    asyncio.run(swarm.close())


def test_port_that_is_taken_is_an_error():
    async def scene(net, peer):
        swarm = Swarm(bootstrap=net.bootstrap, host="127.0.0.1", port=net.nodes[0].local_port)
        with pytest.raises(OSError):
            await swarm.start()
        await swarm.close()

    run(scene, nodes=1)


def test_flush_waits_for_the_dials():
    async def scene(net, peer):
        others = [await peer() for _ in range(5)]
        await asyncio.gather(*(other.swarm.join(TOPIC, client=False).flushed() for other in others))
        a = await peer()
        a.swarm.join(TOPIC, server=False)
        await a.swarm.flush()
        assert a.opened == 5

    run(scene)


def test_max_peers_limits_dialling_only():
    async def scene(net, peer):
        others = [await peer() for _ in range(4)]
        await asyncio.gather(*(other.swarm.join(TOPIC, client=False).flushed() for other in others))
        a = await peer(max_peers=2)
        a.swarm.join(TOPIC)
        await a.swarm.flush()
        assert len(a.swarm.connections) == 2
        for other in others:
            other.swarm.join_peer(a.swarm.public_key)
        await until(lambda: len(a.swarm.connections) == 4)

    run(scene)


@pytest.mark.slow
def test_swarm_that_was_offline_announces_again():
    async def play():
        async with Testnet(3) as net:
            port = net.nodes[0].local_port
            a = Peer(net.bootstrap)
            await a.swarm.start()
            await a.swarm.join(TOPIC).flushed()
        await until(lambda: not a.swarm.online, 60)
        assert a.swarm.topics == 1
        async with Testnet(3, port=port) as net:
            await until(lambda: a.swarm.online, 60)
            node = await net.create_node()
            end = monotonic() + 30
            while not await node.client.lookup(TOPIC):
                assert monotonic() < end
                await asyncio.sleep(0.1)
            [record] = await node.client.lookup(TOPIC)
            assert record.public_key == a.swarm.public_key and len(record.relay_addresses) >= 2
            await a.swarm.close()

    asyncio.run(play())


def test_join_works_before_there_is_a_network():
    """The bootstrap node comes up later: nothing is lost, it just takes until then."""

    async def play():
        probe = DhtNode(bootstrap=[], host="127.0.0.1")
        await probe.start()
        port = probe.local_port
        await probe.close()
        a = Peer([f"127.0.0.1:{port}"])
        await a.swarm.start()
        flushed = asyncio.ensure_future(a.swarm.join(TOPIC).flushed())
        await asyncio.sleep(0.2)
        async with Testnet(3, port=port) as net:
            await until(lambda: a.swarm.online and a.swarm.node.core.bootstrapped, 40)
            node = await net.create_node()
            end = monotonic() + 30
            while not await node.client.lookup(TOPIC):
                assert monotonic() < end
                await asyncio.sleep(0.1)
            await flushed
            await a.swarm.close()

    asyncio.run(play())


class Replayer:
    """A peer that knows what a relay that passed a handshake on has seen: the two Noise messages."""

    def __init__(self, node, server):
        self.node = node
        self.server = server
        self.seen = []
        handle = server._core.handshake

        def overhear(noise, client, inbound, now, *, direct):
            answer = handle(noise, client, inbound, now, direct=direct)
            self.seen.append(noise)
            return answer

        server._core.handshake = overhear

    async def again(self):
        """Send the newest handshake of a client again."""
        value = Handshake(mode=Mode.FROM_CLIENT, noise=self.seen[-1]).encode()
        host, port = self.server._context.socket.local_address
        there = Address(host, port)
        return await self.node.client.request(
            OutgoingRequest(there, Command.PEER_HANDSHAKE, target=self.server.target, value=value)
        )


def test_handshake_sent_again_by_a_relay_leaves_the_connection_alone():
    """Even with a stream header made up from what the relay saw: that proves nothing."""

    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        assert await a.swarm.join(TOPIC, client=False).flushed()
        replayer = Replayer(await net.create_node(), a.swarm._server)
        assert await b.swarm.join(TOPIC, server=False).flushed()
        await until(lambda: a.met and b.met)
        [live] = a.swarm.connections
        noise = replayer.seen[-1]
        await asyncio.sleep(0)
        # The session is forgotten, as it is 10 seconds later
        core = a.swarm._server._core
        core._sessions.discard(core._sessions.get(noise))
        assert await replayer.again() is not None
        [arrival] = a.swarm._server._arrivals.values()
        header = frame(stream_id(arrival._result.hash, is_initiator=True) + bytes(24))
        packet = Packet(FLAG_DATA, arrival.stream.local_id, 1 << 20, 0, 0, header).encode()
        replayer.node.socket.send(packet, a.swarm.node.socket.local_address)
        await until(lambda: len(a.swarm._table.candidates))
        # And then something that the peer did not encrypt
        assert a.swarm.connections == {live} and a.opened == 1
        forged = Packet(FLAG_DATA, arrival.stream.local_id, 1 << 20, 1, 0, frame(bytes(40))).encode()
        replayer.node.socket.send(forged, a.swarm.node.socket.local_address)
        await until(lambda: not len(a.swarm._table.candidates))
        assert a.swarm.connections == {live} and not live.closed and a.opened == 1
        for connection in b.swarm.connections:
            connection.send(b"still here")
        await until(lambda: b"still here" in a.heard[live])

    run(scene)


def test_peer_that_comes_again_replaces_its_connection_once_it_has_spoken():
    async def scene(net, peer):
        a = await peer(LOW)
        assert await a.swarm.join(TOPIC, client=False).flushed()
        first = await net.create_node()
        second = await net.create_node()
        old = await first.connect(LOW.public_key, key_pair=HIGH)
        old.on_message = lambda message: None
        old.send(b"one")
        await until(lambda: [b"one"] in a.heard.values())
        new = await second.connect(LOW.public_key, key_pair=HIGH)
        await until(lambda: len(a.swarm._table.candidates))
        assert not old.closed and a.opened == 1
        new.on_message = lambda message: None
        new.send(b"two")
        await until(lambda: [b"two"] in a.heard.values())
        assert len(a.swarm.connections) == 1 and a.opened == 2
        await until(lambda: old.closed)

    run(scene)


def test_connection_over_which_nothing_encrypted_comes_makes_way_and_ends(monkeypatch):
    monkeypatch.setattr(candidates_module, "CANDIDATE_SECONDS", 1.0)

    async def scene(net, peer):
        a = await peer(HIGH)  # the larger key: another connection is refused, unless the first is doubtful
        assert await a.swarm.join(TOPIC, client=False).flushed()
        silent, honest = await net.create_node(), await net.create_node()
        fake = await silent.connect(HIGH.public_key, key_pair=LOW)
        await until(lambda: a.opened == 1)
        real = await honest.connect(HIGH.public_key, key_pair=LOW)
        real.on_message = lambda message: None
        real.send(b"it is me")
        await until(lambda: [b"it is me"] in a.heard.values())
        assert a.opened == 2 and len(a.swarm.connections) == 1
        real.close()
        await until(lambda: not a.swarm.connections)
        again = await silent.connect(HIGH.public_key, key_pair=LOW)
        await until(lambda: a.opened == 3)
        await until(lambda: not a.swarm.connections)
        fake.destroy()
        again.destroy()

    run(scene)


@pytest.mark.slow
def test_a_swarm_without_topics_listens_under_its_key_and_refuses_addresses():
    async def scene(net, peer):
        refused = set()
        a, b = await peer(LOW, refuses_host=refused.__contains__), await peer(HIGH)
        await a.swarm.listening()
        refused.add("127.0.0.1")
        b.swarm.join_peer(LOW.public_key)
        await until(lambda: b.swarm.counts.client_attempted >= 1 and not b.swarm._policy.dialing)
        assert not a.opened and not b.opened
        refused.clear()
        await until(lambda: a.met and b.met)

    run(scene)
