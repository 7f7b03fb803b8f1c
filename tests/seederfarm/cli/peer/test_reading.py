"""`ls`, `cat` and `get` of what the data directory holds: no network is asked."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypercore.bee import Header
from hypercore.bee.messages import TreeNode, encode_block
from hypercore.core import Store, disk_store
from seederfarm.cli import main
from seederfarm.cli.peer import local_first

from ....workers.engine.fakes import Writer, WriterOfDrive


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[Store]:
    """Closed by the caller."""
    opened = disk_store(data)
    yield opened
    opened.close()


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data", str(data), "--timeout", "5"])


def run_alone(data: Path, *arguments: str, timeout: str) -> Result:
    """With a DHT that is not there."""
    alone = ["--bootstrap", "127.0.0.1:1", "--timeout", timeout]
    return CliRunner().invoke(main, [*arguments, "--data", str(data), *alone])


def ok(data: Path, *arguments: str) -> bytes:
    result = run(data, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


@pytest.fixture
def drive(store: Store) -> WriterOfDrive:
    drive = WriterOfDrive(store=store)
    drive.put("/readme.md", b"hello ", b"world")
    drive.put("/docs/deep/é.txt", b"accent")
    drive.put("/empty")
    drive.put("/run.sh", b"#!/bin/sh\n", executable=True)
    drive.put("/link", linkname="/docs/deep/é.txt")
    drive.put("/docs/back", linkname="../readme.md")
    store.close()
    return drive


def test_ls_lists_whole_paths_below_a_folder(drive: WriterOfDrive, data: Path) -> None:
    key = drive.key.hex()
    everything = ["/docs/back", "/docs/deep/é.txt", "/empty", "/link", "/readme.md", "/run.sh"]
    assert ok(data, "ls", key).decode().splitlines() == everything
    assert ok(data, "ls", key, "/docs").decode().splitlines() == everything[:2]
    assert ok(data, "ls", key, "docs/").decode().splitlines() == everything[:2]
    assert ok(data, "ls", key, "/empty").decode().splitlines() == ["/empty"]


def test_ls_long_shows_sizes_executables_and_links(drive: WriterOfDrive, data: Path) -> None:
    lines = ok(data, "ls", "-l", drive.key.hex()).decode().splitlines()
    assert lines == [
        "     link   /docs/back → ../readme.md",
        "      6 B   /docs/deep/é.txt",
        "      0 B   /empty",
        "     link   /link → /docs/deep/é.txt",
        "     11 B   /readme.md",
        "     10 B x /run.sh",
    ]


def test_ls_json_is_one_object_a_line(drive: WriterOfDrive, data: Path) -> None:
    lines = ok(data, "ls", "--json", drive.key.hex(), "/run.sh").decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"path": "/run.sh", "size": 10, "executable": True}]


def test_ls_of_nothing_fails_in_one_line(drive: WriterOfDrive, data: Path) -> None:
    result = run(data, "ls", drive.key.hex(), "/nothing")
    assert result.exit_code == 1
    assert result.stderr == "seederfarm: nothing at /nothing in the drive\n"


def test_cat_writes_the_bytes_and_follows_links(drive: WriterOfDrive, data: Path) -> None:
    key = drive.key.hex()
    assert ok(data, "cat", key, "/readme.md") == b"hello world"
    assert ok(data, "cat", key, "/empty") == b""
    assert ok(data, "cat", key, "/link").decode() == "accent"


@pytest.mark.parametrize(
    ("path", "expected"), [("/docs", "is a folder"), ("/gone.txt", "no file /gone.txt in the drive")]
)
def test_cat_of_something_that_is_no_file_fails_in_one_line(
    path: str, expected: str, drive: WriterOfDrive, data: Path
) -> None:
    result = run(data, "cat", drive.key.hex(), path)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert expected in result.stderr and result.stderr.count("\n") == 1


def test_get_writes_files_executables_and_links(drive: WriterOfDrive, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ok(data, "get", drive.key.hex(), "-o", str(out))
    assert (out / "readme.md").read_bytes() == b"hello world"
    assert (out / "docs/deep/é.txt").read_bytes() == b"accent"
    assert (out / "empty").read_bytes() == b""
    assert (out / "link").is_symlink() and (out / "link").read_bytes() == b"accent"
    assert (out / "docs/back").read_bytes() == b"hello world"
    assert os.access(out / "run.sh", os.X_OK) and not os.access(out / "readme.md", os.X_OK)
    assert stat.S_IMODE((out / "readme.md").stat().st_mode) & 0o400


def test_get_twice_writes_nothing_the_second_time(drive: WriterOfDrive, data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = run(data, "get", drive.key.hex(), "-o", out)
    assert first.stderr == f"4 files (27 B), 2 links in {out}\n"
    second = run(data, "get", drive.key.hex(), "-o", out)
    assert second.stderr == f"0 files (0 B), 6 there already in {out}\n"


def test_get_of_one_file_and_of_one_folder(drive: WriterOfDrive, data: Path, tmp_path: Path) -> None:
    ok(data, "get", drive.key.hex(), "/readme.md", "-o", str(tmp_path / "one"), "--max-bytes", "11")
    bounded = run(data, "get", drive.key.hex(), "/readme.md", "-o", str(tmp_path / "no"), "--max-bytes", "10")
    assert (
        bounded.exit_code == 1 and "it has 11 B, and 10 B of what may be written are left" in bounded.output
    )
    wrong = run(data, "get", drive.key.hex(), "-o", str(tmp_path / "no"), "--max-bytes", "much")
    assert wrong.exit_code == 2 and "'much' is wrong: expected a size" in wrong.output
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["readme.md"]
    result = run(data, "get", drive.key.hex(), "/docs", "-o", str(tmp_path / "two"))
    assert result.exit_code == 1 and "left out /docs/back" in result.stderr
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["deep"], "/docs/back leads out of /docs"


def test_a_hostile_link_is_left_out_and_the_rest_is_written(store: Store, data: Path, tmp_path: Path) -> None:
    drive = WriterOfDrive(store=store)
    drive.put("/evil", linkname="../../../etc/passwd")
    drive.put("/good", b"good")
    store.close()
    out = tmp_path / "out"
    result = run(data, "get", drive.key.hex(), "-o", str(out))
    assert result.exit_code == 1
    assert "left out /evil" in result.stderr
    assert [path.name for path in out.iterdir()] == ["good"]


def test_an_older_version_is_read(drive: WriterOfDrive, data: Path) -> None:
    assert ok(data, "ls", drive.key.hex(), "--checkout", "2").decode().splitlines() == ["/readme.md"]


@pytest.mark.parametrize(
    "command", [["ls", "KEY"], ["cat", "KEY", "/readme.md"], ["get", "KEY", "-o", "out"]], ids=lambda c: c[0]
)
def test_a_version_that_no_peer_has_is_refused_with_the_newest(
    command: list[str], drive: WriterOfDrive, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_first, "SEARCH_TIMEOUT", 0.01)
    arguments = [drive.key.hex() if argument == "KEY" else argument for argument in command]
    result = run_alone(data, *arguments, "--checkout", "99", timeout="30")
    assert result.exit_code == 1
    assert result.stderr.endswith("seederfarm: version 99 is not known; the newest is 7\n"), result.stderr


@pytest.mark.parametrize("command", [["ls", "ab" * 32], ["get", "ab" * 32, "-o", "out"]], ids=lambda c: c[0])
def test_the_search_for_a_key_that_no_peer_has_found_no_peer(command: list[str], data: Path) -> None:
    result = run_alone(data, *command, timeout="1")
    assert result.exit_code == 1
    assert result.stderr.endswith(": no peer was found\n"), result.stderr


def test_a_bee_is_listed_and_read_by_key(store: Store, data: Path) -> None:
    writer = Writer(store=store)
    writer.append(Header().encode(), encode_block(b"a key", b"a value", [TreeNode([1], [])]))
    writer.append(encode_block(b"other", b"more", [TreeNode([1, 2], [])]))
    store.close()
    key = writer.key.hex()
    assert ok(data, "ls", key) == b"a key\nother\n"
    assert ok(data, "ls", key, "o") == b"other\n"
    assert ok(data, "cat", key, "a key") == b"a value"
    result = run(data, "cat", key, "none")
    assert (result.exit_code, result.stderr) == (1, "seederfarm: no key none in the bee\n")
    result = run(data, "get", key, "-o", str(data.parent / "out"))
    assert result.exit_code == 1 and "is a bee" in result.stderr


def test_an_encrypted_drive_is_claimed_to_look_like_a_core(store: Store, data: Path) -> None:
    drive = WriterOfDrive(store=store, encrypted=True)
    store.close()
    result = run(data, "ls", drive.key.hex())
    assert result.stdout == "0\n"
    assert "or a drive that is encrypted" in result.stderr
    result = run(data, "ls", drive.key.hex(), "--encryption-key", "ab" * 32)
    assert "with this encryption key" in result.stderr


def test_a_core_is_read_by_the_number_of_a_block(store: Store, data: Path) -> None:
    writer = Writer(store=store, compat=True)
    writer.append(b"zero", b"first")
    store.close()
    key = writer.key.hex()
    assert ok(data, "cat", key, "1") == b"first"
    assert ok(data, "ls", key).splitlines() == [b"0", b"1"]
    assert ok(data, "ls", key, "--checkout", "1").splitlines() == [b"0"]
    older = run(data, "cat", key, "1", "--checkout", "1")
    assert older.exit_code == 1 and "there is no block 1" in older.stderr
    for path, status in (("2", 1), ("/a", 2), ("-", 2), ("²", 2)):
        assert run(data, "cat", key, path).exit_code == status, path


@pytest.mark.parametrize("command", [["ls"], ["cat", "KEY", "/a"], ["get", "KEY", "-o", "out"]])
def test_a_malformed_key_is_a_usage_error_and_nothing_is_written(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *rest = command
    arguments = [argument if argument != "KEY" else "nonsense" for argument in rest] or ["nonsense"]
    result = CliRunner().invoke(main, [name, *arguments, "--data", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "64 hex digits" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_encryption_key_is_not_repeated(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["ls", "ab" * 32, "--encryption-key", "s3cret", "--data", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "s3cret" not in result.output


def test_an_unusable_bootstrap_address_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["ls", "ab" * 32, "--bootstrap", "nowhere", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "HOST:PORT" in result.stderr
