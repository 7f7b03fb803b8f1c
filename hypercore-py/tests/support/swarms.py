"""Swarms over a private DHT in this process."""

import asyncio
from time import monotonic

from hypercore.aio.swarm.swarm import Swarm
from hypercore.crypto import KeyPair, discovery_key
from hypercore.testing.testnet import Testnet

TOPIC = discovery_key(b"\x01" * 32)
LOW, HIGH = sorted(KeyPair.from_seed(bytes([n]) * 32) for n in (1, 2))


async def until(condition, seconds=20.0):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


class Peer:
    """A swarm, and what its connections have received."""

    def __init__(self, bootstrap, key_pair=None, **options):
        self.heard = {}
        self.opened = 0
        self.errors = []
        self.swarm = Swarm(
            bootstrap=bootstrap,
            host="127.0.0.1",
            key_pair=key_pair,
            on_connection=self.on_connection,
            **options,
        )

    def on_connection(self, connection):
        assert connection.remote_public_key in self.swarm.peers
        self.opened += 1
        self.heard[connection] = []
        connection.on_message = self.heard[connection].append
        connection.on_close = self.errors.append
        connection.send(b"hello")

    @property
    def met(self):
        """Whether there is one connection, and it works."""
        return len(self.swarm.connections) == 1 and self.heard[next(iter(self.swarm.connections))]


def run(scene, nodes=4):
    """Play a scene; `peer(...)` makes swarms that are closed at its end."""

    async def play():
        made = []

        async with Testnet(nodes) as net:

            async def peer(key_pair=None, **options):
                made.append(Peer(options.pop("bootstrap", net.bootstrap), key_pair, **options))
                await made[-1].swarm.start()
                return made[-1]

            try:
                await scene(net, peer)
            finally:
                await asyncio.gather(*(each.swarm.close() for each in made))

    asyncio.run(play())
