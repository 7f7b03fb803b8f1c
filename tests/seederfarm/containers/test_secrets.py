from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from seederfarm.containers.secrets import make_secrets
from seederfarm.settings import env
from tests.support.require import require


@pytest.fixture(autouse=True, scope="module")
def openssl() -> None:
    require(None if shutil.which("openssl") else "openssl is not installed: `apt install openssl`")


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    for name in ("postgres", "redis", "monitoring", "caddy"):
        (tmp_path / "servers" / name).mkdir(parents=True, mode=0o750)
    return tmp_path / "servers"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_farm_gets_passwords_of_its_own(home: Path, servers: Path, tmp_path: Path) -> None:
    make_secrets(home, servers, "farm.example.org")
    other = tmp_path / "other"
    make_secrets(other, servers, "farm.example.org")
    for name in ("database_password", "redis_password", "metrics_token", "ca.key"):
        mine, theirs = (home / "secrets" / name).read_text(), (other / "secrets" / name).read_text()
        assert mine != theirs and len(mine.strip()) >= 43


def test_running_it_again_changes_nothing(home: Path, servers: Path) -> None:
    make_secrets(home, servers, "farm.example.org")
    before = contents(home) | contents(servers)
    make_secrets(home, servers, "farm.example.org")
    assert contents(home) | contents(servers) == before


def test_files_of_the_farm_are_its_own_and_servers_read_theirs_through_the_group(
    home: Path, servers: Path
) -> None:
    make_secrets(home, servers, "localhost")
    for path in home.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for path in servers.rglob("*"):
        if path.is_file() and path.name != ".made":
            assert stat.S_IMODE(path.stat().st_mode) == 0o440, path


def test_the_urls_are_settings_of_the_farm(home: Path, servers: Path) -> None:
    make_secrets(home, servers, "localhost")
    database = env.database((home / "secrets/database_url").read_text().strip())
    assert (database.user, database.host, database.name) == ("farm", "postgres", "farm")
    assert database.password == (servers / "postgres/password").read_text().strip()
    assert env.redis((home / "secrets/redis_url").read_text().strip()).startswith("redis://farm:")


@pytest.mark.parametrize(
    ("host", "check"),
    [("farm.example.org", "-verify_hostname"), ("192.0.2.7", "-verify_ip"), ("2001:db8::7", "-verify_ip")],
)
def test_the_brokers_certificate_is_for_the_name_that_workers_use(
    home: Path, servers: Path, host: str, check: str
) -> None:
    make_secrets(home, servers, host)
    command = ["openssl", "verify", "-CAfile", "ca.crt", "-purpose", "sslserver", check, host, "tls.crt"]
    done = subprocess.run(command, cwd=servers / "redis", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_another_name_of_the_server_makes_another_certificate_of_the_same_authority(
    home: Path, servers: Path
) -> None:
    make_secrets(home, servers, "old.example.org")
    authority, old = (servers / "redis/ca.crt").read_bytes(), (servers / "redis/tls.crt").read_bytes()
    make_secrets(home, servers, "new.example.org")
    assert (servers / "redis/ca.crt").read_bytes() == authority
    assert (servers / "redis/tls.crt").read_bytes() != old


@pytest.mark.parametrize("host", ["", "two words", "a/b", "x,DNS:bank.example", "http://farm.example.org"])
def test_what_is_no_host_is_refused(home: Path, servers: Path, host: str) -> None:
    with pytest.raises(ValueError, match="is no host name or address"):
        make_secrets(home, servers, host)
    assert not home.exists()
