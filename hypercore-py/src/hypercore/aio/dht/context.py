"""The state that the parts of a node share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar

from ...dht.address import Address
from ...dht.network_profile import NetworkProfile
from ...dht.node import DhtCore
from ...dht.punching import RandomPunches
from ...dht.work_budget import WorkBudget
from ..net.secret_connection import SecretConnection
from ..net.udp_socket import Endpoint, UdpSocket
from ..net.udx_transport import AcceptHook, StreamTransport
from .client import DhtClient

T = TypeVar("T")


class PunchListener(Protocol):
    """Waits for a single byte that gets through a NAT."""

    def punched(self, source: Address, socket: UdpSocket) -> bool:
        """A byte came from `source`. Returns whether it is the one awaited; else others are asked."""


class Spawn(Protocol):
    def __call__(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in a task that ends with the node at the latest."""


@dataclass(frozen=True, slots=True)
class NodeContext:
    """The view of a `DhtNode` that its parts have. Made by `DhtNode.start`."""

    endpoint: Endpoint
    socket: UdpSocket
    """The socket for all packets, except probes through a random NAT."""
    rng: Random
    core: DhtCore
    client: DhtClient
    spawn: Spawn
    create_stream: Callable[[AcceptHook | None], StreamTransport]
    """Makes a stream. Raises OSError when there are too many."""
    profile: Callable[[], NetworkProfile]
    """How peers can reach us now."""
    connect_directly: Callable[[bytes], Awaitable[SecretConnection]]
    """Connect to the peer with this public key, not over a blind relay. Raises HypercoreError."""
    on_network_changed: Callable[[Iterable[tuple[Address, Address]]], None]
    """Called with nodes that see us at another address than before, each with that address."""
    random_punches: RandomPunches
    """Limits the punches through random NATs at a time."""
    handshakes: WorkBudget
    """Limits the handshakes of clients that the servers of the node answer."""
    punch_listeners: set[PunchListener]
