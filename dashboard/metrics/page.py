"""`/metrics`: for a token of the API with the scope `read`, or the token of SEEDERFARM_METRICS_TOKEN."""

from __future__ import annotations

import hmac
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ..api.access import READ
from ..api.problems import ProblemError
from .numbers import make_registry

registry: Final = make_registry()


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """`/metrics` for Prometheus, with SEEDERFARM_METRICS_TOKEN or an API token of the scope `read`."""
    if not _has_own_token(request):
        try:
            READ(request)
        except ProblemError as problem:
            return problem.response()
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _has_own_token(request: HttpRequest) -> bool:
    wanted, given = settings.FARM.metrics_token, request.headers.get("Authorization", "")
    return bool(wanted) and hmac.compare_digest(
        given.encode("utf-8", "replace"), f"Bearer {wanted}".encode("utf-8", "replace")
    )
