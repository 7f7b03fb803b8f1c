"""Types, policies, and names that are no attack."""

from __future__ import annotations

import email.message
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.gateway.headers import (
    BOX,
    MAX_NAME,
    MEDIA,
    content_type,
    disposition,
    is_shown,
    media_type,
    policy,
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/a.txt", "text/plain; charset=utf-8"),
        ("/a.HTML", "text/html; charset=utf-8"),
        ("/a.svg", "image/svg+xml; charset=utf-8"),
        ("/a.json", "application/json; charset=utf-8"),
        ("/a.mp4", "video/mp4"),
        ("/a.webp", "image/webp"),
        ("/a.opus", "audio/ogg"),
        ("/a.tar.gz", "application/gzip"),
        ("/a.svgz", "application/gzip"),
        ("/README", "text/plain; charset=utf-8"),
        ("/a", "application/octet-stream"),
        ("/a.unknown", "application/octet-stream"),
        ("/x:y/data:text/html,x", "application/octet-stream"),
        ("/..", "application/octet-stream"),
    ],
)
def test_types_follow_the_name(path: str, kind: str) -> None:
    assert content_type(path) == kind


def test_documents_are_sandboxed_without_any_source() -> None:
    for path in ("/a.html", "/a.svg", "/a.xml", "/a.pdf", "/a", "/a.js"):
        assert policy(media_type(path)) == BOX
    assert policy(media_type("/a.png")) == MEDIA
    for csp in (BOX, MEDIA):
        assert csp.startswith("sandbox; default-src 'none';") and "script" not in csp and "allow" not in csp
    assert is_shown("text/html") and not is_shown(media_type("/a.exe")) and not is_shown(media_type("/a.pdf"))


def test_plain_and_foreign_names() -> None:
    assert disposition("a b.txt", inline=True) == 'inline; filename="a b.txt"'
    assert disposition("ñ.txt", inline=False) == "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%B1.txt"
    assert disposition("", inline=False) == disposition("...", inline=False) == 'attachment; filename="file"'
    long = disposition("x" * 300 + ".jpeg", inline=False)
    assert len(long) < MAX_NAME + 40 and long.endswith('x.jpeg"')


@given(
    st.text(max_size=80)
    | st.sampled_from(['a"\r\nSet-Cookie: x=1', "\u202etxt.exe", "a;b=c\\", "..\\..\\x", "\x00"])
)
def test_any_name_is_one_harmless_header(name: str) -> None:
    header = disposition(name, inline=False)
    assert re.fullmatch(
        r"attachment; filename=\"[ -~]+\"(; filename\*=UTF-8''[\w%.~-]+)?", header, re.ASCII
    ), header
    message = email.message.Message()
    message["Content-Disposition"] = header
    read = message.get_filename()
    assert read and not set(read) & set('\r\n\0/\\"\u202e\u2066')
