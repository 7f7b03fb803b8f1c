"""The unchanged docker-compose.yml, run: a farm comes up from nothing, keeps a drive of an official
publisher, is updated from an earlier version and loses nothing."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..support import containers
from ..support.content import File
from ..support.node import Publisher, Reader, Testnet
from ..support.paths import ROOT
from ..support.ports import free_port
from ..support.published import publish_drive, read_drive
from ..support.require import require
from ..support.waiting import eventually

MINUTES = 60
FILES = [File(path="/three-megabytes.bin", size=3_000_000), File(path="/index.json", size=12)]
GATEWAY, OUTSIDE = "10.213.77.1", "10.213.77.2"
"""Addresses of this machine and of the host with the peers, on the network between them."""
MIGRATIONS = "seederfarm/registry/migrations"
LASTING = ("postgres", "redis", "web", "control", "beat", "sources", "flower", "worker", "gateway", "caddy")


def git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def earlier_version() -> str | None:
    """The commit to update from: the newest release before this commit, else the oldest commit with a
    Dockerfile whose migrations are unchanged (before the first release, the first migration is amended)."""
    tags = git("tag", "--list", "v*", "--merged", "HEAD^", "--sort=-v:refname").split()
    if tags:
        return tags[0]
    first = git("log", "--format=%H", "--diff-filter=A", "--", "Dockerfile").split()[-1:]
    commits = [*first, *git("rev-list", "--reverse", f"{first[0]}..HEAD^").split()] if first else []
    for commit in commits:
        changed = subprocess.run(
            ("git", "diff", "--quiet", "--diff-filter=MD", commit, "HEAD", "--", MIGRATIONS),
            cwd=ROOT,
            check=False,
        )
        if changed.returncode == 0 and git("cat-file", "-e", f"{commit}:docker-compose.yml") == "":
            return commit
    return None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    require(containers.missing())
    made = Path(tempfile.mkdtemp(prefix="farm-deploy-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def old_sources(folder: Path) -> Path:
    """The earlier version; where there is none (no history), this one."""
    commit = earlier_version()
    target = folder / "old-sources"
    target.mkdir()
    archive = subprocess.run(("git", "archive", commit or "HEAD"), cwd=ROOT, capture_output=True, check=True)
    subprocess.run(("tar", "-x", "-C", target), input=archive.stdout, check=True)
    return target


@pytest.fixture(scope="module")
def engine(folder: Path, old_sources: Path) -> Iterator[containers.Engine]:
    made = containers.Engine(folder / "engine")
    try:
        made.make_images({"localhost/farm:old": old_sources, "localhost/farm:new": ROOT})
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[list[str]]:
    """What runs a command on another host: a network namespace, which containers reach through their NAT."""
    host = "farmdeploy"
    try:
        ip("netns", "add", host)
        ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("address", "add", f"{GATEWAY}/24", "dev", host)
        ip("link", "set", host, "up")
        ip("-n", host, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
        ip("-n", host, "link", "set", "eth0", "up")
        ip("-n", host, "link", "set", "lo", "up")
        ip("-n", host, "route", "add", "default", "via", GATEWAY)
        yield ["ip", "netns", "exec", host]
    finally:
        subprocess.run(("ip", "netns", "delete", host), check=False)


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True)


class Farm:
    """A directory with docker-compose.yml, what it mounts, and `.env`."""

    def __init__(self, engine: containers.Engine, folder: Path, bootstrap: list[str]) -> None:
        self.engine = engine
        self.folder = folder
        self.https, self.broker = free_port(), free_port()
        self._settings = {
            "FARM_DOMAIN": "localhost",
            "FARM_HTTP_PORT": f"127.0.0.1:{free_port()}",
            "FARM_HTTPS_PORT": f"127.0.0.1:{self.https}",
            "FARM_BROKER_PORT": str(self.broker),  # earlier versions take no address with it
            "FARM_UDP_PORT": f"127.0.0.1:{free_port()}",
            "FARM_BROKER_URL": f"rediss://localhost:{self.broker}/0",
            "FARM_PUBLIC_URL": f"https://localhost:{self.https}",
            "POSTGRES_IMAGE": "localhost/servers",
            "REDIS_IMAGE": "localhost/servers",
            "CADDY_IMAGE": "localhost/servers",
            "SEEDERFARM_BOOTSTRAP": ",".join(bootstrap),
            "SEEDERFARM_HEARTBEAT": "1s",
        }

    def install(self, sources: Path, image: str) -> None:
        """Lay the files of a version here, as `git pull` does."""
        shutil.rmtree(self.folder / "deploy", ignore_errors=True)
        shutil.copytree(sources / "deploy", self.folder / "deploy")
        shutil.copy(sources / "docker-compose.yml", self.folder)
        lines = (f"{name}={value}\n" for name, value in (self._settings | {"FARM_IMAGE": image}).items())
        (self.folder / ".env").write_text("".join(lines))

    def up(self) -> None:
        self.engine.compose(self.folder, "up", "-d", "--no-build", timeout=4 * MINUTES)

    def down(self) -> None:
        self.engine.compose(self.folder, "down")

    def inside(self, service: str, *command: str, timeout: float = 2 * MINUTES) -> str:
        return self.engine.podman("exec", f"seederfarm_{service}_1", *command, timeout=timeout)

    def lines(self, *command: str) -> list[dict[str, Any]]:
        output = self.inside("web", "seederfarm", *command, "--json")
        return [json.loads(line) for line in output.splitlines()]

    def state_of(self, key: str) -> str:
        return str(self.lines("show", key)[0]["health"])

    def unwell(self) -> list[str]:
        """Services whose health check fails now."""
        failing = []
        for name in LASTING:
            command = ("podman", "healthcheck", "run", f"seederfarm_{name}_1")
            if self.engine.run(*command, check=False).returncode:
                failing.append(name)
        return failing

    def browser(self) -> Callable[..., tuple[int, str]]:
        """`get(path, **form)`: what a browser that trusts Caddy's authority gets. Keeps cookies."""
        root = self.inside("caddy", "cat", "/data/caddy/pki/authorities/local/root.crt")
        context = ssl.create_default_context(cadata=root)
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )
        base = f"https://localhost:{self.https}"

        def get(path: str, **form: str) -> tuple[int, str]:
            data = urllib.parse.urlencode(form).encode() if form else None
            request = urllib.request.Request(f"{base}{path}", data=data, headers={"Referer": f"{base}{path}"})
            try:
                with opener.open(request, timeout=30) as answer:
                    return answer.status, answer.read().decode(errors="replace")
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode(errors="replace")

        return get

    def sign_in(self, password: str) -> Callable[..., tuple[int, str]]:
        get = self.browser()
        page = get("/login/?next=/")[1]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page[:2000]
        form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": password, "next": "/"}
        status, page = get("/login/?next=/", **form)
        assert status == 200 and "Sign out" in page, page[:2000]
        return get

    def logs(self) -> str:
        parts = []
        for name in ("init", "migrate", *LASTING):
            done = self.engine.run("podman", "logs", "--tail", "15", f"seederfarm_{name}_1", check=False)
            parts.append(f"== {name}\n{done.stdout}{done.stderr}")
        return "\n".join(parts)


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_a_farm_in_containers_outlives_a_publisher_and_an_update(
    engine: containers.Engine,
    outside: list[str],
    old_sources: Path,
    tmp_path: Path,
    official_peers: None,
) -> None:
    with ExitStack() as stack:
        testnet = Testnet(host=OUTSIDE, prefix=outside)
        stack.callback(testnet.dispose)
        publisher = Publisher(tmp_path / "publisher", testnet.bootstrap, prefix=outside)
        stack.callback(publisher.dispose)
        made = publish_drive(publisher, "plain", FILES)
        project = tmp_path / "project"
        project.mkdir()
        farm = Farm(engine, project, testnet.bootstrap)
        stack.callback(lambda: print(farm.logs()))  # noqa: T201 - shown when the test fails

        # From nothing
        farm.install(old_sources, "localhost/farm:old")
        farm.up()
        eventually(lambda: not farm.unwell(), timeout=4 * MINUTES, what="every health check to pass")
        password = farm.inside("web", "cat", "/var/lib/seederfarm/admin_password").strip()
        assert password not in farm.logs()
        get = farm.sign_in(password)
        eventually(lambda: get("/readyz") == (200, "ok\n"), timeout=30, what="control's first sign of life")
        assert get("/metrics")[0] == 404
        assert get("/flower/workers")[0] == 200
        assert farm.browser()("/flower/workers")[1].count("csrfmiddlewaretoken"), (
            "the login page, without one"
        )

        # The engine, and what runs it, have no secret
        environment = farm.inside("worker", "sh", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
        assert not re.search(r"DATABASE_URL|REDIS_URL|SECRET_KEY", environment)
        assert farm.inside("worker", "id", "-u").strip() == "10001"
        assert engine.run("podman", "exec", "seederfarm_web_1", "touch", "/etc/x", check=False).returncode

        # A drive becomes complete and proven; its publisher goes
        *_, last = farm.lines("add", made["key"], "--wait=1", "--timeout", "110")
        assert (last["event"], last["complete"]) == ("progress", 1)
        eventually(
            lambda: farm.state_of(made["key"]) == "safe", timeout=2 * MINUTES, what="the copy to be proven"
        )
        publisher.stop()
        assert get(f"/drives/{made['key']}/files/index.json")[0] == 200, "the gateway has the worker's copy"
        read(stack, Reader(tmp_path / "first-reader", testnet.bootstrap, prefix=outside), made)

        # Down, the new version, up again
        farm.down()
        farm.install(ROOT, "localhost/farm:new")
        farm.up()
        eventually(lambda: not farm.unwell(), timeout=4 * MINUTES, what="every health check to pass")
        farm.sign_in(password)
        eventually(lambda: farm.state_of(made["key"]) == "safe", timeout=MINUTES, what="its copy")
        (worker,) = farm.lines("workers")
        assert worker["complete"] == 1
        read(stack, Reader(tmp_path / "second-reader", testnet.bootstrap, prefix=outside), made)
        farm.down()


def read(stack: ExitStack, reader: Reader, made: dict[str, Any]) -> None:
    """An official reader gets every file."""
    stack.callback(reader.dispose)
    read_drive(reader, made, FILES)
