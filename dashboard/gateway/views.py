"""Files, folders, ZIP archives and previews of a drive."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, Final
from urllib.parse import unquote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from seederfarm.registry.models import Drive
from seederfarm.registry.services.file_links import short_link
from workers.gateway.protocol import Ask

from ..streaming import release
from . import pages
from .access import Visitor, admitted, on_files_origin
from .answers import answer, box, streamed
from .client import CannotRead, Interrupted, Reading
from .headers import BOX, disposition
from .refusals import FRAGMENT, Refused, wants_json

OWN_LINK: Final = timedelta(hours=6)
"""Life of the links to the files' own origin: a film may be watched as long."""
MAX_VERSION_DIGITS: Final = 15

View = Callable[[HttpRequest, Drive, str, Visitor, Reading], Coroutine[Any, Any, HttpResponseBase]]
Entry = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def of_a_path(view: View) -> Entry:
    """Authorises the client, finds the drive, looks the path up, and answers errors. A key in another
    spelling is redirected."""

    @wraps(view)
    async def checked(request: HttpRequest, key: str, path: str = "") -> HttpResponseBase:
        reading = None
        try:
            if (elsewhere := _canonical(request, key, path)) is not None:
                return elsewhere
            version = _version(request)
            found = await sync_to_async(_found)(request, key, f"/{path}", version)
            if isinstance(found, HttpResponseBase):
                return found
            visitor, drive = found
            ask = Ask(
                key=key, path=f"/{path}", version=version, client=visitor.name, is_public=visitor.is_public
            )
            reading = await Reading.open(settings.FARM.gateway_socket, ask)
            return await view(request, drive, f"/{path}", visitor, reading)
        except BaseException as error:
            if reading is not None:
                reading.close()
            if isinstance(error, Interrupted):
                error = CannotRead("unavailable", "The file ended early. Try again.", retry=5)
            if isinstance(error, CannotRead):
                error = Refused.by_gateway(error)
            if not isinstance(error, Refused):
                raise
            return await sync_to_async(error.response)(request)

    return require_safe(checked)


def _found(
    request: HttpRequest, key: str, path: str, version: int | None
) -> tuple[Visitor, Drive] | HttpResponseBase:
    """Return the visitor and the drive, or a redirect to the login. Raises Refused.

    One turn of a thread: the first byte waits for each."""
    try:
        visitor = admitted(request, key, path, version)
        if isinstance(visitor, HttpResponseBase):
            return visitor
        drive = Drive.objects.filter(key=key).first()
        if drive is None:
            raise Refused(404, "This farm has no such drive", "It may have been removed.")
        if visitor.is_public:
            drive.label = ""  # what the farm calls it is for those who log in
        return visitor, drive
    finally:
        release()


@of_a_path
async def files(
    request: HttpRequest, drive: Drive, path: str, visitor: Visitor, reading: Reading
) -> HttpResponseBase:
    """`/drives/KEY/files/PATH`: the bytes of a file, the names in a folder."""
    facts = reading.facts
    if facts.kind == "folder" and not path.endswith("/"):
        reading.close()
        return HttpResponseRedirect(_with_query(request, reverse_of("files", drive.key, path + "/")))
    if facts.kind == "folder":
        return await _folder(request, drive, path, visitor, reading)
    if settings.FARM.files_origin and not on_files_origin(request) and "Authorization" not in request.headers:
        reading.close()
        response = HttpResponseRedirect(_elsewhere(request, drive.key, path, visitor))
        response.headers["Cache-Control"] = "no-store"
        return response
    return await answer(request, reading, path)


async def _folder(
    request: HttpRequest, drive: Drive, path: str, visitor: Visitor, reading: Reading
) -> HttpResponse:
    part = FRAGMENT in request.GET
    wanted = pages.wanted_of(request, pages.PART_ROWS if part else pages.ROWS)
    listing = await reading.list(wanted)
    reading.close()
    addresses = _addresses(request, drive, visitor)
    response: HttpResponse
    if wants_json(request):
        response = JsonResponse(
            pages.as_json(listing, reading.facts, path, addresses, is_paged=wanted.is_paged)
        )
    else:
        context = {
            "rows": pages.rows(listing, path, addresses),
            "left_out": listing.left_out,
            "next": addresses.of("files", path, after=pages.cursor_of(listing))
            if listing.more and wanted.is_paged
            else "",
            "first": addresses.of("files", path) if wanted.after and wanted.is_paged else "",
            "wanted": wanted,
            "columns": pages.columns(wanted, path, addresses),
            "here": addresses.of("files", path),
            "examined": listing.examined,
            "is_cut": listing.more and not wanted.is_paged,
            "zip": addresses.of("zip", path),
            **_about(drive, path, visitor, reading, addresses),
        }
        if on_files_origin(request):
            context["is_public"] = False  # its public page is at the other origin
        if part:
            context["next"] = addresses.of("files", path) if listing.more else ""
        template = "_files" if part else "folder"
        response = await sync_to_async(render)(request, f"dashboard/gateway/{template}.html", context)
        if part:
            response.headers["X-Fragment"] = "1"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Drive-Version"] = str(reading.facts.version)
    return response


@of_a_path
async def zipped(
    request: HttpRequest, drive: Drive, path: str, visitor: Visitor, reading: Reading
) -> HttpResponseBase:
    """`/drives/KEY/zip/PATH`: a folder as an archive."""
    if reading.facts.kind == "file":
        raise Refused(404, "This is a file", "A ZIP is made of a folder.")
    if not path.endswith("/"):
        reading.close()
        return HttpResponseRedirect(_with_query(request, reverse_of("zip", drive.key, path + "/")))
    name = path.strip("/").rpartition("/")[2] or drive.label or drive.title or drive.short_key
    kind = "application/zip"
    response: HttpResponseBase
    if request.method == "HEAD":
        reading.close()
        response = HttpResponse(content_type=kind)
        del response.headers["Content-Length"]
    else:
        await reading.begin_zip()
        response = streamed(request, reading, reading.frames(), kind)
    box(response, BOX)
    response.headers["Content-Disposition"] = disposition(f"{name}.zip", inline=False)
    response.headers["Cache-Control"] = "no-store"
    return response


@of_a_path
async def preview(
    request: HttpRequest, drive: Drive, path: str, visitor: Visitor, reading: Reading
) -> HttpResponseBase:
    """`/drives/KEY/preview/PATH`: a page that shows a file."""
    facts = reading.facts
    if facts.kind == "folder":
        reading.close()
        return HttpResponseRedirect(_with_query(request, reverse_of("files", drive.key, facts.path)))
    kind = pages.preview_kind(path)
    text = b""
    if kind == "text" and facts.size:
        await reading.begin(0, min(facts.size, pages.MAX_TEXT))
        text = b"".join([chunk async for chunk in reading.chunks()])
    reading.close()
    addresses = _addresses(request, drive, visitor)
    context = {
        "kind": kind,
        "text": text.decode("utf-8", "replace").replace("\0", "\N{SYMBOL FOR NULL}"),
        "cut": facts.size > pages.MAX_TEXT,
        "shown_bytes": pages.MAX_TEXT,
        "source": addresses.of("files", path),
        "download": addresses.of("files", path, download=1),
        "look": pages.look_of(path),
        **_about(drive, path, visitor, reading, addresses),
    }
    response = await sync_to_async(render)(request, "dashboard/gateway/preview.html", context)
    response.headers["Content-Security-Policy"] = pages.page_policy()
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _addresses(request: HttpRequest, drive: Drive, visitor: Visitor) -> pages.Addresses:
    return pages.Addresses(drive.key, visitor, _version(request), has_previews=not on_files_origin(request))


def _about(
    drive: Drive, path: str, visitor: Visitor, reading: Reading, addresses: pages.Addresses
) -> dict[str, Any]:
    """What pages of files have in common."""
    is_outside = bool(visitor.link) or visitor.is_public
    return {
        "drive": drive,
        "facts": reading.facts,
        "root": addresses.of("files", "/"),
        "crumbs": addresses.crumbs(path),
        "name": path.rpartition("/")[2],
        "frame_template": "dashboard/gateway/plain.html" if is_outside else "dashboard/base.html",
        "is_public": visitor.is_public,
    }


def _version(request: HttpRequest) -> int | None:
    """The parameter `version`. Raises Refused if it is no number."""
    text = request.GET.get("version", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS):
        raise Refused(404, "This version is not known", "A version is a whole number.")
    return int(text)


def reverse_of(view: str, key: str, path: str) -> str:
    """Address of a path of a drive. `path` begins with a slash."""
    return reverse(f"dashboard:{view}", kwargs={"key": key, "path": path[1:]})


def _canonical(request: HttpRequest, key: str, path: str) -> HttpResponse | None:
    """A redirect, if the key in the address is spelled otherwise than in all others."""
    assert request.resolver_match is not None
    here = reverse(request.resolver_match.view_name, kwargs={"key": key, "path": path})
    if unquote(here) == request.path:
        return None
    return HttpResponsePermanentRedirect(_with_query(request, here))


def _with_query(request: HttpRequest, address: str) -> str:
    query = request.META.get("QUERY_STRING", "")
    return f"{address}?{query}" if query else address


def _elsewhere(request: HttpRequest, key: str, path: str, visitor: Visitor) -> str:
    """The same file at the origin that has files alone; that of a public drive needs no link."""
    if visitor.is_public:
        return _with_query(request, settings.FARM.files_origin + reverse_of("files", key, path))
    token = visitor.link or short_link(key, path, OWN_LINK, version=_version(request)).token
    query = request.GET.copy()
    query["link"] = token
    return f"{settings.FARM.files_origin}{reverse_of('files', key, path)}?{query.urlencode()}"
