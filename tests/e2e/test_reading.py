"""`ls`, `cat` and `get` of a drive that an official publisher serves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ..support import seed_process as cli
from ..support.content import CHUNK, EDGE_FILES, File
from ..support.node import Publisher
from ..support.published import publish_drive

pytestmark = pytest.mark.interop

LAST = {file.path: file for file in EDGE_FILES}
"""What is left of a path that was written twice."""


def read(bootstrap: list[str], data: Path, *arguments: str) -> bytes:
    done = cli.run(*arguments, "--data", str(data), *cli.bootstrap_options(bootstrap))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_ls_and_cat_read_straight_from_the_swarm(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    data = tmp_path / "farm"

    top = read(bootstrap, data, "ls", key).decode()
    for name in ("empty", "block.bin", "tools", "unicode", "with space", "link"):
        assert name in top, top
    assert "deleted.txt" not in top
    below = read(bootstrap, data, "ls", key, "/unicode").decode()
    assert "日本語" in below and "block.bin" not in below

    for path in ("/block-plus-one.bin", "/overwritten.txt", "/empty", "/unicode/日本語/ñandú 🐦/e\u0301.txt"):
        assert read(bootstrap, data, "cat", key, path) == LAST[path].bytes, path
    assert read(bootstrap, data, "cat", key, "/link") == LAST["/block.bin"].bytes

    done = cli.run("ls", key, "--checkout", "9999", "--data", str(data), *cli.bootstrap_options(bootstrap))
    assert done.returncode == 1
    assert "version 9999 is not known; the newest is " in done.stderr.decode()


def test_cat_of_something_that_is_not_there_fails_in_one_line(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    done = cli.run(
        "cat", key, "/deleted.txt", "--data", str(tmp_path / "farm"), *cli.bootstrap_options(bootstrap)
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert "deleted.txt" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("variant", ["plain", "dedup", "compat"])
def test_get_writes_every_file_with_its_bytes_its_x_bit_and_its_links(
    variant: str, publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    key = publish_drive(publisher, variant)["key"]
    out = tmp_path / "out"
    read(bootstrap, tmp_path / "farm", "get", key, "-o", str(out))

    found = {
        "/" + str(path.relative_to(out)) for path in out.rglob("*") if path.is_symlink() or path.is_file()
    }
    assert found == set(LAST)
    for path, file in LAST.items():
        here = out / path[1:]
        if file.target is not None:
            assert here.is_symlink() and here.resolve().is_relative_to(out)
        else:
            assert here.read_bytes() == file.bytes, path
            assert os.access(here, os.X_OK) == file.executable, path
    assert (out / "link").read_bytes() == LAST["/block.bin"].bytes
    assert not (out / "deleted.txt").exists()


def test_what_is_stored_is_read_without_the_publisher(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    key, data = publish_drive(publisher, "plain")["key"], tmp_path / "farm"
    seeded = cli.run(
        "seed", key, "--until-synced", "--data", str(data), "--json", *cli.bootstrap_options(bootstrap)
    )
    assert seeded.returncode == 0, seeded.stderr.decode()
    publisher.stop()
    assert read(bootstrap, data, "cat", key, "/overwritten.txt") == LAST["/overwritten.txt"].bytes


def test_get_goes_on_past_files_that_no_peer_has(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    """Their writer cleared them: very common in drives that overwrite files."""
    files = [File(path=f"/{name}", size=2 * CHUNK) for name in ("a", "b", "c", "d", "e")]
    key = publisher.make("it", "drive")["key"]
    publisher.put_all("it", files)
    for path in ("/b", "/d"):
        publisher.ask("clear", name="it", path=path)
    publisher.ask("join", name="it")
    out = tmp_path / "out"
    began = time.monotonic()
    done = cli.run(
        *("get", key, "-o", str(out), "--data", str(tmp_path / "none")), *cli.bootstrap_options(bootstrap)
    )
    assert time.monotonic() - began < 30, "the second missing file is given up at once"
    assert done.returncode == 1
    expected = done.stderr.decode()
    for missing in ("/b", "/d"):
        assert (
            f"left out {missing}: its content is not here, and the peer that is connected lacks it"
            in expected
        )
    assert "3 files" in expected and "2 files could not be written" in expected
    assert {path.name for path in out.iterdir()} == {"a", "c", "e"}
    for file in files:
        if (out / file.path[1:]).exists():
            assert (out / file.path[1:]).read_bytes() == file.bytes


def test_get_says_what_it_has_when_its_time_is_up(
    publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    files = [File(path=f"/{name}", size=2 * CHUNK) for name in ("a", "b", "c")]
    key = publisher.make("it", "drive")["key"]
    publisher.put_all("it", files)
    publisher.ask("clear", name="it", path="/b")
    publisher.ask("join", name="it")
    out = tmp_path / "out"
    arguments = ["get", key, "-o", str(out), "--data", str(tmp_path / "none"), "--timeout", "12"]
    done = cli.run(*arguments, *cli.bootstrap_options(bootstrap))
    assert done.returncode == 1
    assert {path.name for path in out.iterdir()} == {"a", "c"}, "one file may take a third of the time"
    assert "left out /b" in done.stderr.decode()
