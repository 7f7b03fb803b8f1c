"""Stand-ins for the network, for the tests of programs that use this library (and for its own).

It imports no asyncio and reads no clock: tests move the time. Only `testnet`, which has to
be imported by name, runs real nodes on real sockets.
"""

from .memory import MemoryConnection, memory_pair
from .network import Path, Peer, Simulation

__all__ = ["MemoryConnection", "Path", "Peer", "Simulation", "memory_pair"]
