"""The gateway: open drives behind a unix socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from hypercore.dht.address import BootstrapNode

from .connection import Connection
from .drives import Drives
from .network import Network
from .protocol import MAX_LINE
from .slots import Slots

MAX_CONNECTIONS: Final = 256
"""Connections of the web process; more are closed at once. Ours."""
SOCKET_MODE: Final = 0o600

log = logging.getLogger(__name__)


class Gateway:
    """The gateway's sockets, swarm and open drives. Made by `running_gateway`."""

    def __init__(self, drives: Drives, slots: Slots) -> None:
        self.drives = drives
        self.slots = slots
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends, or close it at once beyond MAX_CONNECTIONS."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= MAX_CONNECTIONS:
                await self._until_left(Connection(self.drives, self.slots, reader, writer), writer)
        except Exception:
            log.exception("a connection failed")
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _until_left(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        """Reading ends when the client leaves, also while a block is awaited."""
        reading = asyncio.create_task(connection.run())
        left = asyncio.create_task(writer.wait_closed())
        try:
            await asyncio.wait((reading, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            left.cancel()
            await asyncio.gather(reading, left, return_exceptions=True)
        if not reading.cancelled() and (error := reading.exception()) is not None:
            raise error

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream that ends in both directions when the client closes its end."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(asyncio.StreamReader(limit=MAX_LINE), gateway.serve)

    def eof_received(self) -> bool:
        super().eof_received()
        return False


@asynccontextmanager
async def running_gateway(
    socket: Path, *, directories: Sequence[Path], bootstrap: Sequence[BootstrapNode], host: str = "0.0.0.0"
) -> AsyncIterator[Gateway]:
    """Context manager: a gateway that listens on `socket`. Raises OSError."""
    network = Network(bootstrap, host=host)
    drives = Drives(network, directories)
    gateway = Gateway(drives, Slots())
    _remove(socket)
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Protocol(gateway), socket)
    _protect(socket)
    closing = asyncio.create_task(drives.run())
    try:
        yield gateway
    finally:
        server.close()
        closing.cancel()
        await gateway.close()
        await drives.close()
        await network.close()
        _remove(socket)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def _protect(socket: Path) -> None:
    socket.chmod(SOCKET_MODE)
