"""`/join/install.sh`, and `/join/ID/bundle.tar` for the ID of a token. Refusals are one line that the
installer prints."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from seederfarm.registry.models import EnrolmentToken, Worker

from .bundle import NoPins, bundle
from .command import CertificateUnreadable, installer

TEXT: Final = "text/plain; charset=utf-8"
MAKE_ONE: Final = "`seederfarm worker enroll` on the farm prints a new one"


@never_cache
@require_safe
def install_script(request: HttpRequest) -> HttpResponse:
    """The installer, for anyone: it has no secret."""
    try:
        return HttpResponse(installer(settings.FARM), content_type="text/x-shellscript; charset=utf-8")
    except (NoPins, CertificateUnreadable) as error:
        return HttpResponse(f"{error}\n", status=500, content_type=TEXT)


@never_cache
@require_safe
def packages(request: HttpRequest, place: str) -> HttpResponse:
    """The bundle, for a machine that may join, or has joined, with the token of this id."""
    if refusal := _refusal(place):
        return HttpResponse(f"{refusal}\n", status=403, content_type=TEXT)
    try:
        return HttpResponse(bundle().data, content_type="application/x-tar")
    except NoPins as error:
        return HttpResponse(f"{error}\n", status=500, content_type=TEXT)


def _refusal(place: str) -> str:
    """Why the holder of a token gets nothing; empty: it does. `place`: its `farmwire.join.queue_id`."""
    # A range, for which every database uses the index; "g" follows all hex digits
    rows = EnrolmentToken.objects.filter(digest__gte=place, digest__lt=f"{place}g").select_related("used_by")
    token = rows.first()
    if token is None:
        return f"this farm does not know the token; {MAKE_ONE}"
    if token.revoked_at is not None:
        return f"the token was revoked; {MAKE_ONE}"
    if token.used_at is not None:
        if token.used_by is None or token.used_by.state == Worker.State.RETIRED:
            return f"the worker that joined with this token was retired; {MAKE_ONE}"
        return ""
    if token.expires_at <= timezone.now():
        return f"the token expired at {token.expires_at:%Y-%m-%d %H:%M} UTC; {MAKE_ONE}"
    return ""
