"""Requests of a client with a token that means no good."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth.models import User

from dashboard.api.given import MAX_KEYS
from dashboard.api.middleware import MAX_BODY
from seederfarm.registry.models import Drive

from ...seederfarm.registry.factories import key_of
from ..farm import populate
from .client import ApiClient, document
from .conftest import token_for
from .test_access import every_operation

pytestmark = pytest.mark.usefixtures("database")

LISTS = ("drives", "workers", "sources", "alerts", "events", "audit", "compat/drives", "compat/drives/keys")
FORGED = (
    '["-at","2026-01-01T00:00:00+00:00",1]', '["-at",null,1]', '["-id",null,1]', '["-id",1,true]',
    '["name",null,-1]',
    '["-id",1,1e400]', '["-at","9999-12-31T23:59:59+23:59",1]', '["-at","x",1]', '["name","a\\u0000b",1]',
    '["name","\\ud800",1]', "[[[]]]", "null", '"x"', "{}", "[" * 700,
)  # fmt: skip


def sealed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("address", LISTS)
def test_forged_cursors_show_a_page_or_are_refused(reader: ApiClient, address: str) -> None:
    populate()
    for text in FORGED:
        assert reader("GET", f"{address}?cursor={sealed(text)}").status in (200, 422), text


def test_a_cursor_of_one_list_shows_nothing_that_another_filter_hides(reader: ApiClient) -> None:
    populate()
    cursor = reader.get("drives", limit=1)["next"]
    shown = reader.get("drives", limit=200, cursor=cursor, state="safe")
    assert {item["state"] for item in shown["items"]} <= {"safe"}


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deep_json_is_refused_everywhere(writer: ApiClient, depth: int) -> None:
    populate()
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    as_value = b'{"label":' + b"[" * depth + b"]" * depth + b"}"
    for method, path in every_operation():
        if method in ("POST", "PATCH") and "requestBody" in _operation(method, path):
            for body in (deep, as_value):
                status = writer(method, path, body).status
                assert status in (400, 404, 422), (method, path, status)


def _operation(method: str, path: str) -> dict[str, Any]:
    from .client import operation_of

    found = operation_of(method, path)
    assert found is not None
    return found


@pytest.mark.slow
def test_ten_thousand_keys_are_added_at_once_and_one_more_is_not(writer: ApiClient) -> None:
    keys = [sha256(str(number).encode()).hexdigest() for number in range(MAX_KEYS + 1)]
    assert writer("POST", "drives", {"keys": keys}).status == 422
    assert len(json.dumps({"keys": keys[:MAX_KEYS]})) < MAX_BODY
    assert writer("POST", "drives", {"keys": keys[:MAX_KEYS], "tags": ["many"]}).status == 201
    assert Drive.objects.count() == MAX_KEYS
    again = writer("POST", "drives", {"keys": keys[:MAX_KEYS]})
    assert again.status == 200 and len(again.body["existing"]) == MAX_KEYS


def test_numbers_and_texts_beyond_all_bounds_are_refused(writer: ApiClient) -> None:
    populate()
    key = Drive.objects.get(label="Radio").z32
    for body in (
        b'{"priority": 1e999}', b'{"priority": 99999999999999999999999}', b'{"max_fork": 1e30}',
        b'{"label": "\\ud800"}', b'{"label": NaN}', b'{"expires_at": "9999999-01-01T00:00:00Z"}',
        b'{"expires_at": "9999-12-31T23:59:59-23:59"}',
        b'{"label": "a", "label": null}', b'{"pinned_workers": ["' + b"x" * 101 + b'"]}',
    ):  # fmt: skip
        assert writer("PATCH", f"drives/{key}", body).status in (400, 422), body
    assert writer("PATCH", f"drives/{key}", {"expires_at": "2099-01-01T00:00:00+23:59"}).status == 200


def test_what_is_private_and_what_is_not_here_look_alike_without_a_token() -> None:
    populate()
    here, not_here = Drive.objects.get(label="Radio").key, key_of("no")
    for template in document()["paths"]:
        if "{key}" not in template:
            continue
        answers = [ApiClient()("GET", template.replace("{key}", key)) for key in (here, not_here)]
        assert answers[0].status == answers[1].status, template
        assert answers[0].body == answers[1].body, template


def test_a_token_of_another_scope_learns_nothing_of_what_there_is(otto: User) -> None:
    populate()
    here, not_here = Drive.objects.get(label="Radio").key, key_of("no")
    other = ApiClient(token_for(otto, "alerts"))
    for path in ("drives/{}", "drives/{}/copies", "compat/drives/{}", "compat/files/{}?path=a"):
        answers = [other("GET", path.format(key)) for key in (here, not_here)]
        assert answers[0].status == 403 and answers[0].body == answers[1].body
