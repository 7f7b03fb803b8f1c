"""Limits requests of one address to public pages."""

from __future__ import annotations

from time import monotonic
from typing import Final

from django.http import HttpRequest

from seederfarm.registry.buckets import Buckets, RateLimit
from seederfarm.registry.logins import place_of

ASKED: Final = RateLimit(60, 1.0)
"""Requests from one address (IPv6: a /64): one a second, and 60 at once. Ours."""
MAX_COUNTED: Final = 10_000
"""Addresses whose requests are counted. Ours."""

asked: Final = Buckets(ASKED, MAX_COUNTED)
"""Requests of each address, over all requests of the process."""


def address_of(request: HttpRequest) -> bytes:
    """Return the address under which requests without a login are counted: sixteen bytes."""
    return place_of(str(request.META.get("REMOTE_ADDR") or ""))


def wait_of(request: HttpRequest) -> int:
    """Count a request. Returns 0, or the seconds after which its address may ask again."""
    address, now = address_of(request), monotonic()
    return 0 if asked.take(address, now) else round(asked.wait(address, now)) + 1
