"""Django's own middleware, without turns of threads; hidden characters in texts of others, made visible."""

from __future__ import annotations

import re
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin
from servestatic.middleware import ServeStaticMiddleware

from hypercore.printable import visible

PAGE: Final = "\t\n\r"
"""Characters that lay out a page."""
JSON: Final = ("application/json", "application/problem+json")
_ESCAPED: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})")


class InLoop(MiddlewareMixin):
    """A middleware that waits for nothing. Django runs each hook of others in a thread, and the first byte of
    a file waits for all of these turns."""

    async def __acall__(self, request: HttpRequest) -> Any:
        before, after = (getattr(self, f"process_{name}", None) for name in ("request", "response"))
        response = None if before is None else before(request)
        if response is None:
            response = await self.get_response(request)  # type: ignore[misc]
        if after is None:
            return response
        if self.takes_long(request, response):
            return await sync_to_async(after)(request, response)
        return after(request, response)

    def takes_long(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        """Whether what is done with this response needs the database, or a while, and so a thread."""
        return False


class Security(InLoop, SecurityMiddleware):
    """Django's; it reads and writes headers."""


class Session(InLoop, SessionMiddleware):
    """Django's; it stores a session that has changed."""

    def takes_long(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        return settings.SESSION_SAVE_EVERY_REQUEST or request.session.modified


class Common(InLoop, CommonMiddleware):
    """Django's; it knows all addresses."""


class Csrf(InLoop, CsrfViewMiddleware):
    """Django's; cookies have its secrets. `asgi.Handler` calls `process_view`."""


class Authentication(InLoop, AuthenticationMiddleware):
    """Django's; the user is read when a view asks for it."""


class Messages(InLoop, MessageMiddleware):
    """Django's; what does not fit into a cookie goes into the session."""

    def takes_long(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        kept: Any = getattr(request, "_messages", None)
        return kept is not None and (kept.used or kept.added_new)


class XFrameOptions(InLoop, XFrameOptionsMiddleware):
    """Django's; it writes a header."""


class StaticFiles(ServeStaticMiddleware):  # type: ignore[misc]
    """Servestatic's. Where files are looked for when they are requested, none is listed before: that takes
    longer than a page, and a test client has a middleware of its own."""

    def add_files_from_finders(self) -> None:
        """List all files, or with `autorefresh` only the folders in which files are looked for."""
        if not self.autorefresh:
            super().add_files_from_finders()
            return
        found: Any = finders.get_finders()
        for finder in found:
            for storage in finder.storages.values():
                self.insert_directory(storage.location, self.static_prefix)


class VisibleText(InLoop):
    """Escapes control characters, and those that change the direction of text, in pages and in JSON.

    Titles, errors and names of workers come from peers and workers. A browser shows no control characters and
    obeys those of direction, so two different names can look alike. Done here for all pages, since Django and
    the theme print rows in many places.
    """

    def takes_long(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        return not response.streaming

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        if not isinstance(response, HttpResponse) or response.has_header("Content-Encoding"):
            return response
        kind = response.get("Content-Type", "").partition(";")[0].strip()
        if kind not in ("text/html", *JSON) or response.charset.lower() != "utf-8":
            return response
        try:
            text = response.content.decode()
        except UnicodeDecodeError:
            return response
        shown = _json(text) if kind in JSON else visible(text, keep=PAGE)
        if shown != text:
            response.content = shown.encode()
        return response


def _json(text: str) -> str:
    """Turn JSON escapes of hidden characters into those of what `visible` writes for them."""

    def shown(found: re.Match[str]) -> str:
        letter = chr(int(found[2], 16))
        if 0xD800 <= ord(letter) < 0xE000:
            return found[0]  # half of a pair
        escaped = visible(letter, keep=PAGE)
        return found[0] if escaped == letter else found[1] + escaped.replace("\\", "\\\\")

    return _ESCAPED.sub(shown, text)
