"""Access: every page needs a login and the right to look, every change a permission of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from hypercore.keys import encode_key
from seederfarm.registry.roles import VIEW

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(view: View[P]) -> View[P]:
    """A page to look at, for viewers, operators and admins. Accounts without a role get 403."""
    return never_cache(require_safe(login_required(_permitted(VIEW, view))))


def form_page(permission: str) -> Callable[[View[P]], View[P]]:
    """A page with a form, for users with this permission; others get 403."""

    def decorate(view: View[P]) -> View[P]:
        return never_cache(login_required(_permitted(permission, view)))

    return decorate


def action(permission: str) -> Callable[[View[P]], View[P]]:
    """A POST that changes something."""

    def decorate(view: View[P]) -> View[P]:
        return require_POST(login_required(_permitted(permission, view)))

    return decorate


def _permitted(permission: str, view: View[P]) -> View[P]:
    def check(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return wraps(view)(check)


def canonical(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Redirect addresses with a key in another spelling than z-base-32. The argument `key` is hex."""

    @wraps(view)
    def redirect(request: HttpRequest, key: str, **kwargs: Any) -> HttpResponse:
        match = request.resolver_match
        assert match is not None
        here = reverse(match.view_name, kwargs={"key": key, **kwargs})
        if request.method == "GET" and request.path != here:
            query = request.META.get("QUERY_STRING", "")
            return HttpResponsePermanentRedirect(f"{here}?{query}" if query else here)
        return view(request, key=key, **kwargs)

    return redirect


def back_to(request: HttpRequest, otherwise: str) -> str:
    """The address in `next`, if it is one of this farm."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else otherwise


def key_in_address(key: str) -> str:
    """Return a stored key (hex) as addresses have it."""
    return encode_key(bytes.fromhex(key))
