"""Answers over HTTP, from a server on loopback."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from seederfarm.sources import fetch
from seederfarm.sources.addresses import AddressPolicy
from seederfarm.sources.list_formats import SourceError

from .conftest import LOOPBACK, Site

HERE = AddressPolicy(LOOPBACK)


def get(url: str, *, policy: AddressPolicy = HERE, **options: Any) -> fetch.Answer:
    return asyncio.run(fetch.get(url, policy=policy, **options))


def test_an_answer_that_did_not_change_is_not_sent_again(site: Site) -> None:
    url = site.serve("/keys", "[1]", ETag='"a"')
    first = get(url)
    assert (first.body, first.etag) == (b"[1]", '"a"')
    assert get(url, etag=first.etag).unchanged


@pytest.mark.parametrize("status", [304, 403, 404, 500, 503])
def test_other_answers_are_failures(site: Site, status: int) -> None:
    with pytest.raises(SourceError, match=str(status)):
        get(site.serve("/keys", "" if status == 304 else "[]", status))


def test_redirects_are_followed_within_bounds_and_secrets_stay_at_home(site: Site) -> None:
    away = site.base.replace("127.0.0.1", "localhost")
    site.serve("/end", "[2]")
    url = site.serve("/keys", "", 302, Location="/next")
    site.serve("/next", "", 302, Location=f"{away}/end")
    assert get(url, headers={"X-Api-Key": "secret"}).body == b"[2]"
    assert ["x-api-key" in headers for _, headers, _ in site.seen] == [True, True, False]
    with pytest.raises(SourceError, match="redirects"):
        get(site.serve("/loop", "", 302, Location="/loop"))


def test_html_compressed_cut_and_large_answers_are_refused(site: Site) -> None:
    with pytest.raises(SourceError, match="HTML"):
        get(site.serve("/a", "[]", Content_Type="text/html; charset=utf-8"))
    with pytest.raises(SourceError, match="compressed"):
        get(site.serve("/b", "[]", Content_Encoding="gzip"))
    with pytest.raises(SourceError, match="request failed"):
        get(site.serve("/c", "[1,", Content_Length="10"))
    with pytest.raises(SourceError, match="part"):
        get(site.serve("/p", "[]", 206))
    assert get(site.serve("/d", "1" * 10), max_bytes=10).body == b"1" * 10
    with pytest.raises(SourceError, match="larger"):
        get(site.serve("/d", "1" * 11), max_bytes=10)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ftp://example.org/", "http://[", "nothing"])
def test_places_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(SourceError, match="request failed"):
        get(url)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "localhost"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fc00::1]", "[ff02::1]"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "[fd00:ec2::254]", "[::127.0.0.1]", "[fec0::1]"),
    ],
)
def test_places_inside_are_not_asked(site: Site, host: str) -> None:
    port = site.base.rpartition(":")[2]
    site.serve("/", "[]")
    with pytest.raises(SourceError, match="not a public address"):
        get(f"http://{host}:{port}/", policy=AddressPolicy())
    assert site.seen == []


@pytest.mark.parametrize(
    "text", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses_are_allowed(text: str) -> None:
    assert AddressPolicy().allows(text)


def test_what_a_setting_names_is_allowed_and_nothing_beside_it() -> None:
    policy = AddressPolicy(("192.168.7.0/24", "fd00::/8"))
    assert all(policy.allows(text) for text in ("192.168.7.9", "::ffff:192.168.7.9", "fd12::1", "8.8.8.8"))
    assert not any(policy.allows(text) for text in ("192.168.8.9", "127.0.0.1", "fe80::1", "nonsense"))


def test_a_redirect_to_a_place_inside_is_not_followed(site: Site) -> None:
    """The first server is allowed, what it redirects to is not."""
    inside = site.base.replace("127.0.0.1", "127.0.0.2")
    url = site.serve("/keys", "", 302, Location=f"{inside}/secret")
    with pytest.raises(SourceError, match="not a public address"):
        get(url, policy=AddressPolicy(("127.0.0.1/32",)))
    for location in ("file:///etc/passwd", "ftp://127.0.0.1/", "//127.0.0.2:1/"):
        with pytest.raises(SourceError, match=r"something else|not a public"):
            get(site.serve("/keys", "", 307, Location=location), policy=AddressPolicy(("127.0.0.1/32",)))
    assert {path for path, _, _ in site.seen} == {"/keys"}


def test_a_name_is_resolved_once_and_all_its_addresses_must_be_allowed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name whose addresses change between the look and the connection (DNS rebinding)."""
    port = int(site.base.rpartition(":")[2])
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "10.0.0.1"]]
    asked = []

    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in answers[len(asked) - 1]]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    site.serve("/", "[]")
    policy = AddressPolicy(("127.0.0.1/32",))
    assert get(f"http://list.example:{port}/", policy=policy).body == b"[]"
    assert asked == ["list.example"], "asked for once: what was looked at is what is connected to"
    assert site.seen[0][1]["host"] == f"list.example:{port}"
    for _ in range(2):
        with pytest.raises(SourceError, match="not a public address"):
            get(f"http://list.example:{port}/", policy=policy)
    assert len(site.seen) == 1


def test_a_login_in_the_url_is_sent_to_its_origin_alone(site: Site) -> None:
    away = site.base.replace("127.0.0.1", "localhost")
    site.serve("/end", "[2]")
    url = site.serve("/keys", "", 302, Location=f"{away}/end").replace("//", "//me:p%40ss@")
    assert get(url).body == b"[2]"
    assert [headers.get("authorization") for _, headers, _ in site.seen] == ["Basic bWU6cEBzcw==", None]


def test_headers_without_end_are_refused(site: Site) -> None:
    with pytest.raises(SourceError, match="broken HTTP"):
        get(site.serve("/", "[]", **{f"X_{number}": "x" * 4000 for number in range(60)}))


def test_errors_do_not_quote_what_a_server_sent(site: Site) -> None:
    url = site.serve("/", "s3cret", 403)
    with pytest.raises(SourceError) as caught:
        get(url)
    assert str(caught.value) == "the answer is 403 Forbidden"


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("x")
    assert fetch.read_file(str(tmp_path / "seeds.txt"), tmp_path).body == b"x"
    assert fetch.read_file("seeds.txt", tmp_path).body == b"x"
    with pytest.raises(SourceError, match="larger"):
        fetch.read_file("seeds.txt", tmp_path, max_bytes=0)
    with pytest.raises(SourceError, match="cannot be read"):
        fetch.read_file(str(tmp_path / "none"), tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="no regular file"):
        fetch.read_file(str(tmp_path / "pipe"), tmp_path)


def test_files_are_read_from_one_directory_alone(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    secret = tmp_path / "secret_key"
    secret.write_text("secret")
    (lists / "link").symlink_to(secret)
    (lists / "out").symlink_to(tmp_path)
    for location in (
        str(secret),
        "../secret_key",
        "link",
        "out/secret_key",
        "/etc/passwd",
        "~/x",
        "/proc/self/environ",
    ):
        with pytest.raises(SourceError, match="files are read from there alone"):
            fetch.read_file(location, lists)


def test_an_answer_that_drips_is_given_up(site: Site) -> None:
    url = site.serve("/slow", "[]", X_Wait="forever")
    try:
        with pytest.raises(SourceError, match="longer than"):
            get(url, deadline=0.2)
    finally:
        site.go_on.set()
