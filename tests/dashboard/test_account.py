"""Logging in and out, the theme, errors, the policy."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from dashboard.middleware import ADMIN_POLICY, POLICY
from seederfarm.registry import login_form, roles
from seederfarm.registry.logins import PAIR, LoginLimit

from ..seederfarm.registry.factories import make_user
from .conftest import member
from .farm import text_of

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_form, "limit", LoginLimit())


def log_in(client: Client, password: str = "correct horse", **fields: str) -> object:
    return client.post("/login/", {"username": "vera", "password": password, **fields})


def test_a_login_leads_to_the_page_that_was_asked_for() -> None:
    member("vera", roles.VIEWER)
    client = Client()
    page = client.get("/drives/?state=safe")
    address = page.headers["Location"]
    response = client.post(
        address, {"username": "vera", "password": "correct horse", "next": "/drives/?state=safe"}
    )
    assert (response.status_code, response.headers["Location"]) == (302, "/drives/?state=safe")
    assert client.get("/").status_code == 200
    assert client.get("/login/").status_code == 302
    assert client.post("/logout/").status_code == 302
    assert client.get("/").status_code == 302


def test_a_login_does_not_lead_elsewhere() -> None:
    make_user("vera")
    response = Client().post(
        "/login/", {"username": "vera", "password": "correct horse", "next": "//evil.example"}
    )
    assert response.headers["Location"] == "/"


@pytest.mark.parametrize("stay", [True, False])
def test_a_session_ends_with_the_browser_unless_it_is_to_stay(stay: bool) -> None:
    make_user("vera")
    client = Client()
    log_in(client, **({"stay": "on"} if stay else {}))
    assert client.session.get_expire_at_browser_close() is not stay


def test_wrong_passwords_are_bounded_here_as_in_the_admin() -> None:
    make_user("vera")
    client = Client()
    for _ in range(PAIR.burst):
        assert "do not match" in text_of(log_in(client, "wrong"))
    assert "Too many attempts failed" in text_of(log_in(client))
    admin = client.post(reverse("admin:login"), {"username": "vera", "password": "correct horse"})
    assert "Too many attempts failed" in admin.text


def test_the_theme_is_a_cookie_that_the_server_writes_into_the_page(viewer: Client) -> None:
    assert "data-theme" not in viewer.get("/drives/").text.split("<head>")[0]
    response = viewer.post("/theme/", {"theme": "dark", "next": "/drives/?q=x"})
    assert response.headers["Location"] == "/drives/?q=x"
    assert '<html lang="en" data-theme="dark">' in viewer.get("/drives/").text
    viewer.post("/theme/", {"theme": '"><script>', "next": "https://evil.example/"})
    assert 'data-theme="dark"' in viewer.get("/drives/").text
    assert viewer.post("/theme/", {"theme": "", "next": "//evil.example"}).headers["Location"] == "/"


def test_a_forged_form_is_refused() -> None:
    make_user("vera")
    client = Client(enforce_csrf_checks=True)
    response = log_in(client)
    assert response.status_code == 403  # type: ignore[attr-defined]
    assert "This form is too old" in text_of(response)


def test_every_answer_has_the_policy_and_the_admin_one_of_its_own(administrator: Client) -> None:
    for address in ("/", "/login/", "/nothing/", "/livez", "/static/dashboard/farm.css"):
        assert administrator.get(address).headers["Content-Security-Policy"] == POLICY, address
    assert administrator.get("/admin/").headers["Content-Security-Policy"] == ADMIN_POLICY


def test_an_error_page_shows_the_farms_name_at_the_top_and_the_errors_at_the_bottom(viewer: Client) -> None:
    for address, line in (("/nothing/", "404, not found"), ("/drives/add/", "403, forbidden")):
        text = viewer.get(address).text
        assert "<b>Seeder Farm</b>" in text, address
        assert f"<footer><span>{line}</span></footer>" in text, address


@override_settings(DEBUG=False)
def test_a_page_that_fails_says_so_without_the_database(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.reads import sources

    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(sources, "listed", fail)
    viewer.raise_request_exception = False
    response = viewer.get("/sources/")
    assert response.status_code == 500
    assert "The farm could not make this page" in response.text and "secret detail" not in response.text
