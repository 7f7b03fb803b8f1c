"""Official peers and a node of ours that is behind a NAT which lets in only whom it has sent something to."""

import asyncio

import pytest

from hypercore.crypto import KeyPair
from support.natted import natted_node
from support.official_dht import Inbox, official, send_and_hear_back, until

pytestmark = pytest.mark.interop

SEED = "51" * 32
OUR_KEYS = KeyPair.from_seed(b"\x71" * 32)


def run(scene, public_host):
    async def play():
        async with official(5) as peers, natted_node(peers.bootstrap, public_host) as nat:
            await scene(peers, nat)

    asyncio.run(play())


@pytest.mark.parametrize(
    "opts", [{}, {"localConnection": False}, {"localConnection": False, "fastOpen": False}]
)
def test_official_client_gets_through_our_nat(opts):
    async def scene(peers, nat):
        inboxes = []
        server = await nat.node.listen(OUR_KEYS, lambda c: inboxes.append(Inbox(c, echo=True)))
        await peers("node", "c", seed=SEED)
        answer = await peers("connect", "c", publicKey=server.public_key.hex(), opts=opts, size=300_000)
        assert answer.get("received") == 300_000, answer
        assert (answer["host"], answer["port"]) == nat.public
        assert await inboxes[0].closed is None

    run(scene, "127.0.5.3")


@pytest.mark.parametrize("options", [{}, {"lan": False, "fast_open": False}])
def test_we_reach_the_official_server_through_our_nat(options):
    async def scene(peers, nat):
        await peers("node", "s", seed=SEED)
        server = await peers("listen", "s")
        connection = await nat.node.connect(bytes.fromhex(server["publicKey"]), **options)
        inbox = await send_and_hear_back(connection)
        connection.close()
        assert await inbox.closed is None
        await until(lambda: peers.heard("close", "s"))

    run(scene, "127.0.5.4")
