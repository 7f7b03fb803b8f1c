"""`seederfarm backup` and `restore` with SQLite: the farm is destroyed and comes back."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from seederfarm.backup import manifest as manifests
from seederfarm.supervisor.home import RunFiles

from ...support.farm_home import FarmHome

KEY = "ab" * 32


def registry(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def tree(folder: Path) -> dict[str, bytes]:
    """Files below it, except locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "run"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home with a farm and a backup of it; tests copy what they change."""
    folder = tmp_path_factory.mktemp("backup")
    farm = FarmHome(folder / "home")
    farm.lines("init")
    farm.lines("add", KEY)
    (farm.home / "seederfarm.toml").write_text('name = "A farm"\n')
    for name in ("lists/seeds.txt", "secrets/ca.key", "secrets/redis_password", "logs/web.log"):
        (farm.home / name).parent.mkdir(mode=0o700, exist_ok=True)
        (farm.home / name).write_text(f"{name}\n")
    done = farm.run("backup", str(folder / "backup"))
    assert done.returncode == 0, done.stderr
    assert f"Backed up {farm.home} into {folder / 'backup'} (6 files" in done.stdout
    return farm.home, folder / "backup"


@pytest.fixture
def backup(made: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(made[1], tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def farm(tmp_path: Path) -> FarmHome:
    """One without a home yet."""
    return FarmHome(tmp_path / "home")


def change(backup: Path, **changes: object) -> None:
    """Write the manifest again, with current digests and these changes."""
    files = {
        path.relative_to(backup).as_posix(): manifests.describe(path)
        for path in sorted(backup.rglob("*"))
        if path.is_file() and path.name != manifests.MANIFEST
    }
    old = manifests.Manifest(
        **{
            name: value
            for name, value in json.loads((backup / manifests.MANIFEST).read_text()).items()
            if name not in ("format", "sha256")
        }
    )
    replace(old, **{"files": files, **changes}).write(backup)  # type: ignore[arg-type]


def refused(farm: FarmHome, backup: Path, *options: str) -> str:
    """The reason, after checking that nothing has changed."""
    before = tree(farm.home)
    done = farm.run("restore", str(backup), *options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"seederfarm: nothing was restored from {backup}: "), done.stderr
    assert done.stdout == ""
    assert tree(farm.home) == before
    return done.stderr


def test_only_the_owner_reads_a_backup_and_it_has_neither_logs_nor_passwords_of_servers_beside(
    made: tuple[Path, Path],
) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in made[1].rglob("*") if path.is_file()}
    folders = [made[1], *(path for path in made[1].rglob("*") if path.is_dir())]
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert set(tree(made[1])) == {
        "manifest.json",
        "registry.sqlite3",
        *(f"home/{name}" for name in ("control_key", "secret_key", "seederfarm.toml")),
        *("home/lists/seeds.txt", "home/secrets/ca.key"),
    }


def test_a_destroyed_farm_is_as_before(made: tuple[Path, Path], backup: Path, farm: FarmHome) -> None:
    done = farm.run("restore", str(backup))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "`seederfarm up -d` starts it."
    assert registry(farm.home / "farm.sqlite3") == registry(made[0] / "farm.sqlite3")
    kept = ("control_key", "secret_key", "seederfarm.toml", "lists/seeds.txt", "secrets/ca.key")
    assert {name: (farm.home / name).read_bytes() for name in kept} == {
        name: (made[0] / name).read_bytes() for name in kept
    }
    assert set(tree(farm.home)) == {*kept, "farm.sqlite3"}
    for path in (farm.home / name for name in (*kept, "farm.sqlite3")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert farm.lines("list")[0]["key"] == KEY
    (again,) = farm.lines("init")
    assert (again["migrated"], again["admin"]) == ([], None)


def test_a_farm_is_replaced_only_on_request_and_kept_under_other_names(backup: Path, farm: FarmHome) -> None:
    farm.lines("init")
    before = tree(farm.home)
    assert "--replace keeps its files under other names" in refused(farm, backup)
    (done,) = farm.lines("restore", str(backup), "--replace")
    after = tree(farm.home)
    assert after["control_key"] == (backup / "home/control_key").read_bytes() != before["control_key"]
    aside = {Path(path).name.partition(".replaced-")[0]: Path(path) for path in done["replaced"]}
    assert {"control_key", "secret_key", "farm.sqlite3"} <= set(aside)
    assert aside["control_key"].read_bytes() == before["control_key"]
    with closing(sqlite3.connect(aside["farm.sqlite3"])) as old:
        assert old.execute("SELECT count(*) FROM registry_drive").fetchone() == (0,)
    assert farm.lines("list")[0]["key"] == KEY
    farm.run("backup", str(backup.with_name("next")))
    assert not [name for name in tree(backup.with_name("next")) if ".replaced-" in name]


@pytest.mark.parametrize("name", ["manifest.json", "registry.sqlite3", "home/control_key"])
def test_a_file_with_one_changed_byte_is_named(backup: Path, farm: FarmHome, name: str) -> None:
    raw = bytearray((backup / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (backup / name).write_bytes(raw)
    reason = refused(farm, backup)
    assert name in reason and "is damaged" in reason
    assert not farm.home.exists()


@pytest.mark.parametrize("name", ["manifest.json", "registry.sqlite3", "home/secret_key"])
def test_a_missing_file_is_named(backup: Path, farm: FarmHome, name: str) -> None:
    (backup / name).unlink()
    assert name in refused(farm, backup)
    assert not farm.home.exists()


def test_a_manifest_cannot_name_files_outside_of_the_backup(backup: Path, farm: FarmHome) -> None:
    (backup.parent / "other").write_text("")
    change(backup, files={"home/../../other": manifests.describe(backup.parent / "other")})
    assert "which no backup has" in refused(farm, backup)


def test_newer_backups_are_refused(backup: Path, farm: FarmHome, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = json.loads((backup / manifests.MANIFEST).read_text())["migrations"]
    change(backup, migrations=[*applied, ["registry", "0999_later"]], software="9.0")
    reason = refused(farm, backup)
    assert "newer version of Seeder Farm (9.0; registry.0999_later)" in reason
    monkeypatch.setattr(manifests, "FORMAT", 2)
    change(backup)
    assert "its format is 2" in refused(farm, backup)
    assert not farm.home.exists()


def test_the_registry_of_an_older_version_is_migrated(backup: Path, farm: FarmHome) -> None:
    with closing(sqlite3.connect(backup / "registry.sqlite3")) as older, older:
        older.execute("DROP TABLE django_session")
        older.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    change(backup)
    (done,) = farm.lines("restore", str(backup))
    assert done["migrated"] == ["sessions.0001_initial"]
    assert "django_session" in "".join(registry(farm.home / "farm.sqlite3"))
    assert farm.lines("init")[0]["migrated"] == []


def test_a_backup_never_overwrites(made: tuple[Path, Path], farm: FarmHome, tmp_path: Path) -> None:
    shutil.copytree(made[0], farm.home)
    (tmp_path / "there").mkdir()
    (tmp_path / "killed.new").mkdir()
    (tmp_path / "killed.new" / "file").touch()
    for name in ("there", "killed"):
        done = farm.run("backup", str(tmp_path / name))
        assert done.returncode == 1
        assert "exists already" in done.stderr
    assert (tmp_path / "killed.new" / "file").exists() and not (tmp_path / "killed").exists()


def test_without_the_identity_of_the_farm_there_is_no_backup(
    made: tuple[Path, Path], farm: FarmHome, tmp_path: Path
) -> None:
    shutil.copytree(made[0], farm.home)
    (farm.home / "control_key").unlink()
    done = farm.run("backup", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "control_key is missing" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_farm_that_runs_is_not_replaced(backup: Path, farm: FarmHome) -> None:
    files = RunFiles(farm.home)
    files.take()
    try:
        assert "runs in" in refused(farm, backup, "--replace")
    finally:
        files.give_up()


def limited(farm: FarmHome, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot write files of more than 64 KiB: it fails as on a full disk."""
    return subprocess.run(
        [sys.executable, "-m", "seederfarm", *arguments],
        env=farm.env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )


def test_a_disk_that_is_full_leaves_no_half_backup_and_no_half_farm(
    made: tuple[Path, Path], backup: Path, farm: FarmHome, tmp_path: Path
) -> None:
    done = limited(farm, "restore", str(backup))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "nothing was restored" in done.stderr
    assert not farm.home.exists()
    shutil.copytree(made[0], farm.home)
    before = tree(farm.home)
    done = limited(farm, "restore", str(backup), "--replace")
    assert (done.returncode, tree(farm.home)) == (1, before)
    done = limited(farm, "backup", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "no backup was made" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
