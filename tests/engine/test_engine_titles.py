"""What drives call themselves, as their writers wrote it."""

from __future__ import annotations

import asyncio

import pytest

from workers.engine.titles import MAX_PACKAGE_BYTES, MAX_TITLE, read_title

from .fakes import Sessions, Writer, WriterOfDrive


def title_of(drive: WriterOfDrive | Writer) -> str:
    sessions = Sessions(drive.store)
    title = asyncio.run(read_title(drive.key, sessions.open))
    assert all(session.closed for session in sessions.opened.values())
    return title


@pytest.mark.parametrize(
    ("package", "title"),
    [
        (b'{"name": "keet", "version": "1"}', "keet"),
        ('{"name": "  a\\u202eb\\n \u00e4 "}'.encode(), "ab ä"),
        (b'{"name": "' + b"x" * 1000 + b'"}', "x" * MAX_TITLE),
        (b'{"name": 7}', ""),
        (b'["name"]', ""),
        (b"{}", ""),
        (b"\xff\xfe no json", ""),
        (b"[" * 50_000, ""),
        (b'{"name": "large"}' + b" " * MAX_PACKAGE_BYTES, ""),
    ],
)
def test_a_drive_is_called_what_its_package_says(package: bytes, title: str) -> None:
    drive = WriterOfDrive()
    drive.put("/other.txt", b"something")
    drive.put("/package.json", package)
    assert title_of(drive) == title


def test_what_has_no_package_or_cannot_be_read_has_no_title() -> None:
    assert title_of(WriterOfDrive()) == ""
    encrypted = WriterOfDrive(encrypted=True)
    encrypted.put("/package.json", b'{"name": "hidden"}')
    assert title_of(encrypted) == ""
    linked = WriterOfDrive()
    linked.put("/package.json", linkname="/package.json")
    assert title_of(linked) == ""
    core = Writer()
    core.append(b"no drive")
    assert title_of(core) == ""


def test_a_package_whose_blocks_are_not_here_gives_no_title() -> None:
    drive = WriterOfDrive()
    drive.put("/package.json", b'{"name":', b'"keet"}')
    drive.blobs.clear(1, 2)
    assert title_of(drive) == ""
