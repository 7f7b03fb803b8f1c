"""Driving the official nodes and swarms of dht_peers.js."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from .official_packages import official_packages

SCRIPT = Path(__file__).with_name("dht_peers.js")
TIMEOUT = 30.0
"""Seconds within which anything must have happened."""


class Official:
    """A process with official peers in it."""

    def __init__(self, process, bootstrap):
        self.process = process
        self.bootstrap = bootstrap
        self.events = []
        self._ids = count(1)
        self._answers = {}
        self._reader = asyncio.ensure_future(self._read())

    async def __call__(self, cmd, name=None, **options):
        """Give a command; returns the answer, without its id."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "cmd": cmd, "name": name, **options}
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await asyncio.wait_for(answer, TIMEOUT)

    def heard(self, event, name):
        """Public keys of all events of a kind so far."""
        return [e["publicKey"] for e in self.events if e["event"] == event and e["name"] == name]

    async def _read(self):
        async for line in self.process.stdout:
            message = json.loads(line)
            number = message.pop("id", None)
            if number is None:
                self.events.append(message)
            elif not self._answers[number].done():
                self._answers.pop(number).set_result(message)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the official peers have died; see what they printed"))


@asynccontextmanager
async def official(where=5):
    """Official peers around a testnet of `where` nodes, or one that is somewhere (host:port)."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        str(where),
        env={**os.environ, "NODE_PATH": str(official_packages("hyperswarm"))},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))
        yield Official(process, ready["bootstrap"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(condition, what="it"):
    """Wait until `condition()` is true."""
    end = asyncio.get_running_loop().time() + TIMEOUT
    while not condition():
        if asyncio.get_running_loop().time() > end:
            pytest.fail(f"{what} did not happen within {TIMEOUT} seconds")
        await asyncio.sleep(0.02)


class Inbox:
    """What comes in on a connection, until it closes."""

    def __init__(self, connection, *, echo=False):
        self.connection = connection
        self.received = bytearray()
        self.closed = asyncio.get_running_loop().create_future()
        self._echo = echo
        connection.on_message = self._on_message
        connection.on_close = lambda error: self.closed.done() or self.closed.set_result(error)

    def _on_message(self, message):
        self.received += message
        if self._echo:
            self.connection.send(message)


async def send_and_hear_back(connection, size=300_000):
    """Send `size` bytes to a peer that echoes, and check what comes back."""
    inbox = Inbox(connection)
    data = os.urandom(size)
    for at in range(0, size, 50_000):
        connection.send(data[at : at + 50_000])
    await until(lambda: len(inbox.received) >= size, "the echo")
    assert bytes(inbox.received) == data
    return inbox
