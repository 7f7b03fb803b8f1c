"""Bounds on request bodies, applied before any of a body is stored.

Django writes a whole body to disk before it checks the sender.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

MAX_BODY: Final = 80 << 20
"""Bytes of one request: a seeds.txt of `forms.MAX_UPLOAD` and its envelope."""
MAX_IN_ALL: Final = 256 << 20
"""Bytes of all requests that are being received or answered. Ours."""
SMALL: Final = 64 << 10
"""Bytes of a request that is accepted however much others hold: logins and buttons. Ours."""

API: Final = "/api/"
"""Beginning of paths whose errors are problems."""

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """Wraps an ASGI application. Answers 413 to a request that is too large, 503 while others hold all the
    space."""

    def __init__(self, app: App, *, max_body: int = MAX_BODY, max_in_all: int = MAX_IN_ALL) -> None:
        self._app = app
        self._max_body = max_body
        self._max_in_all = max_in_all
        self.in_all = 0
        """Bytes held now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced, taken, refused, started = _announced(scope), 0, 0, False

        async def counted() -> Message:
            nonlocal taken, refused
            message = await receive()
            size = len(message.get("body", b""))
            taken += size
            self.in_all += size
            refused = self._status(taken, 0)
            # as if the client had disconnected: Django drops the body and sends no answer
            return {"type": "http.disconnect"} if refused else message

        async def recorded(message: Message) -> None:
            nonlocal started
            if started or not refused:
                started = True
                await send(message)

        try:
            refused = self._status(announced, announced)
            if not refused:
                await self._app(scope, counted, recorded)
            if refused and not started:
                await _refuse(send, refused, as_problem=scope["path"].startswith(API))
        finally:
            self.in_all -= taken

    def _status(self, size: int, more: int) -> int:
        """Status of the answer to a request of `size` bytes, of which `more` are still to come; 0:
        accepted."""
        if size > self._max_body:
            return 413
        return 503 if size > SMALL and self.in_all + more > self._max_in_all else 0


def _announced(scope: Scope) -> int:
    """Content-Length, or 0 without one (then received bytes are counted)."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _refuse(send: Send, status: int, *, as_problem: bool) -> None:
    """Answer in plain text, or as the API answers errors (RFC 9457)."""
    detail = "The request is too large." if status == 413 else "Too much is being sent at once; try again."
    if as_problem:
        title = HTTPStatus(status).phrase
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        text, kind = json.dumps(problem).encode(), b"application/problem+json"
    else:
        text, kind = f"{detail}\n".encode(), b"text/plain"
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(text)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
