"""Paths: what people type, what drives hold, where links lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.drive import paths
from hypercore.errors import InvalidContent, InvalidPath

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
PARTS = st.lists(TEXT | st.sampled_from(["..", ".", "", "c:", "file:"]), max_size=6)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "/a/b"),
        ("", "/"),
        ("/", "/"),
        (".", "/"),
        ("/a//b/", "/a/b"),
        ("\\a\\b", "/a/b"),
        ("a\\..\\b", "/b"),
        ("/a/./b/../c", "/a/c"),
        ("C:\\x\\y", "/x/y"),
        ("file:/x", "/x"),
        ("https://host/x/y", "/x/y"),
        ("c:", "/c:"),
        ("/c:/x", "/c:/x"),
        ("/ü/日本 🎉", "/ü/日本 🎉"),
        ("/...", "/..."),
    ],
)
def test_paths_are_normalized_as_by_the_official_library(given: str, normal: str) -> None:
    assert paths.normalize(given) == normal


@pytest.mark.parametrize(
    "path", ["..", "/..", "/a/../..", "a/../../b", "..\\x", "/a\0b", "/\ud800", "/" + "x" * 65536]
)
def test_paths_that_no_drive_can_hold_are_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        paths.normalize(path)


@given(PARTS.map("/".join))
def test_normal_paths_stay_as_they_are_and_can_be_stored(path: str) -> None:
    try:
        normal = paths.normalize(path)
    except InvalidPath:
        return
    assert paths.normalize(normal) == normal
    if normal != paths.ROOT:
        assert paths.decode(paths.encode(normal)) == normal


@given(st.binary(max_size=30) | PARTS.map("/".join).map(str.encode))
def test_stored_paths_are_in_normal_form_or_refused(raw: bytes) -> None:
    try:
        path = paths.decode(raw)
    except InvalidContent:
        return
    assert paths.normalize(path) == path
    assert paths.encode(path) == raw


def test_stored_paths_are_bounded() -> None:
    assert len(paths.decode(b"/" + b"x" * (paths.MAX_PATH_BYTES - 1))) == paths.MAX_PATH_BYTES
    with pytest.raises(InvalidContent, match="65537 bytes"):
        paths.decode(b"/" + b"x" * paths.MAX_PATH_BYTES)


@pytest.mark.parametrize(
    ("path", "linkname", "targets"),
    [
        ("/a/l", "/x", ["/x"]),
        ("/a/l", "x", ["/a/l/x", "/a/x"]),
        ("/a/l", "../x", ["/a/x", "/x"]),
        ("/a/l", "../../x", ["/x"]),
        ("/l", "../x", ["/x"]),
        ("/a/l", "./l", ["/a/l/l", "/a/l"]),
        ("/a/l", "C:\\x", ["/x"]),
        ("/a/l", ".", ["/a/l", "/a"]),
    ],
)
def test_links_may_lead_where_officials_see_it_or_where_file_systems_do(
    path: str, linkname: str, targets: list[str]
) -> None:
    assert paths.link_targets(path, linkname) == targets


@pytest.mark.parametrize("linkname", ["../../../x", "/../x", "x\0", "\udfff"])
def test_links_out_of_the_drive_are_invalid_content(linkname: str) -> None:
    with pytest.raises(InvalidContent, match="cannot be followed"):
        paths.link_targets("/a/l", linkname)


def test_messages_show_what_a_terminal_cannot_be_harmed_by() -> None:
    with pytest.raises(InvalidContent) as caught:
        paths.decode(b"/\x1b[31m/../" + b"x" * 500)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
