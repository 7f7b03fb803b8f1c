"""Our DHT nodes on one host of a lab of networks: the same commands as tests/peers/natpeer.js.

python -m tests.support.nat_peer HOST:PORT …
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic
from typing import Any

from hypercore.aio.dht import reachability
from hypercore.aio.dht.node import DhtNode
from hypercore.aio.dht.server import Server
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.errors import HypercoreError


class NatPeer:
    """Nodes by name."""

    def __init__(self, bootstrap: list[str]) -> None:
        self._bootstrap = bootstrap
        self._nodes: dict[str, asyncio.Task[DhtNode]] = {}
        self._servers: list[Server] = []
        self._accepted: list[SecretConnection] = []

    async def open(self, name: str) -> dict[str, Any]:
        node = await self._node(name)
        return {"host": node.host, "port": node.port, "firewalled": node.firewalled}

    async def serve(self, name: str, relay: str | None = None) -> dict[str, Any]:
        node = await self._node(name)
        node.relay_through = None if relay is None else bytes.fromhex(relay)
        server = await node.listen(node.key_pair, self._echo)
        self._servers.append(server)
        return {"key": server.public_key.hex()}

    async def connect(
        self, name: str, key: str, relay: str | None = None, size: int = 50_000, seconds: float = 60.0
    ) -> dict[str, Any]:
        node = await self._node(name)
        node.relay_through = None if relay is None else bytes.fromhex(relay)
        start = monotonic()
        connection: SecretConnection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = await node.connect(bytes.fromhex(key))
                ms = (monotonic() - start) * 1000
                await _send_and_hear_back(connection, size)
        except TimeoutError:
            return {"failed": f"nothing in {seconds:g} s"}
        except HypercoreError as error:
            where = "" if connection is None else f" (at {connection.remote_address})"
            return {"failed": f"{type(error).__name__}: {error}{where}"}
        assert connection.remote_address is not None
        host, port = connection.remote_address
        way = connection.way
        connection.close()
        return {"ms": round(ms), "host": host, "port": port, "way": way}

    async def way(self) -> dict[str, Any]:
        """How the client reached us that came last."""
        return {"way": self._accepted[-1].way}

    def _echo(self, connection: SecretConnection) -> None:
        self._accepted.append(connection)
        connection.on_message = connection.send

    async def close(self) -> None:
        for task in self._nodes.values():
            await (await task).close(timeout=0.0)

    def _node(self, name: str) -> asyncio.Task[DhtNode]:
        if name not in self._nodes:
            self._nodes[name] = asyncio.ensure_future(self._start())
        return self._nodes[name]

    async def _start(self) -> DhtNode:
        node = DhtNode(bootstrap=self._bootstrap, port=None)
        await node.start()
        await node.bootstrapped(timeout=20)
        await node.test_reachability()  # which it does itself, a few seconds later
        return node


async def _send_and_hear_back(connection: SecretConnection, size: int) -> None:
    missing = size
    done = asyncio.get_running_loop().create_future()

    def heard(message: bytes | bytearray | memoryview) -> None:
        nonlocal missing
        missing -= len(message)
        if missing <= 0 and not done.done():
            done.set_result(None)

    def closed(error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error or HypercoreError("the connection closed early"))

    connection.on_message, connection.on_close = heard, closed
    connection.send(bytes(size))
    await done


def _emit(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def _main(bootstrap: list[str]) -> None:
    peer = NatPeer(bootstrap)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    running: set[asyncio.Task[None]] = set()

    async def run(id: int, cmd: str, **arguments: Any) -> None:
        try:
            result = await getattr(peer, cmd)(**arguments)
        except Exception as error:
            result = {"error": repr(error)}
        _emit({"reply": id, **result})

    _emit({"event": "ready"})
    while (line := await lines.readline()) and (message := json.loads(line))["cmd"] != "stop":
        task = asyncio.ensure_future(run(**message))
        running.add(task)
        task.add_done_callback(running.discard)
    await peer.close()


if __name__ == "__main__":
    reachability.WAIT_SECONDS = 0.4  # nobody is far away in a lab
    asyncio.run(_main(sys.argv[1:]))
