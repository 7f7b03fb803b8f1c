"""Errors as `application/problem+json` (RFC 9457). Knows no web framework but Django's answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpResponse

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20
"""Faults of one request that are listed. Ours."""

TITLES: Final[Mapping[int, str]] = {
    400: "The request could not be read",
    401: "A valid token is needed",
    403: "The token may not do this",
    404: "There is nothing at this address",
    405: "This address does not take that method",
    409: "It does not fit the present state",
    410: "It is not kept any more",
    411: "The length of the body is needed",
    413: "The request is too large",
    422: "A value is wrong",
    429: "Too many requests",
    500: "The farm could not answer",
    503: "The farm is busy",
}


class ProblemError(Exception):
    """Ends an operation with an error."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> HttpResponse:
        """The error as an answer in JSON (RFC 9457)."""
        return problem(self.status, self.detail, errors=self.errors, headers=self.headers)


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """`errors`: objects with `field` (`body.keys`) and `text`; MAX_ERRORS of them are sent."""
    body: dict[str, Any] = {"type": "about:blank", "title": title_of(status), "status": status}
    body["detail"] = detail[:1000]
    if errors:
        body["errors"] = [dict(error) for error in errors[:MAX_ERRORS]]
    response = HttpResponse(json.dumps(body), status=status, content_type=MEDIA_TYPE)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="seederfarm"'
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def title_of(status: int) -> str:
    """The title of all errors with this status."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def documented(status: int) -> dict[str, Any]:
    """A response of the OpenAPI document."""
    shape = {"$ref": "#/components/schemas/Problem"}
    return {"description": title_of(status), "content": {MEDIA_TYPE: {"schema": shape}}}


def later(wait: float) -> dict[str, str]:
    """Headers that say when to try again. `wait` in seconds."""
    return {"Retry-After": str(max(1, math.ceil(wait)))}
