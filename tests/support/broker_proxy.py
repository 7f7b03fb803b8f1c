"""A way to Redis that sees every message, and may lose each once: of its kind, for and from each, the first.

A proxy that reads what clients ask of Redis. A push of a message that shall be lost becomes a
question for the queue's length, which is answered with a number, too: its sender believes
that it is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from base64 import b64decode
from collections import Counter
from typing import Any

from farmwire.tasks import KEY_PREFIX

Identity = tuple[str, ...]
"""Name of the task, and what distinguishes its messages."""


class BrokerProxy:
    """Listens on `url`, and passes everything on to the Redis on `port` but what it `loses`."""

    def __init__(self, port: int, *, loses: bool) -> None:
        self._redis = port
        self._lossy = loses
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        """Messages by the name of their task."""
        self.senders: dict[str, list[int]] = {}
        """Process ids of those who sent each, in order."""
        self._seen: set[Identity] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def dispose(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answers, questions = await asyncio.open_connection("127.0.0.1", self._redis)
        both = asyncio.gather(self._ask(reader, questions), _copy(answers, writer))
        try:
            await both
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            both.cancel()
            for end in (writer, questions):
                end.close()
            for end in (writer, questions):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            words = await _command(reader)
            if words[0].upper() in (b"LPUSH", b"RPUSH") and self._is_lost(words[2]):
                words = [b"LLEN", words[1]]
            if words[0].upper() == b"SET" and self._is_lost_answer(words):
                words = [b"SELECT", b"0"]
            writer.write(b"*%d\r\n" % len(words))
            writer.writelines(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            await writer.drain()

    def _is_lost(self, message: bytes) -> bool:
        pushed: dict[str, Any] = json.loads(message)
        name = pushed.get("headers", {}).get("task")
        if name is None:
            return False  # Celery's own talk
        sender = pushed["headers"]["origin"].partition("@")[0].removeprefix("gen")
        self.senders.setdefault(name, []).append(int(sender))
        return self._loses(name, json.loads(b64decode(pushed["body"]))[0])

    def _is_lost_answer(self, words: list[bytes]) -> bool:
        """Whether this leaves an answer to a request to join, and is to be lost."""
        if not words[1].startswith(f"{KEY_PREFIX}join.".encode()):
            return False
        sealed = json.loads(words[2])
        return self._loses(sealed["name"], [sealed])

    def _loses(self, name: str, arguments: list[Any]) -> bool:
        identity = _identity(name, arguments)
        lost = self._lossy and identity not in self._seen
        self._seen.add(identity)
        (self.lost if lost else self.passed)[name] += 1
        return lost


def _identity(name: str, arguments: list[Any]) -> Identity:
    if not arguments or not isinstance(arguments[0], dict):
        return (name, repr(arguments))
    sealed = arguments[0]
    body = sealed["body"]
    phases = sorted({replica["phase"] for replica in body.get("replicas", ())})
    return (name, sealed["from"], sealed["to"], str(body.get("page")), *phases)


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    head = await reader.readuntil(b"\r\n")
    assert head[:1] == b"*", head
    words = []
    for _ in range(int(head[1:])):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
