"""Bytes, folders, archives and previews of an official publisher's drive, through the pages."""

from __future__ import annotations

import io
import json
import zipfile
from email import message_from_bytes
from html import unescape
from urllib.parse import quote

import pytest

from seederfarm.registry.models import Drive
from seederfarm.settings import table
from workers.gateway import slots, source

from ...support.content import File
from .conftest import FILES, HOSTILE, Browser, Published

pytestmark = pytest.mark.interop

LAST = {file.path: file for file in FILES}


def of(path: str, view: str = "files") -> str:
    return f"/{view}{quote(path)}"


def test_whole_files_with_their_headers(viewer_at: Browser) -> None:
    for path, file in LAST.items():
        if file.target is not None:
            continue
        got = viewer_at.get(of(path))
        assert got.status == 200 and got.body == file.bytes, path
        assert got["Content-Length"] == str(file.size) and got["Accept-Ranges"] == "bytes"
        assert got["X-Content-Type-Options"] == "nosniff" and got["Cache-Control"] == "private, no-cache"
        assert got["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert "\n" not in got["Content-Disposition"] and "\u202e" not in got["Content-Disposition"]
        head = viewer_at.get(of(path), method="HEAD")
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag", "Content-Disposition"):
            assert head[name] == got[name]
    assert viewer_at.get("/files/notes.txt?download=1")["Content-Disposition"].startswith("attachment;")
    assert viewer_at.get("/files/notes.txt")["Content-Disposition"].startswith("inline;")
    assert viewer_at.get("/files/data.bin")["Content-Disposition"].startswith("attachment;")


def test_ranges_of_a_video(viewer_at: Browser) -> None:
    film, size = LAST["/clip.mp4"].bytes, 300_000
    for header, start, end in (
        ("bytes=0-99", 0, 100),
        ("bytes=299000-", 299_000, size),
        ("bytes=-7", size - 7, size),
    ):
        got = viewer_at.get("/files/clip.mp4", Range=header)
        assert got.status == 206 and got.body == film[start:end]
        assert got["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert got["Content-Length"] == str(end - start)
    outside = viewer_at.get("/files/clip.mp4", Range="bytes=300000-")
    assert outside.status == 416 and outside["Content-Range"] == f"bytes */{size}"
    for bad in ("bytes=5-1", "bytes=x", "pages=1-2", "bytes=" + "0-1," * 40):
        got = viewer_at.get("/files/clip.mp4", Range=bad)
        assert got.status == 200 and got.body == film, "a header that cannot be read is ignored"
    assert viewer_at.get("/files/clip.mp4", method="HEAD", Range="bytes=0-99").status == 200
    assert viewer_at.get("/files/empty.txt", Range="bytes=0-").status == 416


def test_several_ranges_come_as_one_message_of_parts(viewer_at: Browser) -> None:
    film = LAST["/clip.mp4"].bytes
    got = viewer_at.get("/files/clip.mp4", Range="bytes=100000-100999, 5-9, -10")
    assert got.status == 206 and got["Content-Length"] == str(len(got.body))
    message = message_from_bytes(f"Content-Type: {got['Content-Type']}\r\n\r\n".encode() + got.body)
    assert message.get_content_type() == "multipart/byteranges"
    expected = [(100_000, 101_000), (5, 10), (299_990, 300_000)]
    boundary = message.get_boundary()
    pieces = got.body.split(f"--{boundary}".encode())[1:-1]
    assert len(pieces) == 3
    for piece, (start, end) in zip(pieces, expected, strict=True):
        head, _, body = piece.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {start}-{end - 1}/300000".encode() in head and b"video/mp4" in head
        assert body.removesuffix(b"\r\n") == film[start:end]


def test_conditions(viewer_at: Browser) -> None:
    etag = viewer_at.get("/files/notes.txt")["ETag"]
    assert etag.startswith('"') and not etag.startswith("W/")
    for header in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        same = viewer_at.get("/files/notes.txt", If_None_Match=header)
        assert (same.status, same.body) == (304, b"") and same["ETag"] == etag
    assert viewer_at.get("/files/notes.txt", If_None_Match='"other"').status == 200
    assert viewer_at.get("/files/notes.txt", If_Match='"other"').status == 412
    assert viewer_at.get("/files/notes.txt", Range="bytes=0-1", If_Range=etag).status == 206
    for stale in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert viewer_at.get("/files/notes.txt", Range="bytes=0-1", If_Range=stale).status == 200
    assert viewer_at.get("/files/folder/link")["ETag"] == etag, "the same content"


def test_versions(viewer_at: Browser) -> None:
    newest = viewer_at.get("/files/changed.txt")
    number = int(newest["X-Drive-Version"])
    first = File(path="/changed.txt", size=30, seed="first")
    second = File(path="/changed.txt", size=31, seed="second")
    found: dict[bytes, set[str]] = {}
    for version in range(1, number + 1):
        got = viewer_at.get(f"/files/changed.txt?version={version}")
        if got.status == 200:
            found.setdefault(got.body, set()).add(got["ETag"])
    assert set(found) == {first.bytes, second.bytes}
    assert found[second.bytes] == {newest["ETag"]} and len(found[first.bytes]) == 1
    assert found[first.bytes] != found[second.bytes], "each content has one tag of its own"
    assert viewer_at.get(f"/files/changed.txt?version={number}").body == newest.body
    for bad in ("0", "-1", "99999", "1e3", "x", "9" * 40, "٣"):
        got = viewer_at.get(f"/files/changed.txt?version={quote(bad)}")
        assert got.status == 404 and "version" in got.text.lower(), bad


TRICKS = [
    "/files/../notes.txt",
    "/files/%2e%2e/notes.txt",
    "/files/folder/%2e%2e/notes.txt",
    "/files//notes.txt",
    "/files/./notes.txt",
    "/files/notes.txt%00",
    "/files/notes.txt%00.html",
    "/files/folder%5cdeep%5cleaf.txt",
    "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/files/..%5c..%5cetc",
    "/files/nothing",
    "/files/notes.txt/",
    "/files/%ff%fe",
    "/files/folder//",
    "/zip/../",
    "/preview/%2e%2e/notes.txt",
    "/files/" + "a/" * 3000,
]


def test_path_tricks_are_not_found(viewer_at: Browser) -> None:
    for path in TRICKS:
        got = viewer_at.get(path)
        assert got.status == 404, (path[:60], got.status)
        assert got.text.count("at this path") <= 1, "the sentence says more than the title"
        assert b"passwd" not in got.body or b"root:" not in got.body


def test_keys_in_other_spellings_are_redirected(viewer_at: Browser, drive: Drive) -> None:
    got = viewer_at.get(f"/drives/{drive.key}/files/folder/100%25%20%231%3F.txt?version=3")
    assert got.status == 301
    assert got["Location"] == f"{viewer_at.base}/files/folder/100%25%20%231%3F.txt?version=3"
    assert viewer_at.get(f"/drives/{drive.key.upper()}/zip/").status == 301


def test_a_folder_is_a_page_or_json(viewer_at: Browser) -> None:
    assert viewer_at.get("/files/folder")["Location"] == f"{viewer_at.base}/files/folder/"
    page = viewer_at.get("/files/", Accept="text/html")
    shown = unescape(page.text)
    assert page.status == 200 and "Files of" in shown and "clip.mp4" in shown
    assert "<img src=x" not in page.text and "\u202e" not in page.text
    for query, accept in (("?format=json", "text/html"), ("", "application/json")):
        got = viewer_at.get(f"/files/folder/{query}", Accept=accept)
        listing = json.loads(got.body)
        assert [(item["name"], item["kind"]) for item in listing["items"]] == [
            ("100% #1?.txt", "file"), ("deep", "folder"), ("link", "link"),
        ]  # fmt: skip
        assert listing["items"][0]["size"] == 70 and listing["next"] is None
    for item in json.loads(viewer_at.get("/files/?format=json").body)["items"]:
        if item["kind"] == "file":
            assert len(viewer_at.get(item["href"]).body) == item["size"], "also under the hostile name"


def test_the_page_of_a_drive_has_a_panel_of_files(
    viewer_at: Browser, drive: Drive, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    Drive.objects.filter(pk=drive.pk).update(length=5, kind="drive")
    page = viewer_at.get("/", Accept="text/html")
    assert f'data-load="{viewer_at.base}/files/?fragment=1"' in page.text
    part = viewer_at.get("/files/?fragment=1", Accept="text/html")
    assert part["X-Fragment"] == "1" and "clip.mp4" in part.text and "<html" not in part.text
    assert 'href="/drives/' in part.text and "<bdi>" in part.text and "<img src=x" not in part.text
    monkeypatch.setattr("dashboard.gateway.pages.PART_ROWS", 3)
    assert "All files" in viewer_at.get("/files/?fragment=1", Accept="text/html").text
    other = Browser(published.encrypted)
    other.client = viewer_at.client
    refused = other.get("/files/?fragment=1", Accept="text/html")
    assert refused.status == 403 and "encrypted" in refused.text and "<html" not in refused.text
    assert "data-load" not in other.get("/", Accept="text/html").text, "nothing of it is here yet"
    assert Browser(drive.key).get("/files/?fragment=1", Accept="text/html").status == 401


def test_large_folders_come_in_pages(viewer_at: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.gateway.pages.ROWS", 4)
    names: list[str] = []
    address, pages = "/files/?format=json", 0
    while True:
        listing = json.loads(viewer_at.get(address).body)
        assert len(listing["items"]) <= 4
        names += [item["href"] for item in listing["items"]]
        pages += 1
        if listing["next"] is None:
            break
        address = f"/files/?format=json&after={listing['next']}"
    top = {path.split("/")[1] for path in LAST}
    assert pages == -(-len(top) // 4) and len(names) == len(set(names)) == len(top)
    page = viewer_at.get("/files/", Accept="text/html")
    assert "Next names" in page.text
    for nonsense in ("%00", "zzz", "Zg", "é", "A" * 5000):
        assert viewer_at.get(f"/files/?format=json&after={nonsense}").status == 200


def test_a_zip_of_a_folder(viewer_at: Browser) -> None:
    got = viewer_at.get("/zip/folder/")
    assert got.status == 200 and got["Content-Type"] == "application/zip"
    assert (
        got["Content-Disposition"] == 'attachment; filename="folder.zip"'
        and "Content-Length" not in got.response
    )
    archive = zipfile.ZipFile(io.BytesIO(got.body))
    assert archive.testzip() is None
    assert set(archive.namelist()) == {"100% #1?.txt", "deep/leaf.txt"}, "the link leads out of the folder"
    whole = viewer_at.get("/zip/")
    assert whole["Content-Disposition"] == 'attachment; filename="A drive.zip"'
    assert zipfile.ZipFile(io.BytesIO(whole.body)).read("clip.mp4") == LAST["/clip.mp4"].bytes
    assert viewer_at.get("/zip/", method="HEAD").body == b""
    assert viewer_at.get("/zip/folder").status == 302 and viewer_at.get("/zip/notes.txt").status == 404


def test_previews(viewer_at: Browser) -> None:
    for path, tag in (
        ("/cover.jpg", "<img"),
        ("/clip.mp4", "<video"),
        ("/song.flac", "<audio"),
        ("/picture.svg", "<img"),
    ):
        got = viewer_at.get(of(path, "preview"), Accept="text/html")
        assert got.status == 200 and tag in got.text and f'src="{viewer_at.base}/files{path}"' in got.text
        assert (
            "script-src" not in got["Content-Security-Policy"]
            and "unsafe" not in got["Content-Security-Policy"]
        )
    text = viewer_at.get("/preview/big.txt", Accept="text/html")
    assert text.status == 200 and len(text.body) < 2_500_000 and "The first" in text.text
    assert "no preview" in viewer_at.get("/preview/data.bin", Accept="text/html").text
    hostile = viewer_at.get(of(HOSTILE, "preview"), Accept="text/html")
    assert hostile.status == 200 and "<img src=x" not in hostile.text and "\u202e" not in hostile.text
    assert viewer_at.get("/preview/folder/deep")["Location"].endswith("/files/folder/deep/")


def test_what_cannot_be_read_says_why(
    viewer_at: Browser, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Browser(published.encrypted)
    refused.client = viewer_at.client
    got = refused.get("/files/", Accept="text/html")
    assert got.status == 403 and "encrypted" in unescape(got.text)
    assert json.loads(refused.get("/files/?format=json").body)["title"] == "This drive is encrypted"
    assert "encrypted" in refused.get("/files/x").text
    away = Browser("ab" * 32)
    away.client = viewer_at.client
    assert away.get("/files/").status == 404, "not a drive of this farm"
    Drive.objects.create(key="ab" * 32)
    monkeypatch.setattr(source, "HEAD_TIMEOUT", 0.3)
    got = away.get("/files/a.txt")
    assert got.status == 503 and int(got["Retry-After"]) > 0 and "No copy" in got.text
    assert got["Content-Type"].startswith("text/plain")
    monkeypatch.setattr(published.gateway.gateway, "slots", slots.Slots(0, 0))
    got = viewer_at.get("/files/notes.txt")
    assert got.status == 503 and got["Retry-After"] == "5"


def test_without_a_gateway_there_is_a_reason(viewer_at: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.FarmSettings, "gateway_socket", property(lambda self: "/nowhere/g.sock"))
    got = viewer_at.get("/files/notes.txt")
    assert got.status == 503 and "does not run" in got.text and got["Retry-After"] == "5"


def test_only_reading_methods(viewer_at: Browser) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert viewer_at.get("/files/notes.txt", method=method).status in (403, 405)


def test_a_folder_is_sorted_and_searched_by_its_address(viewer_at: Browser) -> None:
    def names(query: str) -> list[str]:
        found = json.loads(viewer_at.get(f"/files/?format=json&{query}").body)
        assert (found["next"], found["more"], found["examined"]) == (None, False, None)
        return [item["name"] for item in found["items"]]

    usual = names("")
    assert names("sort=-name") == usual[::-1]
    assert names("sort=-size")[:2] == ["big.txt", "clip.mp4"] and names("sort=-size")[-1] == "folder"
    assert names("sort=size")[0] == "empty.txt"
    assert names("q=CLIP") == ["clip.mp4"] and set(names("q=.txt&sort=size")) > {"notes.txt", "big.txt"}
    for nonsense in ("sort=x", "sort=", "q=", "q=%20%20", f"sort={'-' * 9999}"):
        assert names(nonsense) == usual, nonsense
    assert names("q=" + "x" * 5000) == []


def test_the_page_of_a_folder_has_links_to_sort_and_a_form_to_search(viewer_at: Browser) -> None:
    page = viewer_at.get("/files/?version=16&sort=-size&q=%22%3Cb%3E", Accept="text/html").text
    assert "No name in this folder has" in page and '"<b>' not in page
    page = viewer_at.get("/files/?version=16&sort=-size&q=o", Accept="text/html").text
    assert 'aria-sort="descending"><a class="sort" href="' in page
    assert "sort=size" in unescape(page) and 'name="version" value="16"' in page
    assert page.index("song.flac") < page.index("notes.txt")
    part = viewer_at.get("/files/?fragment=1").text
    assert "sort=-size" in unescape(part) and "<form" not in part
    plain = viewer_at.get("/files/", Accept="text/html").text
    assert 'aria-sort="ascending"' in plain and 'name="q"' in plain
