"""Listing a folder: what a drive can hold of it, and what is reported of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.publish import folder as folder_module
from workers.publish.folder import FolderUnreadable, scan, summary


def test_files_and_links_are_listed_by_their_path_in_the_drive(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "naïve ☃").write_bytes(b"12345")
    (tmp_path / "run").write_bytes(b"")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("../outside")
    (tmp_path / "folder-link").symlink_to("deep")
    listing = scan(tmp_path)
    assert sorted(listing.items) == ["/deep/er/naïve ☃", "/folder-link", "/link", "/run"]
    assert listing.items["/deep/er/naïve ☃"].fingerprint.size == 5
    assert [path for path, item in listing.items.items() if item.executable] == ["/run"]
    assert listing.items["/link"].target == "../outside"
    assert listing.items["/folder-link"].target == "deep"
    assert listing.problems == []


def test_pipes_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert scan(tmp_path).items == {}


@pytest.mark.parametrize("pattern", [".git", "build/*", "*.tmp"])
def test_what_is_excluded_is_left_out_with_all_below_it(tmp_path: Path, pattern: str) -> None:
    names = {".git": ".git/config", "build/*": "build/out.o", "*.tmp": "a/b.tmp"}
    for name in ("kept", names[pattern]):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    assert list(scan(tmp_path, [pattern]).items) == ["/kept"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [(b"back\\slash", "backslash separates folders"), (b"\xff", "not text that UTF-8 can hold")],
)
def test_a_name_that_no_drive_can_hold_is_reported(tmp_path: Path, name: bytes, reason: str) -> None:
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):  # noqa: PTH118, PTH123 - bytes, no text
        pass
    listing = scan(tmp_path)
    assert listing.items == {}
    assert reason in listing.problems[0]


def test_a_folder_that_is_not_there_is_an_error_and_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FolderUnreadable, match="No such file"):
        scan(tmp_path / "gone")


def test_below_what_cannot_be_read_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "open").write_bytes(b"x")
    real = folder_module.open_below

    def open_below(folder: Path, path: str, flags: int) -> int:
        if path == "/locked":
            raise PermissionError(13, "Permission denied")
        return real(folder, path, flags)

    monkeypatch.setattr(folder_module, "open_below", open_below)
    listing = scan(tmp_path)
    assert listing.problems == ["cannot read the folder /locked: Permission denied"]
    assert listing.keeps("/locked/secret")
    assert not listing.keeps("/locked-not")
    assert list(listing.items) == ["/open"]


def test_many_problems_make_one_line() -> None:
    assert summary(["a", "b"]) == "a; b"
    assert summary(list("abcdef")) == "a; b; c, and 3 more"
