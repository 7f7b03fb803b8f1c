"""Our DHT node and the official one on loopback, both ways round."""

import asyncio

import pytest

from hypercore.aio.dht.node import DhtNode
from hypercore.crypto import KeyPair, discovery_key
from hypercore.errors import PeerNotFound, PeerUnreachable
from support.official_dht import Inbox, official, send_and_hear_back, until

pytestmark = pytest.mark.interop

SEED = "51" * 32
OUR_KEYS = KeyPair.from_seed(b"\x71" * 32)
TOPIC = discovery_key(b"\x01" * 32)


class Echo:
    """Takes connections and sends everything back."""

    def __init__(self):
        self.inboxes = []

    def __call__(self, connection):
        self.inboxes.append(Inbox(connection, echo=True))


async def started(peers, **options):
    node = DhtNode(bootstrap=peers.bootstrap, host="127.0.0.1", **options)
    await node.start()
    assert await node.bootstrapped(timeout=10)
    return node


def run(scene, nodes=5, **options):
    """Play a scene with official peers and a node of ours."""

    async def play():
        async with official(nodes) as peers:
            node = await started(peers, **options)
            try:
                await scene(peers, node)
            finally:
                await node.close()

    asyncio.run(play())


WAYS = {
    "the shortest way": ({}, {}),
    "through a hole": ({"lan": False}, {"localConnection": False}),
    "through a hole, not opened early": (
        {"lan": False, "fast_open": False},
        {"localConnection": False, "fastOpen": False},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_official_server_echoes_to_our_client(way):
    async def scene(peers, node):
        await peers("node", "s", seed=SEED)
        server = await peers("listen", "s")
        connection = await node.connect(bytes.fromhex(server["publicKey"]), **WAYS[way][0])
        assert connection.remote_public_key.hex() == server["publicKey"]
        inbox = await send_and_hear_back(connection)
        assert peers.heard("connection", "s") == [node.key_pair.public_key.hex()]
        connection.close()
        assert await inbox.closed is None
        await until(lambda: peers.heard("close", "s"))

    run(scene)


@pytest.mark.parametrize("way", WAYS)
def test_our_server_echoes_to_the_official_client(way):
    async def scene(peers, node):
        echo = Echo()
        server = await node.listen(OUR_KEYS, echo)
        assert len(server.relay_addresses) == 3
        await peers("node", "c", seed=SEED)
        answer = await peers(
            "connect", "c", publicKey=server.public_key.hex(), opts=WAYS[way][1], size=300_000
        )
        assert answer["received"] == 300_000, answer
        assert answer["port"] == node.local_port
        [inbox] = echo.inboxes
        assert await inbox.closed is None
        assert inbox.connection.remote_public_key == KeyPair.from_seed(bytes.fromhex(SEED)).public_key

    run(scene)


def test_our_client_that_any_peer_can_reach_is_dialled_back():
    async def scene(peers, node):
        assert node.profile().public is not None
        await peers("node", "s", seed=SEED)
        server = await peers("listen", "s")
        connection = await node.connect(bytes.fromhex(server["publicKey"]))
        await send_and_hear_back(connection)

    run(scene, firewalled=False)


def test_our_server_that_any_peer_can_reach_is_connected_to_straight():
    async def scene(peers, node):
        server = await node.listen(OUR_KEYS, Echo())
        assert server.relay_addresses[0].port == node.local_port
        await peers("node", "c", seed=SEED)
        for opts in ({}, {"localConnection": False}):
            answer = await peers("connect", "c", publicKey=server.public_key.hex(), opts=opts, size=1000)
            assert answer.get("received") == 1000 and answer["port"] == node.local_port, answer

    run(scene, firewalled=False)


def test_many_clients_at_once():
    async def scene(peers, node):
        echo = Echo()
        server = await node.listen(OUR_KEYS, echo)
        names = [f"c{i}" for i in range(8)]
        await asyncio.gather(*(peers("node", name, seed=f"{i + 1:02x}" * 32) for i, name in enumerate(names)))
        answers = await asyncio.gather(
            *(peers("connect", name, publicKey=server.public_key.hex(), size=100_000) for name in names)
        )
        assert [answer.get("received") for answer in answers] == [100_000] * 8
        assert len({inbox.connection.remote_public_key for inbox in echo.inboxes}) == 8

    run(scene)


def test_we_connect_again_over_the_relays_that_worked():
    async def scene(peers, node):
        await peers("node", "s", seed=SEED)
        key = bytes.fromhex((await peers("listen", "s"))["publicKey"])
        for _ in range(3):
            connection = await node.connect(key)
            inbox = await send_and_hear_back(connection, 1000)
            connection.close()
            await inbox.closed
        assert len(peers.heard("connection", "s")) == 3

    run(scene)


def test_key_that_no_peer_announced_is_not_found():
    async def scene(peers, node):
        with pytest.raises(PeerNotFound):
            await node.connect(OUR_KEYS.public_key)
        with pytest.raises(PeerUnreachable):
            await node.connect(b"\x07" * 32)  # no point of the curve

    run(scene)


def test_server_that_refuses_us_cannot_be_reached():
    async def scene(peers, node):
        await peers("node", "s", seed=SEED)
        server = await peers("listen", "s", refuse=node.key_pair.public_key.hex())
        with pytest.raises(PeerUnreachable):
            await node.connect(bytes.fromhex(server["publicKey"]))
        assert peers.heard("connection", "s") == []

    run(scene)


def test_client_that_we_refuse_does_not_get_through():
    async def scene(peers, node):
        echo = Echo()
        refused = KeyPair.from_seed(bytes.fromhex(SEED)).public_key
        server = await node.listen(OUR_KEYS, echo, firewall=lambda key, payload, address: key == refused)
        await peers("node", "c", seed=SEED)
        answer = await peers("connect", "c", publicKey=server.public_key.hex())
        assert answer == {"error": "PEER_CONNECTION_FAILED"} and echo.inboxes == []

    run(scene)


def test_closed_server_is_unannounced_and_can_listen_again():
    async def scene(peers, node):
        await peers("node", "c", seed=SEED)
        for _ in range(2):
            server = await node.listen(OUR_KEYS, Echo())
            found = await peers("findPeer", "c", publicKey=OUR_KEYS.public_key.hex())
            assert found["nodes"] == 3
            await server.close()
            found = await peers("findPeer", "c", publicKey=OUR_KEYS.public_key.hex())
            assert found["nodes"] == 0
        answer = await peers("connect", "c", publicKey=OUR_KEYS.public_key.hex())
        assert answer["error"] in ("PEER_NOT_FOUND", "PEER_CONNECTION_FAILED")

    run(scene)


def test_our_announcement_is_found_by_official_nodes_until_taken_back():
    async def scene(peers, node):
        server = await node.listen(OUR_KEYS, Echo())
        await peers("node", "c", seed=SEED)
        # The first node of a testnet has no id: it routes, and stores nothing
        assert await node.client.announce(TOPIC, OUR_KEYS, server.relay_addresses) == 4
        found = await peers("lookup", "c", topic=TOPIC.hex())
        assert found["peers"] == {OUR_KEYS.public_key.hex(): 3}
        await node.client.unannounce(TOPIC, OUR_KEYS)
        found = await peers("lookup", "c", topic=TOPIC.hex())
        assert found["peers"] == {}

    run(scene)


def test_official_announcement_is_found_by_us():
    async def scene(peers, node):
        await peers("node", "s", seed=SEED)
        await peers("announce", "s", topic=TOPIC.hex())
        [record] = await node.client.lookup(TOPIC)
        assert record.public_key == KeyPair.from_seed(bytes.fromhex(SEED)).public_key

    run(scene)


def test_values_are_read_both_ways():
    async def scene(peers, node):
        await peers("node", "n", seed=SEED)
        put = await peers("mutablePut", "n", value="theirs", seq=3)
        record = await node.client.mutable_get(bytes.fromhex(put["publicKey"]))
        assert (record.value, record.seq) == (b"theirs", 3)
        assert await node.client.mutable_put(OUR_KEYS, b"ours", seq=7) == 4
        got = await peers("mutableGet", "n", publicKey=OUR_KEYS.public_key.hex())
        assert got == {"value": "ours", "seq": 7}
        put = await peers("immutablePut", "n", value="stone")
        assert await node.client.immutable_get(bytes.fromhex(put["hash"])) == b"stone"
        assert await node.client.immutable_put(b"rock") == 4
        assert await node.client.immutable_get(bytes(32)) is None

    run(scene)


def test_server_survives_the_loss_of_its_relays():
    """The nodes that relay to us die; others take their place, and clients still get through."""

    async def play():
        async with official(5) as first, official(first.bootstrap[0]) as peers:
            # Relays of our own making, that can be killed
            nodes = [
                DhtNode(bootstrap=first.bootstrap, host="127.0.0.1", ephemeral=False, firewalled=False)
                for _ in range(4)
            ]
            for each in nodes:
                await each.start()
                await each.bootstrapped(timeout=10)
            node = await started(first)
            server = await node.listen(OUR_KEYS, Echo())
            ours = {each.local_port: each for each in nodes}
            doomed = [ours[a.port] for a in server.relay_addresses if a.port in ours]
            before = server.relay_addresses
            for each in doomed or nodes[:1]:
                await each.close()
            if doomed:
                await until(
                    lambda: not {a.port for a in server.relay_addresses} & {e.local_port for e in doomed}
                )
                assert server.relay_addresses != before
            await peers("node", "c", seed=SEED)
            answer = await peers("connect", "c", publicKey=OUR_KEYS.public_key.hex(), size=1000)
            assert answer.get("received") == 1000, answer
            await node.close()
            for each in nodes:
                await each.close()

    asyncio.run(play())
