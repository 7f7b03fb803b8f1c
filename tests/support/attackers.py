"""Hundreds of hostile connections at once: `python -m tests.support.attackers --bootstrap HOST:PORT`.

Commands, one JSON object a line (see `Attackers`), are answered like those of the official peers. Every
connection repeats one kind of attack; when it is cut off, another one takes its place. A batch of messages
ends with a request for a block that does not exist: its refusal shows that the engine took the batch in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sys
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.dht.node import DhtNode
from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.codec import Reader, Writer, encode_uint
from hypercore.crypto import KeyPair, discovery_key
from hypercore.dht.address import Address
from hypercore.drive.blockmap import MapEntry, encode_block_map
from hypercore.errors import HypercoreError
from hypercore.mux import CloseReason, Muxer
from hypercore.replication import PROTOCOL
from hypercore.replication.config import MAX_BACKLOG
from hypercore.wire.control import BitfieldMessage, Cancel, NoData, Range, Sync, Unwant, Want
from hypercore.wire.data import Data, DataBlock
from hypercore.wire.handshake import ChannelHandshake, capability
from hypercore.wire.registry import Message
from hypercore.wire.request import Request, RequestBlock

from ..workers.engine.fakes import WriterOfDrive

FAR = 2**53 - 2
"""About the largest block number that the protocol can say."""

MESSAGES_AHEAD, BYTES_AHEAD = 300, 32_768
"""Sent by a connection before it waits until the engine has taken them in: few enough bytes to be kept, and
work for much longer than it takes to send them."""

VOLLEY_SECONDS = 10.0
"""Seconds until all attackers must have sent that; until then their process is not niced."""

NICENESS = 10
"""The computer of an attacker takes no time of ours: these attackers have what the others leave, but
enough to go on with on a busy machine."""

REDIAL_SECONDS = 0.5
"""Until a connection that was cut off has a successor."""

OPENS = 100
"""Channels of a connection that wait for the engine's decision."""

PAGE_BYTES = 4096
PAGE_BITS = 8 * PAGE_BYTES


class Hostile:
    """A connection with one channel of the core `key`."""

    def __init__(self, connection: SecretConnection, key: bytes, taken: Counter[str], kind: str) -> None:
        self.connection = connection
        self.key = key
        self.closed = False
        self.ready = False
        """It has sent as much as it may at a time."""
        self.kind = kind
        self._taken = taken
        self._changed = asyncio.Event()
        self._number = 0
        self._waiting: dict[int, Script] = {}
        """Number of the last request in a batch -> the batch."""
        self._messages = self._bytes = 0
        """Of these."""
        self.muxer = Muxer(
            is_initiator=connection.is_initiator,
            handshake_hash=connection.handshake_hash,
            on_output=self._flush_soon,
        )
        connection.on_close = self._closed
        connection.on_drain = self._changed.set
        connection.on_message = self._on_message

    async def open(self) -> None:
        self.channel = self.muxer.create_channel(PROTOCOL, discovery_key(self.key), self)
        w = Writer()
        connection = self.connection
        ChannelHandshake(
            capability=capability(
                self.key, connection.handshake_hash, sender_is_initiator=connection.is_initiator
            )
        ).encode(w)
        self.channel.open(bytes(w), monotonic())
        while not self.over and not self.channel.opened:
            await self.changed()

    def send(self, entries: bytes) -> None:
        """One message with these entries on the channel."""
        self.connection.send(b"\0\0" + encode_uint(self.channel.local_id) + entries)

    async def storm(self, script: Script) -> None:
        """Send the batch, and wait while too many messages, or bytes, are not taken in."""
        self._number += 1
        last = Request(id=self._number, fork=0, block=RequestBlock(FAR, 0))
        self._waiting[self._number] = script
        self._count(script, 1)
        self.send(script.entries + entry(last))
        while (self._messages >= MESSAGES_AHEAD or self._bytes >= BYTES_AHEAD) and not self.over:
            self.ready = True
            await self.changed()

    def _count(self, script: Script, times: int) -> None:
        self._messages += (script.messages + 1) * times
        self._bytes += len(script.entries) * times

    async def changed(self) -> None:
        """Something came from the engine, or it takes more, or the end."""
        self._changed.clear()
        await self._changed.wait()

    @property
    def over(self) -> bool:
        """The engine has closed the channel, or the connection."""
        return self.closed or self.channel.closed

    @property
    def sending(self) -> bool:
        """It has not sent yet what it may, or not all of it has reached the engine."""
        return not self.ready or (not self.closed and self.connection.unsent_bytes > 0)

    def took(self, messages: int) -> None:
        self._taken[self.kind] += messages

    # --- from the connection ------------------------------------------------------------------------------

    def _on_message(self, message: bytes) -> None:
        self.muxer.receive(message, monotonic())

    def _flush_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if not self.closed:
            self.connection.send_many(self.muxer.take_output(monotonic()))

    def _closed(self, error: Exception | None) -> None:
        self.closed = True
        self._changed.set()
        self.muxer.shutdown(monotonic())

    # --- from the channel ---------------------------------------------------------------------------------

    def channel_opened(self, handshake: Reader, now: float) -> None:
        self._changed.set()

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        if type_id == NoData.type_id:
            script = self._waiting.pop(NoData.decode(message).request, None)
            if script is not None:
                self._count(script, -1)
                self.took(script.messages + 1)
                self._changed.set()

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.took(reason is CloseReason.REJECTED)
        self._changed.set()

    def channel_flush(self, now: float) -> None: ...

    def channel_writable(self, now: float) -> None: ...


def entry(frame: Message) -> bytes:
    """A frame as an entry of a batch."""
    w = Writer()
    w.uint(frame.type_id)
    frame.encode(w)
    return encode_uint(len(w.data)) + w.data


class Script(NamedTuple):
    """Messages of a batch, encoded once, since they are to cost the engine more than the attackers."""

    messages: int
    entries: bytes


def script(*frames: Message) -> Script:
    return Script(len(frames), b"".join(map(entry, frames)))


# --- kinds of attack ----------------------------------------------------------------------------------------

ALL, NONE = Range(start=0, length=FAR), Range(drop=True, start=1, length=1)
REGIONS = [(size * number, size) for size in (32, 64, 128, 2**21) for number in range(6)]
ASKED = [Request(id=2**40 + n, fork=0, block=RequestBlock(FAR - n, 0)) for n in range(30)]

STORMS = {
    "ranges": script(*(ALL, NONE) * 4),
    "scattered": script(*(Range(start=random.randrange(2**30) * PAGE_BITS, length=1) for _ in range(50))),
    "wants": script(*(kind(start=start, length=size) for start, size in REGIONS for kind in (Want, Unwant))),
    "syncs": script(*(Sync(fork=0, length=random.randrange(1, 180), remote_length=0) for _ in range(50))),
    "bitfields": script(
        BitfieldMessage(start=PAGE_BITS, words=os.urandom(PAGE_BYTES)),
        *(BitfieldMessage(start=0, words=bytes(4)), ALL) * 20,
    ),
    "refused": script(*ASKED, *(Cancel(request=each.id) for each in ASKED[::2])),
    "repeats": script(*(Request(id=2**40 + n, fork=0, block=RequestBlock(0, 0)) for n in range(40))),
    "proofs": script(*(Data(request=0, fork=0, block=DataBlock(3, bytes(1000), [])),) * 20),
}
"""Everything announced and one block dropped; single blocks in far places; subscriptions and their ends;
another head each time; pages of noise; requests for blocks that do not exist, half of them cancelled;
requests for one block again and again; blocks without a request."""


async def storm(peer: Hostile) -> None:
    while not peer.over:
        await peer.storm(STORMS[peer.kind])


async def unread(peer: Hostile) -> None:
    """Ask for everything, and read nothing."""
    peer.ready = True
    peer.connection.pause_reading()
    frames = [Request(id=n + 1, fork=0, block=RequestBlock(n % 180, 0)) for n in range(MAX_BACKLOG // 2)]
    peer.send(script(*frames).entries)
    peer.took(len(frames))
    while not peer.closed:
        await peer.changed()


async def halves(peer: Hostile) -> None:
    """Begin a message of megabytes, go on slowly, and never end it."""
    peer.ready = True
    peer.connection.stream.write((8 * 2**20).to_bytes(3, "little") + bytes(256 * 1024))
    peer.took(1)
    while not peer.closed:
        await asyncio.sleep(0.5)
        if not peer.closed:
            peer.connection.stream.write(bytes(4096))


async def opens(peer: Hostile) -> None:
    """Open channels of cores that do not exist."""
    peer.ready = True
    while not peer.over:
        while peer.muxer.unanswered < OPENS:
            peer.muxer.create_channel(PROTOCOL, os.urandom(32), peer).open(bytes(33), monotonic())
        await peer.changed()


async def garbage(peer: Hostile) -> None:
    """Messages that make no sense, first on the channel, then of the connection."""
    peer.ready = True
    for _ in range(20):
        peer.send(encode_uint(3) + b"\2\3\xff" + b"\3\2\3\xff" * 50)
        peer.took(51)
        await asyncio.sleep(0.05)
    peer.connection.send(b"\0\0" + os.urandom(1000))
    while not peer.closed:
        await peer.changed()


KINDS = {
    **dict.fromkeys(STORMS, storm),
    "unread": unread,
    "halves": halves,
    "opens": opens,
    "garbage": garbage,
}


# --- the process --------------------------------------------------------------------------------------------


def drive_of_maps() -> WriterOfDrive:
    """Its files would be gigabytes of content, by block maps of some KB."""
    drive = WriterOfDrive()
    drive.blobs.append([bytes(1 << 20)], drive.db.key_pair)
    for path in ("/package.json", "/index.json", "/a.bin"):
        drive.put(path, *encode_block_map([MapEntry(0, 1 << 20)] * 1_500), block_map=True)
    drive.store.flush()
    return drive


class Attackers:
    """Commands:

    * `connect {public_key, port, keys, count, enough, hosts}`: `count` connections, from so many hosts, each
      with a channel of one of the `keys`; answered when `enough` are open.
    * `attack`: each of them attacks, and the drive that `ready` names is served. Answered when the engine has
      as much to do for each as it may get at a time; from then on this process is niced.
    * `count`: {open, dialled, taken: {kind: messages}, datagrams, failures}, so far.
    """

    def __init__(self, bootstrap: list[str]) -> None:
        self._bootstrap = bootstrap
        self._drive = drive_of_maps()
        self._nodes: list[DhtNode] = []
        self._taken: Counter[str] = Counter()
        self._open: set[Hostile] = set()
        self._dialled = 0
        self._datagrams = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._started = asyncio.Event()
        self._failures: Counter[str] = Counter()

    @property
    def drive(self) -> str:
        return self._drive.key.hex()

    async def connect(
        self, public_key: str, port: int, keys: list[str], count: int, enough: int, hosts: int
    ) -> dict[str, Any]:
        self._us, self._at = bytes.fromhex(public_key), Address("127.0.0.1", port)
        self._keys = [bytes.fromhex(key) for key in keys]
        for number in range(hosts):
            node = DhtNode(bootstrap=self._bootstrap, host=f"127.0.{number + 1}.1")
            await node.start()
            self._nodes.append(node)
        pace = asyncio.Semaphore(16)
        self._tasks += [asyncio.create_task(self._keep(number, pace)) for number in range(count)]
        while len(self._open) < enough:
            await asyncio.sleep(0.05)
        return self.count()

    async def attack(self) -> dict[str, Any]:
        self._started.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(VOLLEY_SECONDS):
                while any(peer.sending for peer in self._open):
                    await asyncio.sleep(0.05)
        os.nice(NICENESS)
        self._tasks += [asyncio.create_task(self._send_datagrams()), asyncio.create_task(self._serve_maps())]
        return self.count()

    def count(self) -> dict[str, Any]:
        return {
            "open": len(self._open),
            "dialled": self._dialled,
            "taken": dict(self._taken),
            "datagrams": self._datagrams,
            "failures": dict(self._failures.most_common(5)),
        }

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for node in self._nodes:
            await node.close(timeout=0.1)

    async def _keep(self, number: int, pace: asyncio.Semaphore) -> None:
        """One connection after the other, each of another peer."""
        node, kind = self._nodes[number % len(self._nodes)], [*KINDS][number // len(self._nodes) % len(KINDS)]
        while True:
            try:
                async with pace:
                    connection = await self._dial(node)
                    peer = Hostile(connection, random.choice(self._keys), self._taken, kind)
                    async with asyncio.timeout(30):
                        await peer.open()
                if peer.over:
                    self._failures["no channel"] += 1
                    connection.destroy()
                    await asyncio.sleep(REDIAL_SECONDS)
                    continue
                self._open.add(peer)
                await self._started.wait()
                try:
                    await KINDS[kind](peer)
                finally:
                    self._open.discard(peer)
                    connection.destroy()
            except (HypercoreError, TimeoutError) as error:
                self._failures[f"{type(error).__name__}: {error}"[:80]] += 1
            await asyncio.sleep(REDIAL_SECONDS)

    async def _dial(self, node: DhtNode) -> SecretConnection:
        self._dialled += 1
        async with asyncio.timeout(30):
            return await node.connect(
                self._us, [self._at], key_pair=KeyPair.from_seed(os.urandom(32)), lan=False
            )

    async def _serve_maps(self) -> None:
        """Give the engine a drive that is expensive to name, from a host of its own."""
        cores = Corestore(self._drive.store)
        for key in (self._drive.key, self._drive.blobs.key):
            cores.get(key)
        async with DhtNode(bootstrap=self._bootstrap, host="127.0.0.1") as node:
            while True:
                with suppress(HypercoreError, TimeoutError):
                    connection = await self._dial(node)
                    ended = asyncio.Event()
                    connection.add_close_listener(ended.set)
                    cores.replicate(connection)
                    await ended.wait()
                await asyncio.sleep(REDIAL_SECONDS)

    async def _send_datagrams(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while True:
                for _ in range(20):
                    with suppress(OSError):
                        out.sendto(os.urandom(random.randrange(2, 400)), tuple(self._at))
                        self._datagrams += 1
                await asyncio.sleep(0.02)


async def main(bootstrap: list[str]) -> None:
    attackers = Attackers(bootstrap)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    emit({"event": "ready", "drive": attackers.drive})
    while line := await lines.readline():
        command = json.loads(line)
        number, name = command.pop("id"), command.pop("cmd")
        result = getattr(attackers, name)(**command)
        emit({"reply": number} | (await result if asyncio.iscoroutine(result) else result))
    await attackers.close()


def emit(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", action="append", required=True)
    asyncio.run(main(parser.parse_args().bootstrap))
