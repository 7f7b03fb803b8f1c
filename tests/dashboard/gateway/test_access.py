"""Who reads files: accounts, tokens, links; and the origin that has nothing else."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.test import Client

from seederfarm.registry import roles
from seederfarm.registry.models import AuditEntry, Drive
from seederfarm.registry.services import file_links

from ...seederfarm.registry.factories import make_user
from ..api.conftest import token_for
from ..conftest import member
from .conftest import Browser

pytestmark = pytest.mark.interop


def test_anonymous_users_are_sent_to_the_login_or_refused(peer: Browser, viewer_at: Browser) -> None:
    got = peer.get("/files/notes.txt?version=3", Accept="text/html")
    assert got.status == 302 and got["Location"].startswith("/login/?next=/drives/")
    for path in ("/files/notes.txt", "/files/", "/zip/", "/preview/notes.txt", "/files/nothing"):
        got = peer.get(path)
        assert got.status == 401 and got["WWW-Authenticate"] == "Bearer", path
    unknown = Browser("cd" * 32)
    assert unknown.get("/files/x").status == 401, "strangers learn nothing of which drives there are"
    assert viewer_at.get("/files/notes.txt").status == 200


def test_accounts_without_a_role_see_no_files(drive: Drive) -> None:
    got = Browser(drive.key, make_user("new", is_staff=False, is_superuser=False)).get("/files/notes.txt")
    assert got.status == 403 and "no role" in got.text


def test_tokens_need_the_scope(peer: Browser) -> None:
    user = member("robot", roles.VIEWER)
    reads, other = token_for(user, "read", name="r"), token_for(user, "drives", name="d")
    assert peer.get("/files/notes.txt", Authorization=f"Bearer {reads}").status == 200
    assert peer.get("/zip/folder/", Authorization=f"Bearer {reads}").status == 200
    assert peer.get("/files/notes.txt", Authorization=f"Bearer {other}").status == 403
    for wrong in ("Bearer sft_" + "x" * 43, "Bearer ", "Basic abc", f"Token {reads}"):
        assert peer.get("/files/notes.txt", Authorization=wrong).status == 401, wrong


def test_a_link_opens_its_file_or_folder_and_nothing_else(
    peer: Browser, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = timedelta(hours=1)
    one = file_links.make_link(drive, "/notes.txt", hour, "cli").token
    assert peer.get(f"/files/notes.txt?link={one}").status == 200
    assert peer.get(f"/preview/notes.txt?link={one}", Accept="text/html").status == 200
    for other in ("/files/", "/files/data.bin", "/zip/", "/files/folder/"):
        assert peer.get(f"{other}?link={one}").status == 403, other
    below = file_links.make_link(drive, "/folder/", hour, "cli").token
    page = peer.get(f"/files/folder/?link={below}", Accept="text/html")
    assert (
        page.status == 200
        and f"link={below.replace(':', '%3A')}" in page.text
        and "/workers/" not in page.text
    )
    for inside in ("/files/folder/deep/leaf.txt", "/zip/folder/", "/files/folder/deep/"):
        assert peer.get(f"{inside}?link={below}").status == 200, inside
    for outside in ("/files/notes.txt", "/files/folder/../notes.txt", "/files/", "/files/folder"):
        assert peer.get(f"{outside}?link={below}").status in (403, 404), outside
    pinned = file_links.make_link(drive, "/changed.txt", hour, "cli", version=14).token
    assert peer.get(f"/files/changed.txt?link={pinned}&version=14").status == 200
    assert peer.get(f"/files/changed.txt?link={pinned}").status == 403
    elsewhere = Browser("cd" * 32)
    assert elsewhere.get(f"/files/notes.txt?link={one}").status == 403
    monkeypatch.setattr(file_links.time, "time", lambda at=file_links.time.time: at() + 3601)
    assert "expired" in peer.get(f"/files/notes.txt?link={one}").text


@pytest.mark.parametrize("token", ["", "x", "a:b:c", "é", "x" * 20_000, "W10:1tBq8C:x"])
def test_forged_links_are_refused(peer: Browser, token: str) -> None:
    got = peer.get(f"/files/notes.txt?link={token}")
    assert got.status == 403 and "expired" in got.text


def test_a_link_of_another_purpose_opens_nothing(peer: Browser, drive: Drive) -> None:
    from django.core import signing

    forged = signing.dumps([drive.key, "/", None, 10**11], salt="something else")
    assert peer.get(f"/files/notes.txt?link={forged}").status == 403


def test_links_are_recorded_and_bounded(drive: Drive) -> None:
    file_links.make_link(drive, "/folder/", timedelta(days=2), "cli")
    entry = AuditEntry.objects.get(action="drive.link")
    assert entry.target == drive.key and "/folder/" in entry.text and "link" not in json.dumps(entry.data)
    for path, lasts in (
        ("x", timedelta(1)), ("/../x", timedelta(1)), ("/" + "x" * 2000, timedelta(1)), ("/x", timedelta(91)),
        ("/x", timedelta(0)),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            file_links.make_link(drive, path, lasts, "cli")


def test_the_api_makes_links_for_users_that_may_change_the_drive(peer: Browser, drive: Drive) -> None:
    user = make_user("anna")
    address = f"/api/v1/drives/{drive.key}/links"

    def post(token: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return Client().post(address, json.dumps(body), content_type="application/json", headers=headers)

    may = token_for(user, "drives", name="d")
    made = post(may, {"path": "/notes.txt", "hours": 2})
    assert made.status_code == 201, made.content
    url = made.json()["url"]
    assert url.startswith("http://testserver/drives/")
    assert peer.get(url.removeprefix("http://testserver")).status == 200
    assert post(may, {"path": "/../x"}).status_code == 422
    assert post(may, {"path": "/x", "hours": 10_000}).status_code == 422
    assert post(token_for(user, "read", name="r"), {"path": "/x"}).status_code == 403


def test_files_come_from_their_own_origin_where_there_is_one(
    peer: Browser, viewer_at: Browser, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = "https://files.example.org"
    farm = dataclasses.replace(settings.FARM, files_origin=origin)
    monkeypatch.setattr(settings, "FARM", farm)
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["testserver", "files.example.org"])
    got = viewer_at.get("/files/page.html?download=1")
    assert got.status == 302 and got["Location"].startswith(f"{origin}/drives/")
    assert got["Cache-Control"] == "no-store", "the redirect has a link in it"
    path = got["Location"].removeprefix(origin)
    assert peer.get(path, Host="files.example.org").status == 200
    assert viewer_at.get("/files/page.html", Host="files.example.org").status == 401, (
        "a session is worth nothing"
    )
    for other in ("/files/../../admin/", "/zip/", "/preview/page.html"):
        assert viewer_at.get(other, Host="files.example.org").status in (401, 404)
    for address in ("/", "/login/", "/admin/", "/api/v1/farm", "/live/", f"/drives/{drive.z32}/"):
        assert Client().get(address, headers={"Host": "files.example.org"}).status_code == 404, address
    page = viewer_at.get("/preview/cover.jpg", Accept="text/html")
    assert f"img-src 'self' data: {origin}" in page["Content-Security-Policy"]
    assert viewer_at.get("/files/", Accept="text/html").status == 200
