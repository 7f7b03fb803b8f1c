"""One conversation with the gateway process. See `workers.gateway.protocol`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from seederfarm.unfinished import Unfinished
from workers.gateway.protocol import (
    FRAME_HEAD,
    MAX_ANSWER,
    Answer,
    Ask,
    Begin,
    Code,
    Facts,
    Failed,
    List,
    Listing,
    Read,
    Request,
    Zip,
    answers,
    encoder,
)

BUFFER_BYTES: Final = 256 << 10
"""Bytes that are read at a time; as many wait for a slow client at most."""
ANSWER_TIMEOUT: Final = 60.0
"""Seconds until an answer, or the next bytes of a file. The gateway gives up sooner."""

A = TypeVar("A", bound=Answer)


class CannotRead(Exception):
    """The gateway refuses, or is not there."""

    def __init__(self, code: Code, text: str, retry: int = 0) -> None:
        super().__init__(text)
        self.code: Code = code
        self.retry = retry


class Interrupted(Unfinished):
    """The gateway has ended a file early. The answer to the client must not look complete."""


class Reading:
    """A path of a drive, looked up. `close` it, or read it to the end."""

    def __init__(self, connection: socket.socket) -> None:
        # The socket itself: a stream would copy each byte three times
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._left = 0
        self.facts: Facts

    @classmethod
    async def open(cls, path: Path, ask: Ask) -> Reading:
        """Look up a path. Raises CannotRead."""
        try:
            reading = cls(await _connected(path))
        except OSError:
            text = "The process that reads files does not run. It is started again within seconds."
            raise CannotRead("unavailable", text, retry=5) from None
        try:
            reading.facts = await reading._ask(ask, Facts)
        except BaseException:
            reading.close()
            raise
        return reading

    def close(self) -> None:
        """End the conversation now; the gateway notices."""
        self._socket.close()

    # --- files

    async def begin(self, start: int, length: int) -> None:
        """Ask for bytes of the file. Returns when the first ones are there. Raises CannotRead."""
        await self._ask(Read(start=start, length=length), Begin)
        self._left = length

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the requested bytes. Raises Interrupted if some are missing."""
        while self._left:
            chunk = await self._some(self._left)
            self._left -= len(chunk)
            yield chunk

    # --- folders

    async def list(self, wanted: List) -> Listing:
        """A page of the folder. Raises CannotRead."""
        return await self._ask(wanted, Listing)

    async def begin_zip(self) -> None:
        """Ask for an archive of the folder. Raises CannotRead."""
        await self._ask(Zip(), Begin)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the archive. Raises Interrupted if it ends early."""
        while size := int.from_bytes(await self._exactly(FRAME_HEAD), "big"):
            while size:
                chunk = await self._some(size)
                size -= len(chunk)
                yield chunk

    # --- inside

    async def _ask(self, request: Request, kind: type[A]) -> A:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._loop.sock_sendall(self._socket, encoder.encode(request) + b"\n")
            answer = answers.decode(await self._line())
        except (OSError, Interrupted, msgspec.MsgspecError):
            text = "The process that reads files has ended the connection. Try again."
            raise CannotRead("unavailable", text, retry=5) from None
        if isinstance(answer, Failed):
            raise CannotRead(answer.code, answer.text, answer.retry)
        if not isinstance(answer, kind):
            raise CannotRead("unavailable", "The process that reads files is of another version.", retry=5)
        return answer

    async def _line(self) -> bytes:
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1]:
            parts.append(await self._receive())
            size += len(parts[-1])
            if size > MAX_ANSWER:
                raise Interrupted("an answer is too long")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    async def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += await self._some(count - len(found))
        return found

    async def _some(self, limit: int) -> bytes:
        """Some bytes, `limit` of them or fewer."""
        received = self._rest or await self._receive()
        self._rest = received[limit:]
        return received[:limit] if self._rest else received

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                received = await self._loop.sock_recv(self._socket, BUFFER_BYTES)
        except (OSError, TimeoutError) as error:
            raise Interrupted("the gateway does not answer") from error
        if not received:
            raise Interrupted("the gateway has ended the connection")
        return received


async def _connected(path: Path) -> socket.socket:
    """Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection
