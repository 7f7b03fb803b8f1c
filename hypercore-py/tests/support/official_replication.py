"""The official side of the replication tests: a node process, and our end of the streams bridged to it.

What the library leaves to a shell (reading, writing, timers, flushing) is done here in the fewest lines that
work.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypercore.core import Core, Store
from hypercore.errors import RemoteProtocolError
from hypercore.mux import Muxer
from hypercore.replication import PROTOCOL, BlockReceived, Event, ReplicationConfig, Replicator

from .official_packages import official_packages

SCRIPT = Path(__file__).with_name("replication_peer.js")
FLUSH_EVERY = 0.02
HIGH_WATER = 256 * 1024


def block(salt: str, index: int, size: int | None = None) -> bytes:
    """The same as `block` of the script."""
    length = index * 7 % 23 + 1 if size is None else size
    seed = sha256(f"{salt}:{index}".encode()).digest()
    return (seed * (length // 32 + 1))[:length]


class Official:
    """The node process with its hypercores."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self.port = 0
        self.events: list[dict[str, Any]] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, directory: Path) -> Official:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(SCRIPT),
            str(directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(official_packages("hypercore"))},
        )
        official = cls(process)
        await asyncio.wait_for(official._ready, 30)
        return official

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "reply" in message:
                self._replies.pop(message["reply"]).set_result(message)
            elif message["event"] == "ready":
                self.port = message["port"]
                self._ready.set_result(None)
            else:
                self.events.append(message)

    async def ask(self, cmd: str, **arguments: Any) -> dict[str, Any]:
        self._number += 1
        assert self._process.stdin is not None
        reply = self._replies[self._number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": self._number, "cmd": cmd, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        answer = await asyncio.wait_for(reply, 60)
        if "error" in answer:
            raise AssertionError(f"{cmd} {arguments}: {answer['error']}; events {self.events}")
        return answer

    async def stop(self) -> None:
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()
        self._reader.cancel()


class Node:
    """Our side: a store, a replicator for each of its cores, and connections to official peers."""

    def __init__(self, store: Store, *, config: ReplicationConfig | None = None) -> None:
        self.store = store
        self.config = config
        self.replicators: dict[bytes, Replicator] = {}
        self.events: list[Event] = []
        self.blocks_received = 0
        self.links: list[Link] = []
        self._timers: dict[Replicator, asyncio.TimerHandle] = {}
        self._flusher = asyncio.create_task(self._flush())
        self._woken: set[Replicator] = set()

    def replicate(self, core: Core) -> Replicator:
        """Replicate a core on all connections, present and future."""
        replicator = self.replicators.get(core.discovery_key)
        if replicator is None:
            replicator = Replicator(core, config=self.config, on_wake=lambda: self._wake(replicator))
            self.replicators[core.discovery_key] = replicator
            for link in self.links:
                replicator.attach(link.muxer, link.now())
        return replicator

    async def connect(self, official: Official, *, initiator: bool = True, **hello: str) -> Link:
        """Connect to an official core (core=name) or store (store=name)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", official.port)
        writer.write(json.dumps({"initiator": initiator, **hello}).encode() + b"\n")
        info = json.loads(await reader.readline())
        link = Link(self, reader, writer, initiator, bytes.fromhex(info["handshakeHash"]))
        self.links.append(link)
        link.muxer.on_open(PROTOCOL, lambda name, now: self._on_open(link, name, now))
        for replicator in self.replicators.values():
            replicator.attach(link.muxer, link.now())
        return link

    def _on_open(self, link: Link, name: bytes | None, now: float) -> bool:
        replicator = self.replicators.get(name or b"")
        if replicator is not None:
            replicator.attach(link.muxer, now)
        return False

    def _wake(self, replicator: Replicator) -> None:
        if not self._woken:
            asyncio.get_running_loop().call_soon(self._watch)
        self._woken.add(replicator)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        woken, self._woken = self._woken, set()
        for replicator in woken:
            while (event := replicator.next_event()) is not None:
                if isinstance(event, BlockReceived):
                    self.blocks_received += 1
                else:
                    self.events.append(event)
            timer = self._timers.pop(replicator, None)
            if timer is not None:
                timer.cancel()
            at = replicator.next_deadline()
            if at is not None:
                self._timers[replicator] = loop.call_at(at, self._on_timer, replicator)

    def _on_timer(self, replicator: Replicator) -> None:
        replicator.handle_timer(asyncio.get_running_loop().time())
        self._wake(replicator)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self.flush()

    def flush(self) -> None:
        now = asyncio.get_running_loop().time()
        for core, runs in self.store.flush():
            replicator = self.replicators.get(core.discovery_key)
            if replicator is not None:
                replicator.on_durable(runs, now)

    async def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"not in time; events {self.events}")
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._flusher.cancel()
        for link in list(self.links):
            await link.close()
        for timer in self._timers.values():
            timer.cancel()
        self.store.close()


class Link:
    """One bridged connection."""

    def __init__(
        self,
        node: Node,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        initiator: bool,
        handshake_hash: bytes,
    ) -> None:
        self.node = node
        self.error: RemoteProtocolError | None = None
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._scheduled = False
        self.paused = False
        """Nothing is sent, as if the connection were full."""
        self.muxer = Muxer(is_initiator=initiator, handshake_hash=handshake_hash, on_output=self._schedule)
        self.muxer.rtt = 0.001
        self._task = asyncio.create_task(self._run())

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def closed(self) -> bool:
        return self.muxer.closed

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self.paused:
            return
        transport = self._writer.transport
        while transport.get_write_buffer_size() < HIGH_WATER:
            messages = self.muxer.take_output(self.now())
            if not messages:
                return
            for message in messages:
                self._writer.write(struct.pack("<I", len(message)))
                self._writer.write(message)
        asyncio.get_running_loop().call_later(0.001, self._schedule)

    def resume(self) -> None:
        self.paused = False
        self._schedule()

    async def _run(self) -> None:
        try:
            while True:
                (size,) = struct.unpack("<I", await self._reader.readexactly(4))
                self.muxer.receive(await self._reader.readexactly(size), self.now())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except RemoteProtocolError as error:
            self.error = error
        finally:
            self.muxer.shutdown(self.now())
            self.node.links.remove(self)
            self._writer.close()

    async def close(self) -> None:
        self._writer.close()
        await asyncio.wait([self._task])
        self._task.result()
