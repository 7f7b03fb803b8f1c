"""Swarms of ours on real sockets: how many peers, which make way, and who is kept out."""

import asyncio
from time import monotonic

from hypercore.aio.swarm import topic_refresher as discovery_module
from hypercore.aio.swarm.peer_connection import Crowded
from hypercore.codec import Writer
from hypercore.dht.constants import Command
from hypercore.dht.messages import PeerRecord
from hypercore.errors import ConnectionClosed
from hypercore.swarm import bans as misbehaviour_module
from hypercore.swarm import extra_dials as extra_dials_module
from hypercore.swarm import policy as policy_module
from hypercore.swarm import slots as slots_module
from support.swarms import HIGH, LOW, TOPIC, run, until


def test_idle_peers_that_were_announced_first_do_not_keep_us_from_the_publisher(monkeypatch):
    """Peers of the topic that are connected and say nothing take all places; the one that has what we want is
    dialled all the same, and an idle one makes way for the next."""
    monkeypatch.setattr(extra_dials_module, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(extra_dials_module, "EXTRA_SECONDS", 0.5)
    monkeypatch.setattr(policy_module, "CHECK_SECONDS", 0.05)

    async def scene(net, peer):
        other_peers = [await peer() for _ in range(4)]
        for other_peer in other_peers:
            other_peer.swarm._table._on_connection = None
        await asyncio.gather(*(each.swarm.join(TOPIC, client=False).flushed() for each in other_peers))
        fed = set()
        a = await peer(max_peers=2, lacks_peers=lambda topic: not fed)
        join = a.swarm.join(TOPIC, server=False)
        await a.swarm.flush()
        publisher = await peer(HIGH)
        await publisher.swarm.join(TOPIC, client=False).flushed()
        await join.refresh()
        await until(lambda: publisher.met)
        fed.add(publisher)
        assert any(isinstance(error, Crowded) for error in a.errors) or len(a.swarm.connections) <= 3

    run(scene)


def test_a_peer_that_dials_us_beyond_the_bound_is_refused_until_there_is_room():
    async def scene(net, peer):
        a = await peer(max_incoming=2)
        await a.swarm.join(TOPIC, client=False).flushed()
        first, second, third = [await peer() for _ in range(3)]
        for each in (first, second):
            each.swarm.join_peer(a.swarm.public_key)
            await until(lambda each=each: each.met)
        third.swarm.join_peer(a.swarm.public_key)
        await until(lambda: a.swarm.slots.rejected)
        assert len(a.swarm.connections) == len(a.swarm.slots) == 2
        assert not third.swarm.connections
        await first.swarm.close()
        await until(lambda: len(a.swarm.slots) == 1)
        fourth = await peer()
        fourth.swarm.join_peer(a.swarm.public_key)
        await until(lambda: fourth.met)

    run(scene)


def test_a_silent_peer_makes_way_for_a_new_peer(monkeypatch):
    monkeypatch.setattr(slots_module, "SILENCE", 0.5)

    async def scene(net, peer):
        a = await peer(max_incoming=1)
        await a.swarm.join(TOPIC, client=False).flushed()
        first, second = await peer(), await peer()
        first.swarm.join_peer(a.swarm.public_key)
        await until(lambda: first.met)
        a.swarm.slots.admit("elsewhere", monotonic())  # takes note of what was said so far
        await asyncio.sleep(0.6)
        second.swarm.join_peer(a.swarm.public_key)
        await until(lambda: second.met)
        assert isinstance(a.errors[0], Crowded)
        assert a.errors[0].code == "TOO_MANY_CONNECTIONS"

    run(scene)


def test_refused_peer_neither_comes_in_nor_is_dialled():
    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH, firewall=lambda key: key == LOW.public_key)
        await a.swarm.join(TOPIC).flushed()
        await b.swarm.join(TOPIC).flushed()
        a.swarm.join_peer(HIGH.public_key)
        await until(lambda: LOW.public_key in b.swarm.peers and b.swarm.peers[LOW.public_key].banned)
        await asyncio.sleep(0.5)
        assert a.opened == b.opened == 0

    run(scene)


def test_banning_ends_the_connection():
    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        await a.swarm.join(TOPIC).flushed()
        await b.swarm.join(TOPIC).flushed()
        await until(lambda: a.met and b.met)
        a.swarm.ban(HIGH.public_key)
        assert not a.swarm.connections and isinstance(a.errors[0], ConnectionClosed)
        await until(lambda: not b.swarm.connections)

    run(scene)


def test_a_peer_that_offended_is_let_go_and_taken_again_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(misbehaviour_module, "EXCLUSIONS", (1.0,))

    async def scene(net, peer):
        a, b = await peer(LOW), await peer(HIGH)
        await a.swarm.join(TOPIC).flushed()
        await b.swarm.join(TOPIC).flushed()
        await until(lambda: a.met and b.met)
        taken, take = [], a.swarm._table._on_connection
        a.swarm._table._on_connection = lambda *args: (taken.append(monotonic()), take(*args))
        over = monotonic() + 1.0
        assert a.swarm.report_misbehaviour(HIGH.public_key) == 1.0
        assert not a.swarm.connections
        b.swarm.join_peer(LOW.public_key)
        await until(lambda: taken)
        assert taken[0] >= over

    run(scene)


def test_peers_taken_from_one_refresh_are_bounded(monkeypatch):
    monkeypatch.setattr(discovery_module, "MAX_PEERS_PER_REFRESH", 50)

    async def scene(net, peer):
        number = iter(range(10**6))

        def lie(inbound, now):
            records = [PeerRecord(public_key=next(number).to_bytes(32, "big")).encode() for _ in range(40)]
            inbound.reply(bytes(Writer().array(records, Writer.raw).uint(0)))

        for node in net.nodes:
            node.core.handlers[Command.LOOKUP] = lie
        a = await peer()
        found = []
        a.swarm._policy.peer_found = lambda *args: found.append(args)
        await a.swarm.join(TOPIC, server=False).flushed()
        assert len(found) == 50

    run(scene)
