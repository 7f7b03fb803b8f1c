"""Secret connections over real sockets on loopback, both ends in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from ..aio.net.handshake import secure
from ..aio.net.secret_connection import SecretConnection
from ..aio.net.udp_socket import Endpoint
from ..aio.net.udx_transport import StreamTransport
from ..crypto import KeyPair


class Ends(NamedTuple):
    """The two ends of one connection."""

    client: SecretConnection
    server: SecretConnection


class EndKeys(NamedTuple):
    """The key pairs of the two ends."""

    client: KeyPair
    server: KeyPair


def end_keys(number: int = 0) -> EndKeys:
    """Key pairs that no other number has, up to 255."""
    return EndKeys(*(KeyPair.from_seed(bytes([end, number]) * 16) for end in (1, 2)))


@asynccontextmanager
async def connected(keys: Sequence[EndKeys]) -> AsyncIterator[list[Ends]]:
    """A connection for each pair of keys, between the same two sockets. All end with the context."""
    endpoint = Endpoint()
    sockets = [endpoint.bind("127.0.0.1", 0) for _ in range(2)]
    ends: list[Ends] = []
    try:
        for pair in keys:
            streams = [StreamTransport(endpoint) for _ in range(2)]
            for i in range(2):
                streams[i].connect(streams[1 - i].local_id, sockets[1 - i].local_address, sockets[i])
            client, server = await asyncio.gather(
                *(secure(streams[i], is_initiator=i == 0, key_pair=pair[i]) for i in range(2))
            )
            ends.append(Ends(client, server))
        yield ends
    finally:
        for connection in (end for both in ends for end in both):
            connection.destroy()
        endpoint.close()
