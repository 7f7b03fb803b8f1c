"""The bytes of a source: over HTTP, only when they changed, or from a file. Bounded in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from .parse import SourceError, clean

MAX_BYTES: Final = 64 << 20
"""Bytes of one answer; as `workers.engine.keylist` bounds a seeds.txt."""
MAX_REDIRECTS: Final = 5
TIMEOUT: Final = 15.0
"""Seconds to connect, and between two pieces of an answer."""
DEADLINE: Final = 60.0
"""Seconds for a whole answer, redirects included: one that drips is given up."""
AGENT: Final = "seederfarm"


class Answer(NamedTuple):
    body: bytes
    etag: str = ""
    modified: str = ""
    unchanged: bool = False
    """The server says that nothing changed since the `etag` or `modified` it was shown."""


def is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def read_file(location: str) -> Answer:
    """Raises SourceError when it cannot be read, or is too large."""
    try:
        path = Path(location).expanduser()
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")  # a pipe would keep us waiting
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"the file cannot be read: {clean(str(error))}") from None
    if len(body) > MAX_BYTES:
        raise SourceError(_too_large())
    return Answer(body)


async def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    etag: str = "",
    modified: str = "",
    deadline: float = DEADLINE,
) -> Answer:
    """Raises SourceError for everything but a 2xx answer that came in whole, or a 304 that was asked for.

    `headers` (they may hold a secret) are sent to the origin of `url` alone, not where it redirects to.
    """
    try:
        async with asyncio.timeout(deadline):
            return await _get(url, headers or {}, etag, modified)
    except TimeoutError:
        raise SourceError(f"the answer takes longer than {deadline:g} s") from None


async def _get(url: str, headers: Mapping[str, str], etag: str, modified: str) -> Answer:
    asked = {"If-None-Match": etag, "If-Modified-Since": modified}
    conditions = {name: value for name, value in asked.items() if value}
    sent = {"Accept": "application/json, text/plain;q=0.9, */*;q=0.1", **headers, **conditions}
    own = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, headers=own) as client:
            request = client.build_request("GET", url, headers=sent)
            origin = _origin(request.url)
            for _ in range(MAX_REDIRECTS + 1):
                response = await client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        return await _answer(response, conditional=bool(conditions))
                    request = response.next_request
                finally:
                    await response.aclose()
                if _origin(request.url) != origin:
                    request = client.build_request("GET", request.url)
            raise SourceError(f"more than {MAX_REDIRECTS} redirects")
    except httpx.TimeoutException:
        raise SourceError(f"no answer within {TIMEOUT:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TypeError, ValueError) as error:
        raise SourceError(f"the request failed: {clean(str(error) or type(error).__name__)}") from None


async def _answer(response: httpx.Response, *, conditional: bool) -> Answer:
    if response.status_code == 304 and conditional:
        return Answer(b"", unchanged=True)
    if not response.is_success:
        raise SourceError(
            f"the answer is {response.status_code} {clean(response.reason_phrase, 60)}".rstrip()
        )
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise SourceError("the answer is a web page (HTML), not a list of keys")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise SourceError("the answer is compressed, which was not asked for")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BYTES:
            raise SourceError(_too_large())
    headers = response.headers
    return Answer(bytes(body), headers.get("etag", "")[:500], headers.get("last-modified", "")[:100])


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _too_large() -> str:
    return f"the list is larger than {MAX_BYTES >> 20} MiB"
