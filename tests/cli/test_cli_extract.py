"""Files of a hostile drive stay inside the folder they are written into."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seederfarm.cli.extract import Folder, UnsafeName, _parts


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def put(folder: Folder, path: str, content: bytes, *, executable: bool = False) -> None:
    with folder.writing(path, executable=executable) as descriptor:
        os.write(descriptor, content)


def test_a_file_is_written_below_the_folders_of_its_path(folder: Folder) -> None:
    put(folder, "/a/b/c.txt", b"hello")
    put(folder, "/a/b/d.txt", b"again")
    assert (folder.root / "a/b/c.txt").read_bytes() == b"hello"
    assert (folder.root / "a/b/d.txt").read_bytes() == b"again"


def test_executables_can_be_executed_and_others_cannot(folder: Folder) -> None:
    put(folder, "/run.sh", b"#!/bin/sh\n", executable=True)
    put(folder, "/data", b"")
    assert stat.S_IMODE((folder.root / "run.sh").stat().st_mode) & 0o100
    assert not stat.S_IMODE((folder.root / "data").stat().st_mode) & 0o111


def test_a_file_replaces_what_had_its_name(folder: Folder) -> None:
    put(folder, "/a", b"old")
    put(folder, "/a", b"new")
    assert (folder.root / "a").read_bytes() == b"new"
    assert [path.name for path in folder.root.iterdir()] == ["a"]


def test_an_interrupted_file_leaves_nothing_and_keeps_the_old_one(folder: Folder) -> None:
    put(folder, "/a", b"old")
    with pytest.raises(KeyboardInterrupt), folder.writing("/a") as descriptor:
        os.write(descriptor, b"half")
        raise KeyboardInterrupt
    assert (folder.root / "a").read_bytes() == b"old"
    assert [path.name for path in folder.root.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "path", ["", "/", "..", "/..", "/../x", "/a/../../x", "/a/..", "/./x", "//x", "/a//b", "/a/", "/a\0b"]
)
def test_a_name_that_leads_out_is_refused(folder: Folder, path: str) -> None:
    with pytest.raises(UnsafeName):
        put(folder, path, b"x")
    assert list(folder.root.iterdir()) == []


def test_a_link_on_the_way_to_a_file_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder.root / "trap").symlink_to(outside)
    with pytest.raises(UnsafeName, match="trap is there already"):
        put(folder, "/trap/x", b"x")
    assert list(outside.iterdir()) == []


def test_a_link_under_the_name_of_a_file_is_replaced_not_written_through(
    folder: Folder, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder.root / "a").symlink_to(victim)
    put(folder, "/a", b"x")
    assert victim.read_text() == "precious"
    assert not (folder.root / "a").is_symlink()


def test_a_file_where_a_folder_is_needed_is_a_clear_error(folder: Folder) -> None:
    put(folder, "/a", b"file")
    with pytest.raises(UnsafeName, match="a is there already and is no folder"):
        put(folder, "/a/b", b"x")


def test_links_lead_to_their_target_inside_the_folder(folder: Folder) -> None:
    put(folder, "/deep/er/file", b"content")
    folder.link("/top", "/deep/er/file")
    folder.link("/other/place/link", "/deep/er/file")
    folder.link("/other/root", "/")
    assert (folder.root / "top").read_bytes() == b"content"
    assert (folder.root / "other/place/link").read_bytes() == b"content"
    assert (folder.root / "other/root").resolve() == folder.root.resolve()


@given(st.text(alphabet="./\0ab", max_size=12))
def test_accepted_paths_never_leave(path: str) -> None:
    try:
        parts = _parts(path)
    except UnsafeName:
        return
    root = "/root/of/it"
    assert os.path.normpath("/".join([root, *parts])).startswith(root + "/")
