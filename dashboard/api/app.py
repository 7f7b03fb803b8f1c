"""Assembles the API: operations, errors, the OpenAPI document, addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from . import alerting, farm, history, links, plan, sources, workers
from .access import BearerToken
from .changes import operation as changes
from .compat import operations as compat
from .problems import MAX_ERRORS, ProblemError, documented, problem

log = logging.getLogger(__name__)

DESCRIPTION: Final = """\
See and steer a farm. `/api/v1/docs` shows this document as a page. Send `Authorization: Bearer TOKEN` with a
token of `seederfarm tokens add`.

Times are UTC in ISO 8601, sizes are whole bytes, keys may be written in any spelling. Lists come in pages:
pass `next` as `cursor` until it is null. Errors are `application/problem+json` (RFC 9457).
"""
ERRORS: Final = {"get": (401, 403, 404, 422, 429), "": (400, 401, 403, 404, 409, 413, 422, 429)}
"""Statuses that an operation answers beside its own, by method."""
PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "text"],
                "properties": {"field": {"type": "string"}, "text": {"type": "string"}},
            },
        },
    },
}


class FarmAPI(NinjaAPI):
    """The API with its errors (RFC 9457) in the OpenAPI document."""

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> OpenAPISchema:
        """Ninja's document, with the errors of every operation."""
        document = super().get_openapi_schema(*args, **kwargs)
        schemas = document["components"]["schemas"]
        document["components"]["schemas"] = {**changes.SHAPES, **schemas, "Problem": PROBLEM}
        scopes = dict(self._scopes())
        for operations in document["paths"].values():
            for method, operation in operations.items():
                if scope := scopes.get(operation["operationId"]):
                    operation["security"] = [{"BearerToken": [scope]}]
                for status in ERRORS.get(method, ERRORS[""]):
                    operation["responses"].setdefault(status, documented(status))
        return document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """`list_drives`: the same wherever its code is."""
        return operation.view_func.__name__

    def _scopes(self) -> Iterator[tuple[str, str]]:
        """The id of each operation, and the scope that its token needs."""
        for router in self._get_bound_routers():
            for view in router.path_operations.values():
                for operation in view.operations:
                    for check in operation.auth_callbacks:
                        if isinstance(check, BearerToken):
                            yield self.get_openapi_operation_id(operation), check.scope.value


api: Final = FarmAPI(
    title="Seeder Farm",
    version="1",
    description=DESCRIPTION,
    docs_url=None,
    urls_namespace="dashboard:api",
)
for part in (farm, plan, links, workers, sources, history, changes, alerting):
    api.add_router("", part.router)
api.add_router("/compat", compat.router)


@api.exception_handler(ProblemError)
def on_problem(request: HttpRequest, error: ProblemError) -> HttpResponse:
    """The answer to an error that a view raised."""
    return error.response()


@api.exception_handler(ValidationError)
def on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Answer wrong values with 422. The answer names the fields, and does not repeat the values."""
    errors = [
        {"field": ".".join(map(str, fault.get("loc", ())))[:200], "text": str(fault.get("msg", ""))[:300]}
        for fault in error.errors[:MAX_ERRORS]
    ]
    return problem(422, "; ".join(dict.fromkeys(fault["text"] for fault in errors[:3])), errors=errors)


@api.exception_handler(AuthenticationError)
def on_no_token(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    """401 for a request without a valid token."""
    return problem(401, "Send the header Authorization: Bearer TOKEN.")


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Answer errors of ninja itself, such as a body that is not JSON."""
    return problem(error.status_code, "The body is not what the operation takes: JSON in UTF-8.")


@api.exception_handler(Http404)
def on_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    """404 for what the farm does not have."""
    return problem(404, "Nothing of this farm has this name.")


@api.exception_handler(SuspiciousOperation)
def on_suspicious(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    """413 for a body above Django's bound, 400 for anything else that Django refuses to read."""
    if isinstance(error, RequestDataTooBig):
        return problem(413, "The body is too large.")
    return problem(400, "The request could not be read.")


@api.exception_handler(Exception)
def on_failure(request: HttpRequest, error: Exception) -> HttpResponse:
    """Log an unexpected error with its traceback, and answer 500 without it."""
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return problem(500, "Nothing of it was carried out. The reason is in the log of the farm.")
