"""Our swarm and the official one on loopback: joins in any order, collisions, leaving, restarts."""

import asyncio

import pytest

from hypercore.aio.swarm.swarm import Swarm
from hypercore.crypto import KeyPair, discovery_key
from hypercore.errors import ConnectionClosed
from support.official_dht import Inbox, official, until

pytestmark = pytest.mark.interop

SMALL = "01" * 32
TOPIC = discovery_key(b"\x01" * 32)


def keys_by_size():
    """Two seeds; the first one's public key is the smaller."""
    seeds = ["01" * 32, "02" * 32]
    return sorted(seeds, key=lambda seed: KeyPair.from_seed(bytes.fromhex(seed)).public_key)


class Ours:
    """A swarm of ours that remembers its connections and answers every message."""

    def __init__(self, peers, seed="71" * 32, **options):
        self.swarm = Swarm(
            key_pair=KeyPair.from_seed(bytes.fromhex(seed)),
            bootstrap=peers.bootstrap,
            host="127.0.0.1",
            on_connection=self.on_connection,
            **options,
        )
        self.inboxes = []
        self.infos = []

    def on_connection(self, connection):
        self.inboxes.append(Inbox(connection))
        self.infos.append(self.swarm.peers[connection.remote_public_key])
        connection.send(b"hello from us")

    @property
    def key(self):
        return self.swarm.public_key.hex()

    @property
    def open(self):
        """Public keys of those we are connected to."""
        return [connection.remote_public_key.hex() for connection in self.swarm.connections]


def run(scene, nodes=5):
    """Play a scene with official peers; swarms made by `ours(...)` are closed at its end."""

    async def play():
        made = []

        async def ours(peers, **options):
            swarm = Ours(peers, **options)
            made.append(swarm.swarm)
            await swarm.swarm.start()
            return swarm

        async with official(nodes) as peers:
            try:
                await scene(peers, ours)
            finally:
                for swarm in made:
                    await swarm.close()

    asyncio.run(play())


async def met(peers, name, us, times=1):
    """Wait until the official swarm `name` and ours have talked; returns its key."""
    key = (await peers("connections", name))["keys"]
    await until(lambda: len(peers.heard("connection", name)) >= times, "the connection")
    await until(lambda: us.inboxes and b"hello" in us.inboxes[-1].received, "a message over the connection")
    return key


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize(
    ("our_mode", "their_mode"),
    [
        ({"server": True, "client": False}, {"server": False, "client": True}),
        ({"server": False, "client": True}, {"server": True, "client": False}),
        ({}, {}),
    ],
)
def test_swarms_meet_in_either_order(first, our_mode, their_mode):
    async def scene(peers, ours):
        theirs = await peers("swarm", "s", seed=SMALL)
        us = await ours(peers)
        joins = [
            lambda: us.swarm.join(TOPIC, **our_mode).flushed(),
            lambda: peers("join", "s", topic=TOPIC.hex(), **their_mode),
        ]
        server_first = our_mode.get("server", True) == (first == "ours") or not our_mode
        for join in joins if first == "ours" else reversed(joins):
            await join()
        if not server_first:
            # Whoever looked before there was anybody looks again after ten minutes: not in a test
            await (us.swarm.join(TOPIC, **our_mode).refresh() if first == "ours" else joins[1]())
            if first == "theirs":
                await peers("leave", "s", topic=TOPIC.hex())
                await joins[1]()
        await met(peers, "s", us)
        assert us.open == [theirs["publicKey"]]
        assert us.inboxes[0].received.startswith(b"hello from s")
        assert us.infos[0].public_key.hex() == theirs["publicKey"]
        dialled = us.inboxes[0].connection.is_initiator
        assert us.infos[0].client is dialled
        if our_mode:
            assert dialled is our_mode["client"]
        await asyncio.sleep(0.3)
        assert len(us.inboxes) == 1, "one connection"

    run(scene)


def test_many_topics_make_one_connection():
    topics = [discovery_key(bytes([n]) * 32) for n in range(30)]

    async def scene(peers, ours):
        await peers("swarm", "s", seed=SMALL)
        us = await ours(peers)
        discoveries = [us.swarm.join(topic, client=False) for topic in topics]
        assert us.swarm.topics == 30
        assert all(await asyncio.gather(*(discovery.flushed() for discovery in discoveries)))
        for topic in topics:
            await peers("join", "s", topic=topic.hex(), server=False)
        await peers("flush", "s")
        await met(peers, "s", us)
        await asyncio.sleep(0.3)
        assert len(us.inboxes) == 1 and len(peers.heard("connection", "s")) == 1
        await peers("node", "n", seed="05" * 32)
        for topic in topics:
            found = await peers("lookup", "n", topic=topic.hex())
            assert list(found["peers"]) == [us.key]

    run(scene)


async def stable(peers, us):
    """Wait until both sides have held the same one connection for a second; returns its inbox."""
    held, since = None, 0.0
    end = asyncio.get_running_loop().time() + 30
    while (now := asyncio.get_running_loop().time()) < end:
        theirs = (await peers("connections", "s"))["keys"]
        ours = [i for i in us.inboxes if i.connection in us.swarm.connections]
        good = theirs == [us.key] and len(ours) == 1 and len(ours[0].received) >= 25
        if not good or ours[0] is not held:
            held, since = (ours[0] if good else None), now
        elif now - since > 1:
            return held
        await asyncio.sleep(0.05)
    pytest.fail(f"no one connection: ours {us.swarm.connections}, theirs {theirs}")


@pytest.mark.parametrize("larger", ["ours", "theirs"])
def test_one_connection_survives_when_both_dial_at_once(larger):
    low, high = keys_by_size()

    async def scene(peers, ours):
        seeds = {"ours": low, "theirs": high} if larger == "theirs" else {"ours": high, "theirs": low}
        await peers("swarm", "s", seed=seeds["theirs"])
        us = await ours(peers, seed=seeds["ours"])
        for round in range(5):
            topic = discovery_key(bytes([round + 1]) * 32)
            # Both are servers first, then both begin to look at the same time
            discovery = us.swarm.join(topic, client=False)
            await discovery.flushed()
            await peers("join", "s", topic=topic.hex(), client=False)
            discovery.set_mode(client=True)
            await asyncio.gather(peers("join", "s", topic=topic.hex(), server=True), discovery.flushed())
            inbox = await stable(peers, us)
            assert b"hello from s" in inbox.received and b"hello from us" in inbox.received
            await discovery.leave()
            await peers("leave", "s", topic=topic.hex())
            for connection in list(us.swarm.connections):
                connection.close()
            await until(lambda: not us.swarm.connections)
            await until(lambda: len(peers.heard("close", "s")) == len(peers.heard("connection", "s")))

    run(scene)


def test_left_topic_is_not_found_any_more():
    async def scene(peers, ours):
        await peers("node", "n", seed="05" * 32)
        us = await ours(peers)
        stays = us.swarm.join(discovery_key(b"\x02" * 32))
        first, second = us.swarm.join(TOPIC), us.swarm.join(TOPIC)
        assert all(await asyncio.gather(*(d.flushed() for d in (stays, first, second))))
        await first.leave()
        found = await peers("lookup", "n", topic=TOPIC.hex())
        assert list(found["peers"]) == [us.key], "joined twice, left once"
        await second.leave()
        assert us.swarm.topics == 1
        found = await peers("lookup", "n", topic=TOPIC.hex())
        assert found["peers"] == {}
        found = await peers("lookup", "n", topic=stays.topic.hex())
        assert list(found["peers"]) == [us.key]
        again = us.swarm.join(TOPIC)
        assert await again.flushed()
        found = await peers("lookup", "n", topic=TOPIC.hex())
        assert list(found["peers"]) == [us.key]

    run(scene)


def test_mode_can_be_changed():
    async def scene(peers, ours):
        await peers("node", "n", seed="05" * 32)
        us = await ours(peers)
        discovery = us.swarm.join(TOPIC, server=False)
        await discovery.flushed()
        assert (await peers("lookup", "n", topic=TOPIC.hex()))["peers"] == {}
        discovery.set_mode(server=True)
        await discovery.flushed()
        assert list((await peers("lookup", "n", topic=TOPIC.hex()))["peers"]) == [us.key]
        discovery.set_mode(server=False)
        await discovery.flushed()
        assert (await peers("lookup", "n", topic=TOPIC.hex()))["peers"] == {}

    run(scene)


def test_closing_swarm_says_goodbye():
    topics = [discovery_key(bytes([n]) * 32) for n in range(40)]

    async def scene(peers, ours):
        await peers("swarm", "s", seed=SMALL)
        await peers("node", "n", seed="05" * 32)
        us = await ours(peers)
        await asyncio.gather(*(us.swarm.join(topic).flushed() for topic in topics))
        await peers("join", "s", topic=topics[0].hex())
        await met(peers, "s", us)
        start = asyncio.get_running_loop().time()
        await us.swarm.close()
        assert asyncio.get_running_loop().time() - start < 5
        await until(lambda: peers.heard("close", "s") == [us.key], "the end of the connection")
        assert await us.inboxes[0].closed is None, "it ended gracefully"
        for topic in topics:
            found = await peers("lookup", "n", topic=topic.hex())
            assert us.key not in found["peers"]
        assert (await peers("findPeer", "n", publicKey=us.key))["nodes"] == 0
        with pytest.raises(ConnectionClosed):
            us.swarm.join(TOPIC)

    run(scene)


def test_closing_is_quick_when_the_network_is_gone():
    async def play():
        async with official(3) as peers:
            us = Ours(peers)
            await us.swarm.start()
            await us.swarm.join(TOPIC).flushed()
        start = asyncio.get_running_loop().time()
        await us.swarm.close()
        assert asyncio.get_running_loop().time() - start < 5

    asyncio.run(play())


@pytest.mark.parametrize("role", ["server", "client"])
def test_official_peer_that_restarts_is_connected_to_again(role):
    mode = {"server": role == "server", "client": role == "client"}

    async def scene(peers, ours):
        us = await ours(peers)
        await us.swarm.join(TOPIC, server=not mode["server"], client=not mode["client"]).flushed()
        for round in range(2):
            await peers("swarm", "s", seed=SMALL)
            await peers("join", "s", topic=TOPIC.hex(), **mode)
            if round == 0 and role == "server":
                await us.swarm.join(TOPIC, server=False).refresh()
            await until(lambda round=round: len(us.inboxes) > round, "the connection")
            await until(lambda: b"hello" in us.inboxes[-1].received)
            await peers("destroy", "s")
            await until(lambda: not us.swarm.connections, "the disconnection")

    run(scene)


@pytest.mark.parametrize("polite", [True, False])
def test_we_are_connected_to_again_after_a_restart(polite):
    async def scene(peers, ours):
        await peers("swarm", "s", seed=SMALL)
        us = await ours(peers)
        await us.swarm.join(TOPIC, client=False).flushed()
        await peers("join", "s", topic=TOPIC.hex(), server=False)
        await met(peers, "s", us)
        if polite:
            await us.swarm.close()
        else:
            await us.swarm.node.close(timeout=0)  # as if killed: the DESTROY packets stand for a dead port
        again = await ours(peers)
        await again.swarm.join(TOPIC, client=False).flushed()
        await until(lambda: again.inboxes, "the new connection")
        await until(lambda: b"hello" in again.inboxes[-1].received)

    run(scene)


def test_banned_peer_is_refused():
    async def scene(peers, ours):
        theirs = await peers("swarm", "s", seed=SMALL)
        key = bytes.fromhex(theirs["publicKey"])
        us = await ours(peers)
        await us.swarm.join(TOPIC).flushed()
        await peers("join", "s", topic=TOPIC.hex())
        await met(peers, "s", us)
        us.swarm.ban(key)
        error = await us.inboxes[0].closed
        assert isinstance(error, ConnectionClosed)
        await us.swarm.join(TOPIC).refresh()
        await asyncio.sleep(3)  # their retry comes after one to two seconds
        assert len(us.inboxes) == 1 and us.swarm.peers[key].banned

    run(scene)


def test_firewall_refuses_before_anything_is_reported():
    async def scene(peers, ours):
        asked = []
        theirs = await peers("swarm", "s", seed=SMALL)
        us = await ours(peers, firewall=lambda key: asked.append(key.hex()) or True)
        await us.swarm.join(TOPIC).flushed()
        await peers("join", "s", topic=TOPIC.hex())
        await until(lambda: asked, "the question")
        await asyncio.sleep(0.5)
        assert set(asked) == {theirs["publicKey"]} and us.inboxes == []
        assert peers.heard("connection", "s") == []

    run(scene)


def test_peer_is_joined_by_key_without_a_topic():
    async def scene(peers, ours):
        await peers("node", "n", seed="05" * 32)
        server = await peers("listen", "n")
        us = await ours(peers)
        us.swarm.join_peer(bytes.fromhex(server["publicKey"]))
        await until(lambda: us.open == [server["publicKey"]], "the connection")
        await us.swarm.flush()

    run(scene)


def test_our_swarms_meet_among_themselves_over_official_nodes():
    async def scene(peers, ours):
        a, b, c = [await ours(peers, seed=f"{n:02x}" * 32) for n in (1, 2, 3)]
        for each in (a, b, c):
            await each.swarm.join(TOPIC).flushed()
        await until(lambda: all(len(each.swarm.connections) == 2 for each in (a, b, c)), "all to meet")
        await asyncio.gather(*(each.swarm.flush() for each in (a, b, c)))
        await asyncio.sleep(0.3)
        assert sorted(a.open) == sorted([b.key, c.key])
        assert sorted(b.open) == sorted([a.key, c.key])

    run(scene)
