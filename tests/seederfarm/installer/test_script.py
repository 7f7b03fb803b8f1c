"""What the installer's script does not do, though it runs as root: trust the directory where it was called,
or one that belongs to another user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from seederfarm.installer.bundle import INSTALLER
from workers.state.state import FILE

TOKEN = "sfj1_eyJzZWNyZXQiOiJhIn0"
"""`{"secret":"a"}`"""
OTHER_USER = 12345


def run(
    place: Path, *arguments: str, before: str = "", typed: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the script of a farm that nothing answers for, with `place` as working directory and `typed` as its
    standard input."""
    script = place.parent / "install.sh"
    text = INSTALLER.read_text().replace("\nFARM_URL=''", "\nFARM_URL=http://127.0.0.1:1", 1)
    script.write_text(text.replace('\nmain "$@"', f'\n{before}\nmain "$@"'))
    words = ("--no-systemd", "--prefix", f"{place.parent}/program", "--data", f"{place.parent}/data")
    return subprocess.run(
        ["sh", str(script), *words, *arguments],
        cwd=place,
        env=os.environ | env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def folder(place: Path) -> Path:
    place.mkdir()
    return place


def test_no_module_of_the_working_directory_runs(tmp_path: Path) -> None:
    place, ran = folder(tmp_path / "shared"), tmp_path / "ran"
    for name in ("venv", "ensurepip", "base64", "hashlib", "json"):
        (place / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')\n")
    for env in ({}, {"PYTHONPATH": str(place)}):
        assert "cannot fetch from http://127.0.0.1:1" in run(place, TOKEN, **env).stderr
        assert not ran.exists()


def test_root_writes_nothing_into_a_directory_of_another_user(tmp_path: Path) -> None:
    place, data, made = folder(tmp_path / "shared"), folder(tmp_path / "data"), tmp_path / "made"
    (data / ".try").symlink_to(made)
    if os.geteuid() == 0:
        os.chown(data, OTHER_USER, -1)
    as_root = 'id() { if [ "$1" = -u ]; then echo 0; else command id "$@"; fi; }'
    assert "cannot fetch from" in run(place, TOKEN, before=as_root).stderr
    assert not made.exists() and (data / ".try").is_symlink()


def test_a_token_comes_from_standard_input_or_in_the_script(tmp_path: Path) -> None:
    place = folder(tmp_path / "shared")
    assert "cannot fetch from" in run(place, "-", typed=f"{TOKEN}\n").stderr
    assert "cannot fetch from" in run(place, before=f"FARM_TOKEN={TOKEN}").stderr
    assert "no token on standard input" in run(place, "-").stderr
    assert "a token begins with sfj1_" in run(place, "-", typed="hello\n").stderr
    assert "cut short or damaged" in run(place, "-", typed=f"{TOKEN[:12]}\n").stderr
    assert "no TOKEN given" in run(place).stderr


def test_purge_refuses_a_directory_that_is_no_worker_s(tmp_path: Path) -> None:
    place, data, program = (folder(tmp_path / name) for name in ("shared", "data", "program"))
    (data / "photos").touch()
    (program / "token-id").touch()
    refused = run(place, "--uninstall", "--purge")
    assert refused.returncode == 1 and f"it has no {FILE}" in refused.stderr
    assert (data / "photos").exists() and (program / "token-id").exists()
    (data / FILE).touch()
    assert run(place, "--uninstall", "--purge").returncode == 0
    assert not data.exists()
