"""Answers with the bytes of a file: whole, in part, or not changed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from hypercore.printable import visible

from .client import CannotRead, Interrupted, Reading
from .headers import content_type, disposition, is_shown, media_type, policy
from .ranges import Span, matches, spans


async def answer(request: HttpRequest, reading: Reading, path: str) -> HttpResponseBase:
    """Return the answer to a GET or HEAD of a file that is called `path`. Raises CannotRead.

    `reading` is closed here, or by the response."""
    facts = reading.facts
    etag = f'"{facts.etag}"'
    if_match = request.headers.get("If-Match")
    none_match = request.headers.get("If-None-Match")
    response: HttpResponseBase
    if if_match is not None and not matches(if_match, etag, weak=False):
        response = HttpResponse(status=412)
    elif none_match is not None and matches(none_match, etag, weak=True):
        response = HttpResponse(status=304)
        del response.headers["Content-Type"]
    else:
        response = await _with_content(request, reading, path, etag)
    if not response.streaming:
        reading.close()
    _describe(response, request, path, etag)
    response.headers["X-Drive-Version"] = str(facts.version)
    return response


async def _with_content(request: HttpRequest, reading: Reading, path: str, etag: str) -> HttpResponseBase:
    size = reading.facts.size
    wanted = None
    if request.method == "GET" and (asked := request.headers.get("Range")) is not None:
        unless = request.headers.get("If-Range")
        if unless is None or unless.strip() == etag:  # a date never matches: drives keep none
            wanted = spans(asked, size)
    kind = content_type(path)
    if wanted is None:
        return await _stream(request, reading, [Span(0, size)], kind, size)
    if not wanted:
        outside = HttpResponse(status=416)
        outside.headers["Content-Range"] = f"bytes */{size}"
        return outside
    if len(wanted) == 1:
        response = await _stream(request, reading, wanted, kind, wanted[0].length)
        response.headers["Content-Range"] = wanted[0].header(size)
        response.status_code = 206
        return response
    boundary = secrets.token_hex(12)
    heads = [_head(boundary, kind, span, size, first=span is wanted[0]) for span in wanted]
    end = f"\r\n--{boundary}--\r\n".encode()
    total = sum(map(len, heads)) + sum(span.length for span in wanted) + len(end)
    multipart = f"multipart/byteranges; boundary={boundary}"
    response = await _stream(request, reading, wanted, multipart, total, heads=heads, end=end)
    response.status_code = 206
    return response


def _head(boundary: str, kind: str, span: Span, size: int, *, first: bool) -> bytes:
    lines = (f"--{boundary}", f"Content-Type: {kind}", f"Content-Range: {span.header(size)}", "", "")
    return ("" if first else "\r\n").encode() + "\r\n".join(lines).encode()


async def _stream(
    request: HttpRequest,
    reading: Reading,
    wanted: Sequence[Span],
    kind: str,
    length: int,
    *,
    heads: Sequence[bytes] = (b"",),
    end: bytes = b"",
) -> HttpResponseBase:
    """The spans, each behind its head. Begins to read before the headers are sent: what cannot be read is an
    error then."""
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=kind)
    else:
        await reading.begin(wanted[0].start, wanted[0].length)
        response = streamed(request, reading, _parts(reading, wanted, heads, end), kind)
    response.headers["Content-Length"] = str(length)
    return response


async def _parts(
    reading: Reading, wanted: Sequence[Span], heads: Sequence[bytes], end: bytes
) -> AsyncGenerator[bytes, None]:
    for at, (span, head) in enumerate(zip(wanted, heads, strict=True)):
        if at:
            await reading.begin(span.start, span.length)
        if head:
            yield head
        async for chunk in reading.chunks():
            yield chunk
    if end:
        yield end


def streamed(
    request: HttpRequest, reading: Reading, parts: AsyncGenerator[bytes, None], kind: str
) -> StreamingHttpResponse:
    """A response that ends `reading` with itself, also if it is never read. Its content raises Interrupted if
    the gateway ends early."""
    response = StreamingHttpResponse(_named(parts, request.path), content_type=kind)
    response._resource_closers.append(reading.close)  # type: ignore[attr-defined]
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _named(parts: AsyncGenerator[bytes, None], path: str) -> AsyncGenerator[bytes, None]:
    """`parts`; an interruption says of what."""
    async with aclosing(parts):
        try:
            async for part in parts:
                yield part
        except (CannotRead, Interrupted) as error:
            raise Interrupted(f"{visible(path)}: {error}") from None


def _describe(response: HttpResponseBase, request: HttpRequest, path: str, etag: str) -> None:
    kind = media_type(path)
    headers = response.headers
    headers["ETag"] = etag
    headers["Accept-Ranges"] = "bytes"
    headers["Cache-Control"] = "private, no-cache"
    if response.status_code not in (200, 206):
        return
    inline = is_shown(kind) and "download" not in request.GET
    headers["Content-Disposition"] = disposition(path.rpartition("/")[2], inline=inline)
    box(response, policy(kind))


def box(response: HttpResponseBase, csp: str) -> None:
    """Headers that keep files apart from the pages of the farm."""
    headers = response.headers
    headers["Content-Security-Policy"] = csp
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "cross-origin" if settings.FARM.files_origin else "same-origin"
