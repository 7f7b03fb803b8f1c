"""Authorises readers of a file: users that are logged in, tokens with the scope `read`, clients with a link;
all clients, if the drive is public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import urlencode

from seederfarm.registry.models import Drive
from seederfarm.registry.roles import VIEW
from seederfarm.registry.services.file_links import read_link

from ..api.access import READ
from ..api.problems import ProblemError
from ..public.limits import address_of, wait_of
from .refusals import FRAGMENT, Refused, wants_page

LINK: Final = "link"
"""Parameter with a signed link."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client that may read one path."""

    name: str
    """Name of its budget: clients with the same name share a part of the gateway."""
    link: str = ""
    """The signed link that it came by; it then sees no other page of the farm."""
    is_public: bool = False
    """Whether it came without any of these, to a public drive."""

    def query(self, **values: str | int | None) -> str:
        """Parameters for another address of the same drive, with the link."""
        given = {name: value for name, value in values.items() if value not in (None, "")}
        if self.link:
            given[LINK] = self.link
        return f"?{urlencode(given)}" if given else ""


def admitted(request: HttpRequest, key: str, path: str, version: int | None) -> Visitor | HttpResponseBase:
    """Return the visitor of a request, or a redirect to the login. Raises Refused."""
    token = request.GET.get(LINK)
    if token is not None:
        link = read_link(token)
        if link is None:
            raise Refused(403, "This link has expired", "Ask for another one where you got it.")
        if not link.covers(key, path, version):
            raise Refused(403, "This link is for something else", "It opens one file, or one folder.")
        return Visitor(f"link {request.META.get('REMOTE_ADDR', '')}", token)
    if "Authorization" in request.headers:
        try:
            caller = READ(request)
        except ProblemError as error:
            raise Refused(error.status, "The token is refused", str(error), headers=error.headers) from None
        return Visitor(f"user {caller.user.pk}")
    user = request.user
    is_known = user.is_authenticated and not on_files_origin(request)
    if is_known and user.has_perm(VIEW):
        return Visitor(f"user {user.pk}")
    if wait := wait_of(request):
        raise Refused(
            429, "Too many requests", "Wait a moment, or log in.", headers={"Retry-After": str(wait)}
        )
    if Drive.objects.filter(key=key, public=True).exists():
        return Visitor(f"public {address_of(request).hex()}", is_public=True)
    if is_known:
        raise Refused(403, "You may not see files", "Your account has no role. An administrator gives one.")
    if wants_page(request) and FRAGMENT not in request.GET and not on_files_origin(request):
        return redirect_to_login(request.get_full_path())
    text = "Log in, send a token with the scope read, or use a link of the farm."
    raise Refused(401, "Files are for people of this farm", text, headers={"WWW-Authenticate": "Bearer"})


def on_files_origin(request: HttpRequest) -> bool:
    """Whether the request came to the origin that has files alone."""
    origin = settings.FARM.files_origin
    return bool(origin) and request.get_host() == origin.partition("://")[2]
