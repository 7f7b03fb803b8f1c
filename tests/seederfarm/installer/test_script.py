"""What the installer's script does not do, though it runs as root: trust the directory where it was called,
or one that belongs to another user."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seederfarm.installer.bundle import INSTALLER
from workers.state.state import FILE

TOKEN = "sfj1_eyJzZWNyZXQiOiJhIn0"
"""`{"secret":"a"}`"""
OTHER_USER = 12345
AWAY = "http://127.0.0.1:1"


def run(
    place: Path, *arguments: str, before: str = "", typed: str = "", farm: str = AWAY, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the script of a farm, by default of one that nothing answers for, with `place` as working directory
    and `typed` as its standard input."""
    script = place.parent / "install.sh"
    text = INSTALLER.read_text().replace("\nFARM_URL=''", f"\nFARM_URL={farm}", 1)
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


@pytest.mark.parametrize(("seconds", "way"), [(3600, "behind"), (-86400 * 365, "ahead of")])
def test_a_clock_that_is_far_off_is_named_before_anything_is_installed(
    tmp_path: Path, seconds: int, way: str
) -> None:
    class Pages(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + seconds)

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        done = run(folder(tmp_path / "here"), TOKEN, farm=f"http://127.0.0.1:{pages.server_port}")
        pages.shutdown()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f" s {way} that of the farm: set it" in done.stderr
    assert not any(path.is_dir() for path in (tmp_path / "program").iterdir()), "nothing is installed"


def test_a_card_that_is_full_or_read_only_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "here")
    full = 'df() { printf "%s\\n" "File system" "/dev/mmcblk0p2 30000000 29999000 1000 100% /"; }'
    refused = run(place, TOKEN, before=full)
    assert refused.returncode == 1 and "has 1 MB free, the program needs 300 MB" in refused.stderr
    read_only = 'mkdir() { echo "mkdir: cannot create directory: Read-only file system" >&2; return 1; }'
    refused = run(place, TOKEN, before=read_only)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "cannot be written: Read-only file system. Is the disk full, or mounted" in refused.stderr


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
