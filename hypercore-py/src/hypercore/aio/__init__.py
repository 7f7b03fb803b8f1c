"""The asyncio shell: sockets, timers and tasks. It holds no rule of the protocol.

    async with Corestore(disk_store(directory)) as cores, Swarm(on_connection=cores.replicate) as swarm:
        core = cores.get(key)
        swarm.join(core.discovery_key)
        print(await core.get(0))

Names are imported when they are first used: a program that only reads its store loads no DHT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ..connection import Connection
    from ..swarm import PeerInfo
    from .cores.active_core import Durable, Notice, RemotePeer
    from .cores.corestore import Corestore
    from .cores.session import Hypercore
    from .dht.node import DhtNode
    from .dht.server import Server
    from .net.handshake import secure
    from .net.secret_connection import SecretConnection
    from .net.udp_socket import Endpoint
    from .swarm.peer_discovery import PeerDiscovery
    from .swarm.swarm import Swarm
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "..connection": ("Connection",),
            "..swarm": ("PeerInfo",),
            ".net.secret_connection": ("SecretConnection",),
            ".cores.corestore": ("Corestore",),
            ".dht.node": ("DhtNode",),
            ".net.handshake": ("secure",),
            ".cores.session": ("Hypercore",),
            ".cores.active_core": ("Durable", "Notice", "RemotePeer"),
            ".dht.server": ("Server",),
            ".swarm.peer_discovery": ("PeerDiscovery",),
            ".swarm.swarm": ("Swarm",),
            ".net.udp_socket": ("Endpoint",),
        },
    )

__all__ = [
    "Connection",
    "Corestore",
    "DhtNode",
    "Durable",
    "Endpoint",
    "Hypercore",
    "Notice",
    "PeerDiscovery",
    "PeerInfo",
    "RemotePeer",
    "SecretConnection",
    "Server",
    "Swarm",
    "secure",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
