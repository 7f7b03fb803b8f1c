"""What is sent to the pages, before Django keeps it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from seederfarm.body_limit import SMALL, BodyLimit

KIB = 1 << 10


class Client:
    """One request, whose body comes in pieces."""

    def __init__(self, pieces: Sequence[int], announced: int | None = None, path: str = "/livez") -> None:
        self._pieces = list(pieces)
        self.read = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.sent: list[Any] = []
        headers = [(b"host", b"localhost")]
        if announced is not None:
            headers.append((b"content-length", b"%d" % announced))
        self.scope = {
            **{"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers},
            **{
                "http_version": "1.1",
                "scheme": "http",
                "client": ("127.0.0.1", 1),
                "server": ("localhost", 1),
            },
        }

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        await self.go_on.wait()
        if not self._pieces:
            await asyncio.Event().wait()  # the client stays for the answer
        self.read += self._pieces[0]
        body = bytes(self._pieces.pop(0))
        return {"type": "http.request", "body": body, "more_body": bool(self._pieces)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def run(limit: BodyLimit, client: Client) -> int:
    asyncio.run(limit(client.scope, client.receive, client.send))
    return client.status


@pytest.mark.parametrize("application", [reads_all, get_asgi_application()], ids=["app", "django"])
def test_a_request_that_is_too_large_ends_before_it_was_taken(application: Any) -> None:
    limit = BodyLimit(application, max_body=100 * KIB)
    notified = Client([KIB] * 1000, announced=1000 * KIB)
    assert run(limit, notified) == 413 and notified.read == 0
    untold = Client([KIB] * 1000)
    assert run(limit, untold) == 413 and untold.read == 101 * KIB
    assert run(limit, Client([KIB] * 10, announced=10 * KIB)) in (200, 403)
    assert limit.in_all == 0


def test_the_api_is_answered_with_a_problem() -> None:
    client = Client([], 101 * KIB, path="/api/v1/drives")
    assert run(BodyLimit(reads_all, max_body=100 * KIB), client) == 413
    start, body = client.sent
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert json.loads(body["body"])["status"] == 413


def test_all_requests_together_have_a_budget_and_small_ones_are_always_taken() -> None:
    async def main() -> None:
        limit = BodyLimit(reads_all, max_body=1000 * KIB, max_in_all=1000 * KIB)
        slow = Client([900 * KIB, KIB])
        held = asyncio.ensure_future(limit(slow.scope, slow.receive, slow.send))
        while not slow.read:
            await asyncio.sleep(0)
        slow.go_on.clear()
        for client in (Client([200 * KIB], announced=200 * KIB), Client([100 * KIB, 100 * KIB])):
            await limit(client.scope, client.receive, client.send)
            assert client.status == 503
        login = Client([KIB] * (SMALL // KIB))
        await limit(login.scope, login.receive, login.send)
        assert login.status == 200
        slow.go_on.set()
        await held
        assert slow.status == 200 and limit.in_all == 0

    asyncio.run(main())
