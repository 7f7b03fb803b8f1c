"""Files of public drives without a login: what is served, what is not shown, and how often."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from html import unescape
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.public import limits
from seederfarm.registry.logins import place_of
from seederfarm.registry.models import Drive

from ...seederfarm.registry.factories import key_of, make_user
from .conftest import Browser, Published

pytestmark = pytest.mark.interop

PAGES = (
    "/files/notes.txt",
    "/files/",
    "/files/?format=json",
    "/zip/",
    "/preview/notes.txt",
    "/files/?fragment=1",
)


@pytest.fixture
def shared(drive: Drive) -> Drive:
    Drive.objects.filter(pk=drive.pk).update(public=True, label="Our own name", title="Its title")
    drive.refresh_from_db()
    return drive


def test_anyone_reads_files_and_zip_of_a_public_drive(peer: Browser, shared: Drive) -> None:
    assert len(peer.get("/files/notes.txt").body) == 20
    part = peer.get("/files/clip.mp4", Range="bytes=100-199")
    assert (part.status, len(part.body)) == (206, 100)
    assert peer.get("/files/notes.txt?version=3").status in (200, 404)
    archive = zipfile.ZipFile(io.BytesIO(peer.get("/zip/folder/").body))
    assert archive.testzip() is None and "deep/leaf.txt" in archive.namelist()
    assert peer.get("/files/?format=json").response.json()["items"]


def test_what_anyone_sees_has_no_label_and_no_other_page(peer: Browser, shared: Drive) -> None:
    for path in ("/files/", "/files/folder/", "/preview/notes.txt", "/preview/page.html"):
        page = peer.get(path, Accept="text/html")
        assert page.status == 200 and "Its title" in page.text, path
        assert f"/p/{shared.z32}/" in page.text
        for hidden in (
            "Our own name",
            "/workers/",
            "/alerts/",
            "/logout/",
            f'/drives/{shared.z32}/"',
            "/admin/",
        ):
            assert hidden not in page.text, (path, hidden)
    assert 'filename="Its title.zip"' in peer.get("/zip/")["Content-Disposition"]
    for address in ("/", "/drives/", f"/drives/{shared.z32}/", "/workers/", "/events/", "/live/?topics=farm"):
        assert Client().get(address).status_code in (302, 401, 403), address
    assert Client().get(f"/api/v1/drives/{shared.z32}").status_code == 401


def test_private_drives_and_unknown_keys_are_refused_alike(
    peer: Browser, shared: Drive, published: Published
) -> None:
    private = Browser(published.encrypted)
    for path in PAGES:
        for accept in ("text/html", "*/*", "application/json"):
            answers: list[Any] = []
            for browser in (private, Browser(key_of("never seen"))):
                with CaptureQueriesContext(connection) as made:
                    got = browser.get(path, Accept=accept)
                text = re.sub(
                    r'value="\w{64}"|[a-z0-9]{52}', "", got.text + got.response.headers.get("Location", "")
                )
                queries = [re.sub(r"[0-9a-f]{64}", "", query["sql"]) for query in made]
                answers.append((got.status, text, queries))
            assert answers[0] == answers[1], (path, accept)
            assert answers[0][0] in (302, 401)
    Drive.objects.filter(pk=shared.pk).update(public=False)
    assert peer.get("/files/notes.txt").status == 401, "private again at once"


def test_an_account_without_a_role_is_anyone(shared: Drive, published: Published) -> None:
    outsider = make_user("new", is_staff=False, is_superuser=False)
    assert Browser(shared.key, outsider).get("/files/notes.txt").status == 200
    assert Browser(published.encrypted, outsider).get("/files/x").status == 403


def test_an_address_asks_as_often_as_for_the_public_page_and_accounts_do_not_count(
    peer: Browser, viewer_at: Browser, shared: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "monotonic", lambda: 1000.0)
    for _ in range(limits.ASKED.burst):
        assert limits.asked.take(place_of("127.0.0.1"), 1000.0)
    refused = peer.get("/files/notes.txt")
    assert (refused.status, refused["Retry-After"]) == (429, "2")
    assert Browser(key_of("never seen")).get("/files/notes.txt").status == 429, "nothing is learnt by asking"
    assert Client().get(f"/p/{shared.z32}/").status_code == 429, "one count for both"
    assert viewer_at.get("/files/notes.txt").status == 200


def test_files_of_a_public_drive_come_from_the_origin_of_files(
    peer: Browser, shared: Drive, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = "https://files.example.org"
    monkeypatch.setattr(settings, "FARM", dataclasses.replace(settings.FARM, files_origin=origin))
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["testserver", "files.example.org"])
    got = peer.get("/files/page.html?download=1")
    assert got.status == 302 and got["Location"] == f"{origin}/drives/{shared.z32}/files/page.html?download=1"
    assert peer.get(got["Location"].removeprefix(origin), Host="files.example.org").status == 200
    assert Browser(published.encrypted).get("/files/x", Host="files.example.org").status == 401
    folder = peer.get("/files/", Accept="text/html", Host="files.example.org")
    base = f"/drives/{shared.z32}"
    links = {unescape(link).partition("?")[0] for link in re.findall(r'href="(/[dp][^"]*)"', folder.text)}
    assert f"{base}/files/notes.txt" in links and f"{base}/zip/" in links
    for link in links:
        assert link.startswith(base), "there is no other page"
        status = peer.get(link.removeprefix(base), Accept="text/html", Host="files.example.org").status
        assert status in (200, 302), link


def test_the_public_page_leads_to_the_files_of_drives_that_have_some(shared: Drive) -> None:
    files, zipped = f'href="/drives/{shared.z32}/files/"', f'href="/drives/{shared.z32}/zip/"'
    for kind, length, has_files in (
        ("drive", 5, True),
        ("", 5, True),
        ("core", 5, False),
        ("drive", None, False),
    ):
        Drive.objects.filter(pk=shared.pk).update(kind=kind, length=length)
        page = Client().get(f"/p/{shared.z32}/").text
        assert (files in page, zipped in page) == (has_files, has_files), (kind, length)
