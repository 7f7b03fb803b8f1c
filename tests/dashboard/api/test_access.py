"""Tokens, scopes, limits, and what goes wrong before an operation."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone

from dashboard.api import access
from dashboard.api.app import api
from dashboard.api.limits import MAX_KNOWN, REFUSED, REQUESTS, TokenLimit
from dashboard.api.middleware import MAX_BODY
from seederfarm.registry.models import ApiToken
from seederfarm.registry.services import issue_api_token, revoke_api_token

from ...seederfarm.registry.factories import key_of, make_drive
from ..farm import populate
from .client import ApiClient, document
from .conftest import make_operator, token_for

pytestmark = pytest.mark.usefixtures("database")

WRONG = ("", "x", "sft_", "sft_" + "A" * 43, "sft_" + "ä" * 43, "sft_" + "A" * 20_000, "\udcff", "sft_'; --")


def every_operation() -> list[tuple[str, str]]:
    fill = {"key": key_of("no"), "worker": "nobody", "name": "no-list", "alert": "1"}
    fill |= {"kind": "drive.short", "silence": "1", "channel": "1", "version": "1"}
    return [
        (method.upper(), template.format(**fill))
        for template, operations in document()["paths"].items()
        for method in operations
    ]


@pytest.mark.slow
def test_no_operation_answers_without_a_token() -> None:
    populate()
    found = every_operation()
    assert len(found) > 10
    for method, path in found:
        answer = ApiClient()(method, path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "Coastal" not in str(answer.body)


@pytest.mark.parametrize("secret", WRONG)
def test_a_wrong_token_is_refused(secret: str) -> None:
    answer = ApiClient(Authorization=f"Bearer {secret}")("GET", "farm")
    assert answer.status == answer.body["status"] == 401
    assert answer.body["title"] == "A valid token is needed"


def test_a_session_or_a_password_is_no_token(administrator: Client) -> None:
    assert administrator.get("/api/v1/farm").status_code == 401
    assert ApiClient(Authorization="Basic YW5uYTpjb3JyZWN0IGhvcnNl")("GET", "farm").status == 401


def test_each_operation_needs_its_scope(otto: User) -> None:
    populate()
    nothing = ApiClient(token_for(otto))
    for method, path in every_operation():
        answer = nothing(method, path)
        assert answer.status == 403 and "no scope" in answer.body["detail"], (method, path)


def test_a_token_has_no_more_rights_than_its_user() -> None:
    populate()
    vera = make_operator("vera", rights=("view_drive",))
    client = ApiClient(token_for(vera, "read", "drives", "workers", "sources", "alerts"))
    changes = [(method, path) for method, path in every_operation() if method != "GET"]
    assert len(changes) > 12
    for method, path in changes:
        answer = client(method, path, {})
        assert answer.status == 403 and "no permission" in answer.body["detail"], (method, path)
    assert client("GET", "drives").status == 200
    vera.user_permissions.clear()
    assert client("GET", "drives").status == 403, "an account without a role sees nothing"


def test_a_token_ends_with_its_time_its_user_or_by_hand(otto: User) -> None:
    over = issue_api_token(otto, "old", scopes=["read"], expires_at=timezone.now(), actor="cli")
    assert ApiClient(over.secret)("GET", "farm").status == 401
    lasting = issue_api_token(
        otto, "new", scopes=["read"], expires_at=timezone.now() + timedelta(hours=1), actor="cli"
    )
    client = ApiClient(lasting.secret)
    assert client("GET", "farm").status == 200
    otto.is_active = False
    otto.save()
    assert client("GET", "farm").status == 401
    otto.is_active = True
    otto.save()
    assert client("GET", "farm").status == 200
    revoke_api_token(lasting.token, "cli")
    assert client("GET", "farm").status == 401


def test_secrets_are_not_stored_and_the_last_use_is_recorded_once_a_minute(otto: User) -> None:
    secret = token_for(otto, "read")
    token = ApiToken.objects.get()
    assert secret not in str(ApiToken.objects.values()) and len(token.digest) == 64
    client = ApiClient(secret)
    client("GET", "farm")
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    client("GET", "farm")
    token.refresh_from_db()
    assert token.last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    client("GET", "farm")
    token.refresh_from_db()
    assert token.last_used_at is not None and token.last_used_at >= first


def test_a_token_has_a_rate(otto: User, fresh_limit: TokenLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, other = token_for(otto, "read"), token_for(otto, "read")
    monkeypatch.setattr(access, "monotonic", lambda: 0.0)
    for _ in range(REQUESTS.burst - 1):
        assert fresh_limit.accepted(sha256(secret.encode()).hexdigest(), 0.0) == 0
    client = ApiClient(secret)
    assert client("GET", "workers").status == 200
    answer = client("GET", "workers")
    assert answer.status == 429 and answer.headers["Retry-After"] == "1"
    assert ApiClient(other)("GET", "workers").status == 200
    monkeypatch.setattr(access, "monotonic", lambda: 1.0)
    assert client("GET", "workers").status == 200


@pytest.mark.slow
def test_wrong_tokens_are_bounded_and_lock_no_known_user_out(otto: User) -> None:
    known, other = ApiClient(token_for(otto, "read")), ApiClient(token_for(otto, "read"))
    assert known("GET", "workers").status == 200
    for number in range(REFUSED.burst):
        assert ApiClient(f"sft_{number:043}")("GET", "workers").status == 401
    blocked = ApiClient("sft_" + "B" * 43)("GET", "workers")
    assert blocked.status == 429 and int(blocked.headers["Retry-After"]) > 1
    assert other("GET", "workers").status == 429
    assert known("GET", "workers").status == 200


def test_limits_fall_with_time_and_count_ipv6_by_network() -> None:
    limit = TokenLimit()
    for number in range(REFUSED.burst):
        limit.refused("x", f"2001:db8::{number:x}", 0.0)
    assert limit.wait("y", "2001:db8::ffff", 0.0) > 0
    assert limit.wait("y", "2001:db8:0:1::1", 0.0) == 0
    assert limit.wait("y", "2001:db8::1", REFUSED.seconds) == 0
    for _ in range(REQUESTS.burst):
        assert limit.accepted("t", 0.0) == 0
    assert limit.accepted("t", 0.0) > 0
    assert limit.accepted("t", 1.0) == 0


def test_a_revoked_token_is_not_known_any_more_and_their_number_is_bounded() -> None:
    limit = TokenLimit()
    for number in range(MAX_KNOWN + 1):
        limit.accepted(str(number), 0.0)
    for _ in range(REFUSED.burst):
        limit.refused("x", "192.0.2.1", 0.0)
    assert limit.wait("0", "192.0.2.1", 0.0) > 0
    assert limit.wait("1", "192.0.2.1", 0.0) == 0
    limit.refused("1", "192.0.2.1", 0.0)
    assert limit.wait("1", "192.0.2.1", 0.0) > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/", 404),
        ("GET", "/api/v1/", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/drives/abc", 404),
        ("GET", "/api/v1/drives/%00", 404),
        ("GET", "/api/v1/workers/%00", 422),
        ("GET", "/api/v2/drives", 404),
        ("DELETE", "/api/v1/farm", 405),
        ("BREW", "/api/v1/farm", 405),
    ],
)
def test_addresses_that_are_none_are_problems_too(
    reader: ApiClient, method: str, path: str, status: int
) -> None:
    answer = reader(method, path)
    assert answer.status == status
    if status == 405:
        assert "GET" in answer.headers["Allow"]


def test_a_large_body_is_refused_before_it_is_read() -> None:
    client = Client()
    response = client.generic("POST", "/api/v1/farm", b"x" * (MAX_BODY + 1))
    assert (response.status_code, response.json()["status"]) == (413, 413)
    chunked = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    assert client.generic("POST", "/api/v1/farm", headers=chunked).status_code == 411


@override_settings(ALLOWED_HOSTS=["farm.example"])
def test_a_foreign_host_is_a_problem() -> None:
    response = Client().get("/api/v1/farm/", headers={"Host": "evil.example"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("debug", [True, False])
def test_a_failure_shows_no_traceback(
    reader: ApiClient, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    from dashboard.api import farm

    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(farm, "overview", fail)
    with override_settings(DEBUG=debug):
        response = Client().get("/api/v1/farm", headers=reader.headers)
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert b"secret detail" not in response.content and b"Traceback" not in response.content


def test_answers_are_not_kept_by_caches(reader: ApiClient) -> None:
    make_drive("a")
    assert reader("GET", "drives").headers["Cache-Control"] == "no-store"


def test_the_document_is_openapi_31_and_public() -> None:
    response = Client().get("/api/v1/openapi.json")
    assert response.status_code == 200
    shown = response.json()
    assert shown["openapi"].startswith("3.1")
    assert shown["components"]["securitySchemes"]["BearerToken"] == {"type": "http", "scheme": "bearer"}
    assert api.docs_url is None
