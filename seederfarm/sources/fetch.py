"""The bytes of a source, over HTTP (only when they changed) or from a file, bounded in size and time.

HTTP goes to addresses that an `AddressPolicy` allows, at each redirect. Proxies of the environment are not
used: the policy could not see where they connect to.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore

from ..outbound.addresses import PinnedBackend
from ..outbound.requests import Headers, host_header, login, target, tls
from .addresses import AddressPolicy
from .list_formats import SourceError, clean

MAX_BYTES: Final = 8 << 20
"""Default of SEEDERFARM_SOURCE_MAX_BYTES, for one answer: about 150,000 keys."""
MAX_REDIRECTS: Final = 5
TIMEOUT: Final = 15.0
"""Seconds to connect, and between two pieces of an answer."""
DEADLINE: Final = 60.0
"""Seconds for a whole answer, redirects included."""
AGENT: Final = "seederfarm"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUTS: Final = {"connect": TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}


class Answer(NamedTuple):
    """The body of an answer, decompressed, and its validators for the next request."""

    body: bytes
    etag: str = ""
    modified: str = ""
    unchanged: bool = False
    """Nothing changed since the given `etag` or `modified`."""


def is_url(location: str) -> bool:
    """Whether a location is read over HTTP; otherwise it is the path of a file."""
    return location.lower().startswith(("http://", "https://"))


def read_file(location: str, folder: Path, *, max_bytes: int = MAX_BYTES) -> Answer:
    """Read a file below `folder`; a relative `location` is resolved there.

    Raises SourceError if it is elsewhere (links included), unreadable, or too large.
    """
    try:
        root = folder.expanduser().resolve()
        path = (root / Path(location).expanduser()).resolve()
        if not path.is_relative_to(root):
            raise SourceError(
                f"the file is not in {root}: files are read from there alone (SEEDERFARM_SOURCE_FILES)"
            )
        # a pipe would keep us waiting; a link may have come meanwhile
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("it is no regular file")
            body = file.read(max_bytes + 1)
    except (OSError, ValueError, RuntimeError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"the file cannot be read: {clean(text)}") from None
    if len(body) > max_bytes:
        raise SourceError(_too_large(max_bytes))
    return Answer(body)


async def get(
    url: str,
    *,
    policy: AddressPolicy,
    headers: Mapping[str, str] | None = None,
    etag: str = "",
    modified: str = "",
    max_bytes: int = MAX_BYTES,
    deadline: float = DEADLINE,
) -> Answer:
    """Request a URL. Raises SourceError except for a complete 2xx answer, or a 304 that was asked for.

    `headers` and the login of `url` may be secret: they are sent to its origin only, not to other origins
    that it redirects to.
    """
    asked = {"If-None-Match": etag, "If-Modified-Since": modified}
    conditions = {name: value for name, value in asked.items() if value}
    try:
        own = _encoded({**(headers or {}), **conditions})
        async with asyncio.timeout(deadline):
            return await _get(url, own, policy, conditional=bool(conditions), max_bytes=max_bytes)
    except TimeoutError:
        raise SourceError(f"the answer takes longer than {deadline:g} s") from None
    except httpcore.TimeoutException:
        raise SourceError(f"no answer within {TIMEOUT:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise SourceError(f"the request failed: {_failure(error)}") from None
    except (ssl.SSLError, OSError, UnicodeError, ValueError) as error:
        raise SourceError(f"the request failed: {type(error).__name__}") from None


async def _get(url: str, own: Headers, policy: AddressPolicy, *, conditional: bool, max_bytes: int) -> Answer:
    common = _encoded({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    accept = _encoded({"Accept": "application/json, text/plain;q=0.9, */*;q=0.1"})
    if not any(name.lower() == b"accept" for name, _ in own):
        common += accept
    own += login(url)
    origin = _origin(url)
    context = tls()
    async with httpcore.AsyncConnectionPool(
        ssl_context=context, network_backend=PinnedBackend(policy), max_connections=1
    ) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            same = _origin(url) == origin
            host = (b"Host", host_header(url))
            async with pool.stream(
                "GET",
                target(url),
                headers=[host, *common, *(own if same else ())],
                extensions={"timeout": _TIMEOUTS},
            ) as response:
                if response.status not in _REDIRECTS:
                    return await _answer(response, conditional=conditional and same, max_bytes=max_bytes)
                location = _header(response, b"location")
            if not location:
                raise SourceError("a redirect that names no place")
            url = urljoin(url, location)
            if not is_url(url):
                raise SourceError("a redirect to something else than http:// or https://")
    raise SourceError(f"more than {MAX_REDIRECTS} redirects")


async def _answer(response: httpcore.Response, *, conditional: bool, max_bytes: int) -> Answer:
    if response.status == 304 and conditional:
        return Answer(b"", unchanged=True)
    if not 200 <= response.status < 300:
        raise SourceError(f"the answer is {response.status} {_phrase(response.status)}".rstrip())
    kind = _header(response, b"content-type").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise SourceError("the answer is a web page (HTML), not a list of keys")
    if response.status == 206:
        raise SourceError("the answer is a part (206), which was not asked for")
    if (_header(response, b"content-encoding") or "identity").strip().lower() != "identity":
        raise SourceError("the answer is compressed, which was not asked for")
    length = _header(response, b"content-length")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise SourceError(_too_large(max_bytes))
    body = bytearray()
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > max_bytes:
            raise SourceError(_too_large(max_bytes))
    etag, modified = _header(response, b"etag"), _header(response, b"last-modified")
    return Answer(bytes(body), clean(etag, 500), clean(modified, 100))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").rstrip("."), port


def same_origin(one: str, other: str) -> bool:
    """Whether scheme, host and port of two URLs are the same. False if one is no URL."""
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _header(response: httpcore.Response, name: bytes) -> str:
    for found, value in response.headers:
        if found.lower() == name:
            return value.decode("latin-1")
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _failure(error: Exception) -> str:
    """The error as text, without what the server sent."""
    if isinstance(error, httpcore.ConnectError):
        return clean(str(error)) or "no connection"
    if isinstance(error, httpcore.RemoteProtocolError):
        return "the answer is broken HTTP, or ended early"
    return type(error).__name__


def _too_large(max_bytes: int) -> str:
    return f"the list is larger than {max_bytes / (1 << 20):g} MiB (SEEDERFARM_SOURCE_MAX_BYTES)"
