"""A node of the DHT with all its parts and no network: what the datagram of any host can reach."""

from __future__ import annotations

from .._types import Random
from ..crypto import KeyPair
from ..dht.address import Address
from ..dht.constants import Firewall
from ..dht.handshake_router import Router
from ..dht.network_profile import NetworkProfile
from ..dht.node import DhtCore
from ..dht.record_store import Store
from ..dht.relays import AnnouncedRelays
from ..dht.server_core import ServerCore

HERE = Address("77.0.0.1", 49737)
SERVER = KeyPair.from_seed(b"\x01" * 32)


class ServingNode:
    """A persistent node at HERE that stores, relays, and serves the key of SERVER."""

    def __init__(self, rng: Random) -> None:
        self.now = 0.0
        self.core = DhtCore(rng=rng, now=0.0, address=HERE)
        assert self.core.own_id is not None
        router = Router(0.0)
        store = Store(own_id=self.core.own_id, router=router, rng=rng, now=0.0, wall_clock=lambda: 0.0)
        self.core.handlers |= router.handlers() | store.handlers()
        self.server = ServerCore(
            SERVER,
            relays=AnnouncedRelays(),
            profile=lambda: NetworkProfile(firewall=Firewall.CONSISTENT, seen=(HERE,)),
            open_stream=lambda session: 7,
            random_bytes=rng.randbytes,
        )
        router.servers[self.server.target] = self.server
        self.core.ping(Address("78.0.0.1", 1), 0.0)

    def feed(self, data: bytes, source: Address) -> None:
        """A datagram from `source`, half a second after the one before."""
        self.now += 0.5
        self.core.receive((data, source), self.now)
        self.server.punch_received(source, self.now)
        self.core.handle_timer(self.now)
        self.server.handle_timer(self.now)
        self.core.take_output(self.now)
