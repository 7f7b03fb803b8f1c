"""The reading commands on directories that are not theirs to write: nothing is locked, made or changed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypercore import KeyPair, writable_drive
from hypercore.core import disk_store, read_only_store
from hypercore.errors import StoreUnreadable

from ....support import seed_process as commands
from ....support.seed_process import SeedProcess

UNPRIVILEGED = 65534
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all")
NOWHERE = "127.0.0.1:9"
CONTENT = b"".join(bytes([number]) * 65_536 for number in range(20))


def fill(data: Path) -> str:
    """A drive whose contents have a file of their own on disk; its key."""
    with disk_store(data) as store:
        drive = writable_drive(store, KeyPair.from_seed(bytes(32)))
        with drive.writer.batch() as batch:
            batch.put("/film", [CONTENT[at : at + 65_536] for at in range(0, len(CONTENT), 65_536)])
            batch.put("/small", b"text")
        return drive.key.hex()


class Place:
    """A directory that others can look into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.key = fill(self.data)

    def open_to_all(self, *, writable: bool = False) -> None:
        for path in [self.data, *self.data.rglob("*")]:
            mode = 0o755 if path.is_dir() else 0o644
            path.chmod(mode if os.geteuid() == 0 or writable else mode & 0o555)
            if os.geteuid() == 0 and not writable:
                os.chown(path, UNPRIVILEGED, UNPRIVILEGED)

    def state(self) -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in [self.data, *self.data.rglob("*")]
        }

    def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:
        """As a user who may not write there: root does so without the capability that lets it."""
        prefix = prefix or (POWERLESS if os.geteuid() == 0 else ())
        return subprocess.run(
            [*prefix, *commands.COMMAND, *arguments, "--data", str(self.data)],
            capture_output=True,
            timeout=60,
            env=commands.environment() | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(self.root)},
            check=False,
        )

    def check(self, prefix: tuple[str, ...] = ()) -> None:
        """All four commands work, and leave no trace."""
        before = self.state()
        listed = self.run("ls", self.key, prefix=prefix)
        assert (listed.returncode, listed.stdout, listed.stderr) == (0, b"/film\n/small\n", b"")
        read = self.run("cat", self.key, "/film", prefix=prefix)
        assert (read.returncode, read.stdout == CONTENT, read.stderr) == (0, True, b"")
        out = Path(tempfile.mkdtemp(dir=self.root))
        out.chmod(0o777)
        got = self.run("get", self.key, "-o", str(out), prefix=prefix)
        assert got.returncode == 0, got.stderr
        assert (out / "film").read_bytes() == CONTENT
        verified = self.run("verify", prefix=prefix)
        assert verified.returncode == 0, verified.stderr
        assert b"2 cores checked, all sound" in verified.stdout
        assert self.state() == before


@pytest.fixture
def place() -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="readonly-"))
    root.chmod(0o777)
    try:
        yield Place(root)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=False)
        shutil.rmtree(root, ignore_errors=True)


def test_the_directory_of_another_user(place: Place) -> None:
    place.open_to_all()
    place.check()


def test_a_directory_that_was_never_locked(place: Place) -> None:
    (place.data / "lock").unlink()
    place.open_to_all()
    place.check()


def test_a_directory_after_a_crash(place: Place) -> None:
    """What the last commits wrote is in the log beside the database, and is not merged."""
    place.open_to_all(writable=True)
    crashed = place.root / "crashed"
    with disk_store(place.data) as store:
        drive = writable_drive(store, KeyPair.from_seed(bytes(32)))
        with drive.writer.batch() as batch:
            batch.put("/late", b"in the log alone")
        store.flush()
        shutil.copytree(place.data, crashed)
    (crashed / "cores.db-shm").unlink()
    assert (crashed / "cores.db-wal").stat().st_size > 0
    place.data = crashed
    place.open_to_all()
    read = place.run("cat", place.key, "/late")
    assert (read.returncode, read.stdout) == (0, b"in the log alone"), read.stderr


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root")
def test_a_read_only_file_system(place: Place) -> None:
    mounting = f"mount --bind {place.data} {place.data} && mount -o remount,ro,bind {place.data}"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", mounting], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip(f"no mounts here: {tried.stderr.decode()}")
    place.check(("unshare", "-m", "sh", "-c", f'{mounting} && exec "$@"', "sh"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_leaves_nothing_in_the_directory_of_a_user(place: Place) -> None:
    for path in [place.data, *place.data.rglob("*")]:
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    (place.data / "lock").unlink()
    place.check(("env",))
    assert {path.stat().st_uid for path in place.data.rglob("*")} == {UNPRIVILEGED}


def test_damage_is_named_and_kept_where_nothing_can_be_written(place: Place) -> None:
    [blocks] = (place.data / "blocks").rglob("*.blocks")
    with blocks.open("r+b") as file:
        file.seek(3 * 65_536)
        file.write(b"rot")
    place.open_to_all()
    before = place.state()
    verified = place.run("verify")
    assert verified.returncode == 1
    assert b"block 3 is damaged" in verified.stdout and b"dropped" not in verified.stdout
    assert b"Nothing was dropped" in verified.stderr
    assert place.state() == before


def test_a_running_engine_is_read_beside(place: Place) -> None:
    engine = SeedProcess(place.data, [NOWHERE], place.key)
    try:
        engine.wait_synced(place.key)
        for arguments in (("ls", place.key), ("cat", place.key, "/film"), ("verify",)):
            ended = subprocess.run(
                [*commands.COMMAND, *arguments, "--data", str(place.data)],
                capture_output=True,
                timeout=60,
                env=commands.environment(),
                check=False,
            )
            assert (ended.returncode, ended.stderr) == (0, b""), arguments
        # On a slow machine the engine may have found by now that there is no DHT
        errors = [error for error in engine.of("error") if error["code"] != "BOOTSTRAP_SILENT"]
        assert engine.running and errors == []
        assert engine.interrupt() == 0
    finally:
        engine.dispose()


def test_a_directory_without_a_store_differs_from_one_that_cannot_be_read(place: Place) -> None:
    (place.data / "cores.db").write_bytes(b"no database at all" * 100)
    place.open_to_all()
    assert b"nothing at" not in place.run("verify").stderr
    (place.data / "cores.db").chmod(0o644)
    (place.data / "cores.db").unlink()
    assert b"nothing at" in place.run("verify").stderr


def test_a_store_that_is_only_read_keeps_nothing(tmp_path: Path) -> None:
    key = bytes.fromhex(fill(tmp_path / "data"))
    with read_only_store(tmp_path / "data") as store:
        assert store.open_core(bytes(32), create=False) is None
        core = store.open_core(key)
        assert core is not None and core.get(0) is not None
        core.clear(0, 1)
        assert not store.dirty and store.flush() == []
    with disk_store(tmp_path / "data") as store:
        again = store.open_core(key)
        assert again is not None and again.get(0) is not None
    with pytest.raises(StoreUnreadable, match="there is no"):
        read_only_store(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    assert stat.S_ISREG((tmp_path / "data" / "lock").stat().st_mode)
