"""The installer, in a directory of its own, from a web process of the farm with a certificate of its
operator."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from farmwire.join import JoinToken, Welcome, secret_digest
from seederfarm.installer.command import installer
from seederfarm.registry.models import EnrolmentToken
from seederfarm.registry.services.tokens import issue_enrolment
from seederfarm.settings.table import FarmSettings
from seederfarm.supervisor import processes as farm_processes
from seederfarm.supervisor.home import RunFiles

from ...support.databases import FarmDatabase
from ...support.fake_control import SECRET, Plane
from ...support.farm_home import FarmHome
from ...support.packages import python_with_packages
from ...support.ports import free_port
from ...support.redis import RedisServer, make_certificates
from ...support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("farm_database", ["sqlite"], indirect=True)]


class Pi:
    """A machine that is to seed: a directory."""

    def __init__(self, place: Path, certificate: Path, farm: FarmSettings) -> None:
        place.mkdir()
        self.prefix, self.data = place / "program", place / "data"
        self.script = place / "install.sh"
        self.script.write_bytes(installer(farm))
        self._env = {**os.environ, "FARM_PYTHON": str(python_with_packages(place)), "HOME": str(place)}

    def start(self, *arguments: str, typed: str = "", **env: str) -> subprocess.Popen[str]:
        """`typed`: a line on its standard input."""
        words = ("--no-systemd", "--prefix", str(self.prefix), "--data", str(self.data))
        process = subprocess.Popen(
            ["sh", str(self.script), *words, *arguments],
            env=self._env | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(typed and f"{typed}\n")
        process.stdin.flush()
        return process

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def refused(self, *arguments: str, **env: str) -> str:
        """The one line with which it fails."""
        status, _, errors = self.run(*arguments, **env)
        assert status == 1 and errors.startswith("install.sh: ") and errors.count("\n") == 1, errors
        return errors


@pytest.fixture
def farm(committing_database: FarmDatabase, tmp_path: Path, processes: ExitStack) -> FarmSettings:
    """Pages with HTTPS, in a process of their own."""
    certificates = make_certificates(tmp_path / "tls")
    port = free_port()
    settings = FarmSettings(
        home=tmp_path / "home",
        web_port=port,
        public_url=f"https://127.0.0.1:{port}",
        pages_certificate=str(certificates / "server.crt"),
    )
    home = FarmHome(
        settings.home,
        SEEDERFARM_WEB_PORT=str(port),
        SEEDERFARM_PUBLIC_URL=settings.public_url,
        SEEDERFARM_PAGES_CERTIFICATE=settings.pages_certificate,
        DATABASE_URL=committing_database.url,
    )
    files = RunFiles(settings.home)
    files.make()
    argv = farm_processes.web(settings, files).argv
    tls = ("--ssl-certfile", settings.pages_certificate, "--ssl-keyfile", str(certificates / "server.key"))
    env = {**home.env, "DJANGO_SETTINGS_MODULE": "seederfarm.settings.base"}
    with (tmp_path / "web.log").open("w") as log:
        web = subprocess.Popen([*argv, *tls], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    processes.callback(web.wait)
    processes.callback(web.kill)
    processes.callback(lambda: print((tmp_path / "web.log").read_text()))  # noqa: T201 - for a failure
    probe = ("curl", "-sfk", "-o", "/dev/null", f"{settings.public_url}/livez")
    eventually(
        lambda: subprocess.run(probe, check=False).returncode == 0, timeout=30, what="the pages", every=0.1
    )
    return settings


def words_of_commands() -> str:
    """What `ps` shows every user of the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace"))
    return "\n".join(found)


def token_row(secret: str) -> None:
    """A token of the farm with that secret."""
    row = issue_enrolment(actor="cli").token
    EnrolmentToken.objects.filter(pk=row.pk).update(digest=secret_digest(secret))


def test_one_command_installs_joins_updates_and_goes(
    farm: FarmSettings, redis_server: RedisServer, tmp_path: Path
) -> None:
    plane = Plane(redis_server.url)
    pi = Pi(tmp_path / "pi", tmp_path / "tls", farm)

    # What is wrong is one line, and changes nothing
    assert "does not know the token" in pi.refused(plane.token)
    assert "cut short or damaged" in pi.refused(plane.token[:60])
    assert "32 bits" not in pi.refused("hello") and "neither an option nor a token" in pi.refused("hello")
    token_row(SECRET)
    EnrolmentToken.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert "the token expired at" in pi.refused(plane.token)
    EnrolmentToken.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    assert not (pi.prefix / "current").exists()

    installing = pi.start("-", "--name", "pi-7", "--small", typed=plane.token)
    plane.wait(lambda: plane.joins, timeout=60, what="a request to join")
    assert "/seederfarm\0worker\0join\0-\0" in (shown := words_of_commands()), "it waits for the answer"
    assert plane.token not in shown
    plane.let_in(Welcome())
    output, errors = installing.communicate(timeout=60)
    assert installing.returncode == 0, errors
    assert plane.joins[0].name == "pi-7" and "joined" in output
    program = pi.prefix / "current/bin/seederfarm"
    assert f"{program} worker run --data {pi.data}" in output
    shown = subprocess.run([program, "worker", "run", "--help"], capture_output=True, text=True, check=True)
    assert "Keep copies of drives" in shown.stdout
    where = (
        program.parent / "python",
        "-c",
        "import workers, hypercore; print(workers.__file__, hypercore.__file__)",
    )
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found.count(str(pi.prefix)) == 2, "the wheels, not this checkout"
    assert "\nSEEDERFARM_MAX_PEERS=64\n" in (pi.prefix / "worker.env").read_text()
    assert (pi.prefix / "worker.env").stat().st_mode & 0o777 == 0o600
    assert pi.data.stat().st_mode & 0o777 == 0o700

    # The same command again, and without a token: what is up to date stays
    before = program.resolve().stat().st_ino
    for again in ((plane.token,), ()):
        status, output, errors = pi.run(*again)
        assert status == 0 and "installing" not in output, errors
    assert program.resolve().stat().st_ino == before

    # An older installer, and one of another farm
    script = pi.script.read_text()
    pi.script.write_text(script.replace("BUNDLE_SHA256=", "BUNDLE_SHA256=0"))
    assert "the farm was updated just now" in pi.refused(plane.token)
    other_pin = base64.b64encode(bytes(32)).decode()
    pi.script.write_text(re.sub(r"sha256//[^ ']+", f"sha256//{other_pin}", script))
    assert "public key" in pi.refused(plane.token)
    pi.script.write_text(script)

    status, output, _ = pi.run("--uninstall")
    assert status == 0 and "What it stores is left" in output
    assert (
        not program.exists() and (pi.data / "worker.sqlite3").exists() and (pi.prefix / "worker.env").exists()
    )
    assert pi.run("--uninstall", "--purge")[0] == 0
    assert not pi.data.exists() and not pi.prefix.exists()


def test_what_a_machine_lacks_to_run_a_worker_is_one_line(
    farm_database: FarmDatabase, tmp_path: Path
) -> None:
    pi = Pi(tmp_path / "pi", tmp_path, FarmSettings(public_url="https://127.0.0.1:1"))
    token = JoinToken(farm="f", control="y" * 52, broker="redis://127.0.0.1/0", secret=SECRET).to_text()
    bare = tmp_path / "bare"
    bare.mkdir()
    for tool in ("id", "sh", "uname", "mkdir", "touch", "rm", "df", "awk", "curl", "tail", "sed", "cat"):
        (bare / tool).symlink_to(shutil.which(tool) or "")
    assert "Python 3.11 or newer is not installed" in pi.refused(token, PATH=str(bare), FARM_PYTHON="")
    lacking = tmp_path / "lacking"
    lacking.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\n')
    lacking.chmod(0o755)
    assert "python3-venv is not installed" in pi.refused(token, FARM_PYTHON=str(lacking))
    assert "cannot fetch from https://127.0.0.1:1" in pi.refused(token)
    pi.prefix.parent.joinpath("file").touch()
    wrong = pi.refused(token, "--prefix", str(pi.prefix.parent / "file" / "below"))
    assert "cannot be written: " in wrong
    (bare / "curl").unlink()
    assert "curl is not installed" in pi.refused(token, PATH=str(bare))


def test_the_unit_is_one_that_systemd_takes(farm_database: FarmDatabase, tmp_path: Path) -> None:
    pi = Pi(tmp_path / "pi", tmp_path, FarmSettings(public_url="https://127.0.0.1:1"))
    status, unit, _ = pi.run("--print-unit")
    assert status == 0
    for line in (
        "Type=notify",
        "WatchdogSec=180",
        "Restart=always",
        "RestartPreventExitStatus=78",
        "MemoryMax=75%",
    ):
        assert f"\n{line}\n" in unit
    if (verify := shutil.which("systemd-analyze")) is None:
        return
    program = pi.prefix / "current/bin/seederfarm"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/true", program)
    path = tmp_path / "seederfarm-worker.service"
    path.write_text(unit)
    done = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
