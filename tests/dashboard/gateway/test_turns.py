"""How often a request for a file waits for a thread: on a busy machine each turn delays the first byte."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from seederfarm.registry.models import Drive

from ...seederfarm.registry.factories import make_user
from ..api.conftest import token_for

pytestmark = pytest.mark.interop


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what waited for a thread."""
    found: list[str] = []
    plain = SyncToAsync.__call__

    async def counted(self: Any, *arguments: Any, **given: Any) -> Any:
        found.append(getattr(self.func, "__name__", repr(self.func)))
        return await plain(self, *arguments, **given)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    return found


def fetch(path: str, **headers: str) -> list[dict[str, Any]]:
    """What the server's application sends for a request."""
    from seederfarm.asgi import Handler

    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "scheme": "http", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return asked.pop() if asked else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    for signal in (request_started, request_finished):  # the test has the connection
        signal.disconnect(close_old_connections)
    try:
        async_to_sync(Handler().handle)(scope, receive, send)
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)
    return sent


def test_a_file_waits_for_one_turn_between_those_of_every_request(drive: Drive, turns: list[str]) -> None:
    token = token_for(make_user("anna"), "read")
    turns.clear()
    head, *parts = fetch(
        f"/drives/{drive.z32}/files/clip.mp4", host="testserver", authorization=f"Bearer {token}"
    )
    assert head["status"] == 200 and sum(len(part.get("body", b"")) for part in parts) == 300_000
    *before, last = turns
    assert before.count("_found") == 1 and last == "close"
    assert len(before) == 2, f"the signal of a request that begins is another one: {before}"
