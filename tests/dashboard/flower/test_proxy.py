"""Flower behind the login: who gets through, what is passed on, and what of it comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import AsyncRequestFactory, override_settings

from dashboard.flower import proxy
from dashboard.flower.proxy import MAX_ASKED, MAX_AT_ONCE, POLICY, flower
from seederfarm.registry import roles

from ...seederfarm.registry.factories import make_user
from ...support.ports import free_port
from ..conftest import member

pytestmark = pytest.mark.usefixtures("database")


class Upstream(BaseHTTPRequestHandler):
    """In place of Flower: keeps what it is asked, and answers what a test wants."""

    asked: list[tuple[str, str, dict[str, str], bytes]]
    status = 200
    body = b"<p>tasks</p>"

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.asked.append((self.command, self.path, dict(self.headers.items()), self.rfile.read(size)))
        self.send_response(self.status)
        for name, value in (
            *(("Content-Type", "text/html"), ("Set-Cookie", "_xsrf=1"), ("Connection", "close")),
            *(("WWW-Authenticate", 'Basic realm="Flower"'), ("Server", "Tornado"), ("Etag", '"1"')),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_POST = do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def upstream(home: Path, **values: Any) -> Iterator[type[Upstream]]:
    kind = type("Handler", (Upstream,), {"asked": [], **values})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    (home / "flower_secret").write_text("farm:pa55word\n")
    farm = replace(django_settings.FARM, home=home, flower_port=server.server_port)
    try:
        with override_settings(FARM=farm):
            yield kind
    finally:
        server.shutdown()
        server.server_close()


def ask(user: Any, path: str = "", method: str = "GET", **options: Any) -> tuple[HttpResponseBase, bytes]:
    """The answer and its body, as a server sends it."""
    if isinstance(user, User):
        user.get_all_permissions()  # kept: another thread does not see this transaction

    async def scene() -> tuple[HttpResponseBase, bytes]:
        request = AsyncRequestFactory().generic(method, f"/flower/{path}", **options)
        request.user = user

        async def of_session() -> Any:
            return user

        request.auser = of_session  # type: ignore[attr-defined]
        response = await flower(request, request.path.removeprefix("/flower/"))
        if not isinstance(response, StreamingHttpResponse):
            return response, response.content
        return response, b"".join([part async for part in response])

    return asyncio.run(scene())


@pytest.fixture
def otto(database: object) -> User:
    return member("otto", roles.OPERATOR)


def test_flower_is_for_operators_and_admins(otto: User, tmp_path: Path) -> None:
    with upstream(tmp_path) as kind:
        peer, _ = ask(AnonymousUser())
        assert (peer.status_code, peer.headers["Location"]) == (302, "/login/?next=/flower/")
        for user in (make_user("nobody", is_superuser=False), member("vera", roles.VIEWER)):
            with pytest.raises(PermissionDenied):
                ask(user)
        assert kind.asked == []
        assert ask(otto)[1] == ask(member("anna", roles.ADMIN))[1] == b"<p>tasks</p>"


def test_nothing_of_the_browsers_session_goes_to_flower_and_nothing_of_its_login_comes_back(
    otto: User, tmp_path: Path
) -> None:
    headers = {"cookie": "farm_session_8000=secret", "accept": "text/html", "authorization": "Bearer x",
               "connection": "upgrade", "x-forwarded-for": "1.2.3.4"}  # fmt: skip
    with upstream(tmp_path) as kind:
        response, _ = ask(otto, "workers?json=1", headers=headers)
    ((method, target, given, _),) = kind.asked
    assert (method, target) == ("GET", "/flower/workers?json=1")
    assert given.pop("Authorization", given.pop("authorization", "")) == "Basic ZmFybTpwYTU1d29yZA=="
    assert {name.lower() for name in given} <= {"host", "accept"}
    assert {name.lower() for name in response.headers} == {
        "content-type", "etag", "content-security-policy", "cache-control",
    }  # fmt: skip
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "private" in response.headers["Cache-Control"]
    assert not response.cookies


@pytest.mark.parametrize(
    "path",
    ["api/workers", "api/task/revoke/1", "api/worker/shutdown/x", "metrics", "healthcheck", "login", "logout",
     "worker/a/b", "static/../api/workers", "//evil.example/", "tasks/datatable", "x"],
)  # fmt: skip
def test_what_is_no_page_is_not_passed_on(otto: User, tmp_path: Path, path: str) -> None:
    with upstream(tmp_path) as kind:
        response, _ = ask(otto, path)
    assert (response.status_code, kind.asked) == (404, [])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_looking_is_passed_on(otto: User, tmp_path: Path, method: str) -> None:
    with upstream(tmp_path) as kind:
        for path in ("", "workers", "api/worker/shutdown/celery@x", "task/1"):
            assert ask(otto, path, method)[0].status_code in (404, 405), path
        assert kind.asked == []
        response, _ = ask(
            otto, "tasks/datatable", method, data=b"draw=1", content_type="application/x-www-form-urlencoded"
        )
        assert (response.status_code == 200) == (method == "POST")
        assert [body for _, _, _, body in kind.asked] == ([b"draw=1"] if method == "POST" else [])


def test_requests_and_answers_are_bounded(
    otto: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with upstream(tmp_path, body=b"x" * 5000) as kind:
        assert ask(otto, "tasks?" + "x" * (MAX_ASKED + 1))[0].status_code == 413
        assert ask(otto, "tasks/datatable", "POST", data=b"x" * (MAX_ASKED + 1))[0].status_code == 413
        monkeypatch.setattr(proxy, "_running", {object() for _ in range(MAX_AT_ONCE)})
        assert ask(otto)[0].status_code == 503
        assert kind.asked == []
        monkeypatch.setattr(proxy, "_running", set())
        monkeypatch.setattr(proxy, "MAX_ANSWER", 4000)
        with pytest.raises(proxy.TooLarge):
            ask(otto)
        assert proxy._running == set(), "its place is free again"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_of_ours_asks_no_browser_for_one(otto: User, tmp_path: Path, status: int) -> None:
    with upstream(tmp_path, status=status):
        response, _ = ask(otto)
    assert response.status_code == 502
    assert "WWW-Authenticate" not in response.headers


def test_an_address_is_one_line_of_a_request_whatever_is_in_it(otto: User, tmp_path: Path) -> None:
    with upstream(tmp_path) as kind:
        assert ask(otto, "task/a%0d%0aX-Evil:%20b")[0].status_code == 200
        assert ask(otto, "tasks?search=%0d%0aX:%20\u00fc")[0].status_code == 200
    assert len(kind.asked) == 2
    assert all("X-Evil" not in given and "X" not in given for _, _, given, _ in kind.asked)
    assert [target.isascii() and " " not in target for _, target, _, _ in kind.asked] == [True, True]


def test_a_flower_that_is_away_is_named(otto: User, tmp_path: Path) -> None:
    farm = replace(django_settings.FARM, home=tmp_path, flower_port=free_port())
    with override_settings(FARM=farm):
        assert ask(otto)[0].status_code == 502, "no secret yet"
        (tmp_path / "flower_secret").write_text("farm:x\n")
        response, body = ask(otto)
    assert response.status_code == 502
    assert b"Flower does not answer" in body
    assert proxy._running == set()
