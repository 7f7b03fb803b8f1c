"""The official end of the UDX tests, and a network between the ends that is not what it should be."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from .official_packages import official_packages

SCRIPT = Path(__file__).with_name("udx_peer.js")
ANSWER_TIMEOUT = 60.0


def block(number: int, size: int) -> bytes:
    """The same as `block` of the script."""
    return (sha256(str(number).encode()).digest() * (size // 32 + 1))[:size]


def content_hash(blocks: int, size: int) -> str:
    digest = sha256()
    for number in range(blocks):
        digest.update(block(number, size))
    return digest.hexdigest()


class Official:
    """A node process with one stream."""

    def __init__(self, process: asyncio.subprocess.Process, stream_id: int) -> None:
        self._process = process
        self._events: deque[dict[str, Any]] = deque()
        self.id = stream_id
        self.port = 0

    @classmethod
    async def start(cls, *, stream_id: int = 77, **options: Any) -> Official:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(SCRIPT),
            json.dumps({"id": stream_id, **options}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(official_packages("udx-native"))},
        )
        official = cls(process, stream_id)
        official.port = (await official.wait("ready"))["port"]
        return official

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def send(self, cmd: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"cmd": cmd, **arguments}).encode() + b"\n")

    async def wait(self, event: str) -> dict[str, Any]:
        """The next event of that name; others are kept for later."""
        for index, seen in enumerate(self._events):
            if seen["event"] == event:
                del self._events[index]
                return seen
        while True:
            seen = await self._next()
            if seen["event"] == event:
                return seen
            self._events.append(seen)

    async def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_TIMEOUT)
        if not line:
            raise AssertionError(f"the official peer is gone; it had said {list(self._events)}")
        seen: dict[str, Any] = json.loads(line)
        return seen

    async def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


class BadNetwork(asyncio.DatagramProtocol):
    """A relay on loopback between two addresses that drops, repeats and reorders, as its seed says."""

    def __init__(self, seed: int, loss: float, disorder: float) -> None:
        self._random = Random(seed)
        self._loss = loss
        self._disorder = disorder
        self._transport: asyncio.DatagramTransport | None = None
        self.ends: tuple[tuple[str, int], tuple[str, int]] | None = None
        self.dropped = 0

    @classmethod
    async def start(cls, seed: int, *, loss: float, disorder: float) -> BadNetwork:
        loop = asyncio.get_running_loop()
        _, network = await loop.create_datagram_endpoint(
            lambda: cls(seed, loss, disorder), local_addr=("127.0.0.1", 0)
        )
        return network

    @property
    def address(self) -> tuple[str, int]:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return host, port

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.ends is not None and self._transport is not None
        target = self.ends[1] if addr == self.ends[0] else self.ends[0]
        chance = self._random.random()
        if chance < self._loss:
            self.dropped += 1
            return
        if chance < self._loss + self._disorder:
            loop = asyncio.get_running_loop()
            loop.call_later(0.003, self._transport.sendto, data, target)
            if chance < self._loss + self._disorder / 2:
                return
        self._transport.sendto(data, target)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()
