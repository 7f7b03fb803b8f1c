"""The asyncio shell: sockets, timers and tasks. It holds no rule of the protocol.

    async with Corestore(disk_store(directory)) as cores, Swarm() as swarm:
        swarm.on_connection = lambda connection, _: cores.replicate(connection)
        core = cores.get(key)
        swarm.join(core.discovery_key)
        print(await core.get(0))

Names are imported when they are first used: a program that reads what it has stored loads no DHT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ..connection import Connection
    from ..swarm import PeerInfo
    from .connection import SecretConnection
    from .corestore import Corestore
    from .dht import DhtNode
    from .handshake import secure
    from .hypercore import Hypercore
    from .membership import Discovery
    from .opencore import Durable, Notice, RemotePeer
    from .server import Server
    from .swarm import Swarm
    from .udp import Endpoint
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "..connection": ("Connection",),
            "..swarm": ("PeerInfo",),
            ".connection": ("SecretConnection",),
            ".corestore": ("Corestore",),
            ".dht": ("DhtNode",),
            ".handshake": ("secure",),
            ".hypercore": ("Hypercore",),
            ".opencore": ("Durable", "Notice", "RemotePeer"),
            ".server": ("Server",),
            ".membership": ("Discovery",),
            ".swarm": ("Swarm",),
            ".udp": ("Endpoint",),
        },
    )

__all__ = [
    "Connection",
    "Corestore",
    "DhtNode",
    "Discovery",
    "Durable",
    "Endpoint",
    "Hypercore",
    "Notice",
    "PeerInfo",
    "RemotePeer",
    "SecretConnection",
    "Server",
    "Swarm",
    "secure",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
