"""A client of the API that compares every answer with the OpenAPI document."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, NamedTuple

from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client
from jsonschema import Draft202012Validator, FormatChecker

from dashboard.api.app import api
from dashboard.api.problems import MEDIA_TYPE


@cache
def document() -> dict[str, Any]:
    return json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/"), default=str))


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation of an address. Fixed parts win over parameters."""
    for template, operations in sorted(document()["paths"].items(), key=lambda pair: pair[0].count("{")):
        pattern = re.sub(r"\\\{[^}]+\\\}", "(?:[a-z]+:/{1,2})?[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            return operations.get(method.lower())
    return None


def schema_of(operation: dict[str, Any], status: int, media_type: str) -> dict[str, Any] | None:
    answer = operation["responses"][str(status)]
    return answer.get("content", {}).get(media_type, {}).get("schema")


@cache
def _checker(schema: str) -> Draft202012Validator:
    whole = {**json.loads(schema), "components": document()["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def errors_of(value: Any, schema: dict[str, Any]) -> list[str]:
    checker = _checker(json.dumps(schema))
    return [f"{list(error.path)}: {error.message}" for error in checker.iter_errors(value)]


def close(response: Any) -> None:
    """Close an answer that is not read to its end, and not the connection of the test."""
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any


class ApiClient:
    def __init__(self, token: str = "", **headers: str) -> None:
        self.client = Client()
        self.headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """The answer, when it is one that the document has. `path` is below `/api/v1/`."""
        address = path if path.startswith("/") else f"/api/v1/{path}"
        sent = json.dumps(body) if body is not None and not isinstance(body, bytes | str) else body
        given = {"data": sent, "content_type": "application/json"} if body is not None else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.client.generic(method, address, headers={**self.headers, **named}, **given)
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        if response.status_code >= 400:
            assert kind == MEDIA_TYPE, (response.status_code, response.content[:500])
        assert not response.cookies
        if response.streaming:  # it goes on for long
            close(response)
            return Answer(response.status_code, None, response.headers)
        shown = json.loads(response.content) if response.content else None
        self._compare(method, address.partition("?")[0], response.status_code, kind, shown)
        return Answer(response.status_code, shown, response.headers)

    def _compare(self, method: str, path: str, status: int, kind: str, shown: Any) -> None:
        operation = operation_of(method, path)
        if operation is None:
            assert status in (404, 405), (method, path, status, shown)
            return
        assert str(status) in operation["responses"], (method, path, status, shown)
        schema = schema_of(operation, status, kind)
        assert (schema is None) == (shown is None)
        if schema is not None:
            assert errors_of(shown, schema) == []

    def get(self, path: str, **query: Any) -> Any:
        """The body of a 200."""
        from urllib.parse import urlencode

        answer = self("GET", f"{path}?{urlencode(query)}" if query else path)
        assert answer.status == 200, answer
        return answer.body
