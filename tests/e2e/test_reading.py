"""`ls`, `cat` and `get` of a drive that an official publisher serves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..support import farm as cli
from ..support.content import EDGE_FILES
from ..support.node import Publisher
from ..support.scenes import publish_drive

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
