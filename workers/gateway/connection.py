"""One connection of the web process: a path is looked up, then read, listed or zipped."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import Final

import msgspec

from hypercore.drive import Blobs, Entry
from hypercore.errors import HypercoreError, InvalidContent

from . import zips
from .drives import Drives, OpenDrive
from .failures import ReadingFailed, failed
from .listing import listing
from .paths import Found, find
from .protocol import FRAME_HEAD, Answer, Ask, Begin, List, Read, Zip, encoder, requests
from .runs import Chunk, stored_content
from .slots import Slots
from .source import ReadAhead

ASK_TIMEOUT: Final = 60.0
"""Seconds in which the client has to send its next request."""
FIND_TIMEOUT: Final = 45.0
"""Seconds to find a drive and a path in it, or to list a folder."""
STALL_TIMEOUT: Final = 60.0
"""Seconds in which a client has to take something of what it reads; then the connection is closed."""
WRITE_BYTES: Final = 256 << 10
"""Bytes written at a time, and the most that wait for the client."""

log = logging.getLogger(__name__)


class Connection:
    """Serves one client until it leaves."""

    def __init__(
        self, drives: Drives, slots: Slots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._drives = drives
        self._slots = slots
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=WRITE_BYTES)
        # As much as the system allows: fewer turns of both processes
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BYTES)

    async def run(self) -> None:
        """Serve the connection until its end. Raises nothing but CancelledError. The caller closes the
        connection."""
        async with AsyncExitStack() as stack:
            try:
                ask = await self._next()
                if not isinstance(ask, Ask):
                    return
                async with asyncio.timeout(FIND_TIMEOUT):
                    drive = await stack.enter_async_context(self._drives.lease(_key(ask)))
                    found = await find(drive, ask.path, ask.version)
                await self._answer(found.facts)
                while (request := await self._next()) is not None:
                    await self._serve(request, drive, found, ask)
            except TimeoutError:
                error = ReadingFailed("unavailable", "It took too long to read this; try again.", retry=5)
                await self._fail(error)
            except HypercoreError as error:
                await self._fail(error)
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                log.debug("a client was disconnected: %r", error)

    async def _serve(
        self, request: Read | List | Zip | Ask, drive: OpenDrive, found: Found, ask: Ask
    ) -> None:
        try:
            if isinstance(request, List) and found.entry is None:
                with ExitStack() as stack:
                    if not request.is_paged:  # takes as long as a file
                        stack.enter_context(self._slots.taken_by(ask.client, is_public=ask.is_public))
                    async with asyncio.timeout(FIND_TIMEOUT):
                        answer = await listing(found, request)
                await self._answer(answer)
            elif isinstance(request, Read) and found.entry is not None:
                with self._slots.taken_by(ask.client, is_public=ask.is_public):
                    await self._read(drive, found.entry, request)
            elif isinstance(request, Zip) and found.entry is None:
                with self._slots.taken_by(ask.client, is_public=ask.is_public):
                    await self._zip(drive, found)
            else:
                raise ReadingFailed("missing", "A folder is not a file.")
        except _Begun as begun:
            # No answer can follow the bytes that were sent: the client must notice the end
            log.warning("%s of drive %s ended early: %s", found.facts.path, drive.key.hex()[:8], begun.cause)
            self._writer.transport.abort()
            raise ConnectionAbortedError from begun.cause

    # --- contents

    async def _read(self, drive: OpenDrive, entry: Entry, request: Read) -> None:
        if request.start < 0 or request.length < 0:
            raise ReadingFailed("missing", "No file has such bytes.")
        sent = 0
        async with aclosing(contents(drive, entry, request.start, request.length)) as chunks:
            sent = await self._stream(chunks, framed=False)
        if sent != request.length:
            raise _Begun(InvalidContent(f"{sent} of {request.length} bytes"))

    async def _zip(self, drive: OpenDrive, found: Found) -> None:
        async with asyncio.timeout(FIND_TIMEOUT):
            if found.view.version > zips.MAX_FILES:  # each file takes a block of the db: fewer need no count
                await zips.count(found)
        async with aclosing(zips.archive(found, lambda entry: contents(drive, entry))) as parts:
            await self._stream(parts, framed=True)
        await self._write([bytes(FRAME_HEAD)])

    async def _stream(self, chunks: AsyncGenerator[Chunk, None], *, framed: bool) -> int:
        """Begin with the first chunk, so that what cannot be read is an answer. Returns the bytes sent."""
        waiting: list[Chunk] = []
        size = sent = 0
        begun = False
        try:
            async for chunk in chunks:
                if not begun:
                    await self._answer(Begin())
                    begun = True
                waiting.append(chunk)
                size += len(chunk)
                if size >= WRITE_BYTES or not sent:  # the first bytes at once
                    sent += await self._send(waiting, size, framed=framed)
                    waiting, size = [], 0
            if not begun:
                await self._answer(Begin())
            if size:
                sent += await self._send(waiting, size, framed=framed)
        except HypercoreError as error:
            if begun:
                raise _Begun(error) from error
            raise
        return sent

    async def _send(self, chunks: list[Chunk], size: int, *, framed: bool) -> int:
        await self._write([size.to_bytes(FRAME_HEAD, "big"), *chunks] if framed else chunks)
        return size

    async def _write(self, chunks: list[Chunk]) -> None:
        """Raises TimeoutError as OSError: a client that does not read gets no answer."""
        if len(chunks) == 1:
            self._writer.write(chunks[0])
        else:
            self._writer.writelines(chunks)
        try:
            async with asyncio.timeout(STALL_TIMEOUT):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError("the client does not read") from None

    # --- messages

    async def _next(self) -> Ask | Read | List | Zip | None:
        """The next request; None when the client leaves or has nothing to say."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                line = await self._reader.readline()
        except TimeoutError:
            return None
        return requests.decode(line) if line.endswith(b"\n") else None

    async def _answer(self, answer: Answer) -> None:
        await self._write([encoder.encode(answer) + b"\n"])

    async def _fail(self, error: HypercoreError) -> None:
        try:
            await self._answer(failed(error))
        except OSError as lost:
            log.debug("a client left: %r", lost)


class _Begun(Exception):
    """Reading failed after bytes were sent."""

    def __init__(self, cause: HypercoreError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def contents(
    drive: OpenDrive, entry: Entry, start: int = 0, length: int | None = None
) -> AsyncGenerator[Chunk, None]:
    """Chunks of a file: many blocks at a time where they are stored here, then with requests ahead of the
    reader."""
    blob = entry.blob
    if blob is None or not blob.byte_length:
        return
    source = await drive.blobs()
    stored = source.stored()
    if stored is not None and not blob.block_map:
        left = max(0, blob.byte_length - start)
        left = left if length is None else min(left, length)
        async with aclosing(stored_content(stored, blob, start, left)) as pieces:
            async for piece in pieces:
                start, left = start + len(piece), left - len(piece)
                yield piece
        if not left:
            return
        length = left
    async with aclosing(Blobs(ReadAhead(source)).read(blob, start, length)) as chunks:
        async for chunk in chunks:
            yield chunk


def _key(ask: Ask) -> bytes:
    key = bytes.fromhex(ask.key)
    if len(key) != 32:
        raise ValueError("no key")
    return key
