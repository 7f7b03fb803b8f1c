"""Answers over HTTP, from a server on loopback."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from seederfarm.sources import fetch
from seederfarm.sources.parse import SourceError

from .conftest import Site


def get(url: str, **options: Any) -> fetch.Answer:
    return asyncio.run(fetch.get(url, **options))


def test_an_answer_that_did_not_change_is_not_sent_again(site: Site) -> None:
    url = site.says("/keys", "[1]", ETag='"a"')
    first = get(url)
    assert (first.body, first.etag) == (b"[1]", '"a"')
    assert get(url, etag=first.etag).unchanged


@pytest.mark.parametrize("status", [304, 403, 404, 500, 503])
def test_other_answers_are_failures(site: Site, status: int) -> None:
    with pytest.raises(SourceError, match=str(status)):
        get(site.says("/keys", "" if status == 304 else "[]", status))


def test_redirects_are_followed_within_bounds_and_secrets_stay_at_home(site: Site) -> None:
    away = site.base.replace("127.0.0.1", "localhost")
    site.says("/end", "[2]")
    url = site.says("/keys", "", 302, Location="/next")
    site.says("/next", "", 302, Location=f"{away}/end")
    assert get(url, headers={"X-Api-Key": "secret"}).body == b"[2]"
    assert ["x-api-key" in headers for _, headers, _ in site.seen] == [True, True, False]
    with pytest.raises(SourceError, match="redirects"):
        get(site.says("/loop", "", 302, Location="/loop"))


def test_html_compressed_cut_and_large_answers_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="HTML"):
        get(site.says("/a", "[]", Content_Type="text/html; charset=utf-8"))
    with pytest.raises(SourceError, match="compressed"):
        get(site.says("/b", "[]", Content_Encoding="gzip"))
    with pytest.raises(SourceError, match="request failed"):
        get(site.says("/c", "[1,", Content_Length="10"))
    monkeypatch.setattr(fetch, "MAX_BYTES", 10)
    assert get(site.says("/d", "1" * 10)).body == b"1" * 10
    with pytest.raises(SourceError, match="larger"):
        get(site.says("/d", "1" * 11))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ftp://example.org/", "http://[", "nothing"])
def test_places_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(SourceError, match="request failed"):
        get(url)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("x")
    assert fetch.read_file(str(tmp_path / "seeds.txt")).body == b"x"
    with pytest.raises(SourceError, match="cannot be read"):
        fetch.read_file(str(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="no regular file"):
        fetch.read_file(str(tmp_path / "pipe"))


def test_an_answer_that_drips_is_given_up(site: Site) -> None:
    url = site.says("/slow", "[]", X_Wait="forever")
    try:
        with pytest.raises(SourceError, match="longer than"):
            get(url, deadline=0.2)
    finally:
        site.go_on.set()
