"""Wrong keys, keys that no peer serves, data directories that cannot be used."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from ..conftest import NewFarm
from ..support import seed_process as cli
from ..support.node import Publisher
from ..support.waiting import eventually

GOOD = "ab" * 32

NOWHERE = ("--bootstrap", "127.0.0.1:9")
"""A bootstrap node that is not there: a test that fails to fail must not look further than this machine."""

BAD_KEYS = {
    "empty": "",
    "words": "not a key",
    "one digit short": GOOD[:-1],
    "one digit long": GOOD + "a",
    "not hex": "g" * 64,
    "not z-base-32": "l" * 52,
    "upper-case z-base-32": "Y" * 52,
    "z-base-32 with bits left over": "y" * 51 + "9",
    "another scheme": f"https://{GOOD}",
    "link to nothing": "hyper://",
    "link to a broken key": f"hyper://{GOOD[:-2]}/folder/file",
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_malformed_key_is_one_line_and_status_2_and_nothing_is_written(key: str, tmp_path: Path) -> None:
    data = tmp_path / "farm"
    done = cli.run("seed", key, "--data", str(data), "--json", *NOWHERE, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    message = done.stderr.decode()
    assert len(message.strip().splitlines()) == 1, message
    assert "64" in message and "52" in message, f"does not say what was expected: {message}"
    assert list(tmp_path.iterdir()) == []


def test_a_bad_key_among_good_ones_stops_all_of_them(tmp_path: Path) -> None:
    done = cli.run("seed", GOOD, "nonsense", "--data", str(tmp_path / "farm"), *NOWHERE)
    assert done.returncode == 2
    assert b"nonsense" in done.stderr
    assert not (tmp_path / "farm").exists()


def test_a_bad_line_of_a_seeds_file_is_named(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.txt"
    seeds.write_text(f"drive {GOOD}\ntape {GOOD}\n", encoding="utf-8")
    done = cli.run("seed", "--file", str(seeds), "--data", str(tmp_path / "farm"), *NOWHERE)
    assert done.returncode == 2
    message = done.stderr.decode()
    assert "line 2" in message and "tape" not in message, "contents of files are not quoted"
    assert not (tmp_path / "farm").exists()


@pytest.mark.interop
def test_a_key_that_no_peer_serves_is_looked_for_until_a_peer_does(
    publisher: Publisher, new_farm: NewFarm
) -> None:
    made = publisher.make("thing", "core")
    no_peer = secrets.token_hex(32)
    farm = new_farm(made["key"], no_peer)
    farm.wait_ready()
    time.sleep(4)  # long enough that a single failed lookup would have ended it
    assert farm.running, farm.describe()
    assert farm.of("synced") == [], "nothing was received, so nothing is synced"
    assert "Traceback" not in farm.stderr

    made = publisher.append("thing", [("late", 100)])
    publisher.ask("join", name="thing", client=False)  # it only waits: we must look again by ourselves
    farm.wait_synced(made["key"], 1, timeout=60)
    assert farm.of("synced", no_peer) == []
    assert farm.interrupt() == 0
    assert "Traceback" not in farm.stderr


@pytest.mark.interop
def test_people_see_that_it_is_looking(bootstrap: list[str], tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    command = [*cli.COMMAND, "seed", key, "--data", str(tmp_path / "farm"), *cli.bootstrap_options(bootstrap)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=cli.environment()
    )
    try:
        time.sleep(4)
        assert process.poll() is None
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=20)
    assert b"look" in output.lower()
    assert b"Traceback" not in output


@pytest.mark.interop
def test_a_data_directory_in_use_is_refused_by_name(bootstrap: list[str], new_farm: NewFarm) -> None:
    first = new_farm(GOOD)
    first.wait_ready()
    second = new_farm(GOOD)
    assert second.wait(20) == 1
    assert str(second.data) in second.stderr
    assert "Traceback" not in second.stderr
    assert first.running
    first.interrupt()
    third = new_farm(GOOD)
    third.wait_ready()


def test_a_data_directory_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "farm").write_text("not a directory", encoding="utf-8")
    done = cli.run("seed", GOOD, "--data", str(tmp_path / "farm"), *NOWHERE)
    assert done.returncode == 1
    assert str(tmp_path / "farm").encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "farm").read_text(encoding="utf-8") == "not a directory"


def stored(tmp_path: Path) -> tuple[Path, Path]:
    """A data directory that a start has made, and the database in it."""
    farm = cli.SeedProcess(tmp_path / "farm", NOWHERE[1:], GOOD)
    try:
        eventually(lambda: format_of(farm.data), timeout=30, what="its database")
    finally:
        farm.dispose()
    (database,) = farm.data.glob("*.db")
    return farm.data, database


def format_of(data: Path) -> int:
    """Format of the store in this directory; 0 while there is none."""
    for database in data.glob("*.db"):
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    return 0


def check_refused(data: Path, database: Path) -> None:
    """Every command says in one line what is wrong with the directory, and touches nothing."""
    before = database.read_bytes()
    for command in (["seed", GOOD, "--data", str(data), *NOWHERE], ["verify", "--data", str(data)]):
        done = cli.run(*command)
        assert done.returncode == 1, command
        assert str(data).encode() in done.stderr
        assert len(done.stderr.decode().strip().splitlines()) == 1, done.stderr.decode()
    assert database.read_bytes() == before


def test_a_damaged_database_is_a_clear_error_and_is_left_as_it_is(tmp_path: Path) -> None:
    data, database = stored(tmp_path)
    for log in data.glob("*.db-*"):
        log.unlink()
    database.write_bytes(b"not a database at all " * 1_000)
    check_refused(data, database)


def test_a_store_of_a_later_format_is_a_clear_error_and_is_left_as_it_is(tmp_path: Path) -> None:
    data, database = stored(tmp_path)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA user_version = 9999")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    check_refused(data, database)


@pytest.mark.interop
def test_ctrl_c_leaves_politely_and_ends_with_status_0(publisher: Publisher, new_farm: NewFarm) -> None:
    publisher.make("thing", "core")
    made = publisher.append("thing", [("x", 10)])
    publisher.ask("join", name="thing")
    farm = new_farm(made["key"])
    farm.wait_synced(made["key"], 1)
    since = publisher.position()
    assert farm.interrupt(timeout=15) == 0
    publisher.wait_for(
        lambda event: event.get("event") == "peer" and event["state"] == "close",
        timeout=3,  # an END, not the time-out of a peer that vanished
        what="our leaving",
        since=since,
    )
