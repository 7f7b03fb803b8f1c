"""A drive of an official publisher behind a gateway, and clients that fetch from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient

from dashboard.public import limits
from hypercore.keys import encode_key
from seederfarm.registry import roles
from seederfarm.registry.buckets import Buckets
from seederfarm.registry.models import Drive
from seederfarm.settings import table

from ...support.content import File
from ...support.databases import FarmDatabase
from ...support.gateway import LocalGateway
from ...support.node import Publisher, Testnet
from ..conftest import member

HOSTILE = "/evil \u202egpj.exe\n\"';<img src=x onerror=alert(1)>.html"
FILES = [
    File(path="/clip.mp4", size=300_000),
    File(path="/page.html", size=3_000),
    File(path="/picture.svg", size=500),
    File(path="/cover.jpg", size=5_000),
    File(path="/song.flac", size=5_000),
    File(path="/notes.txt", size=20),
    File(path="/data.bin", size=100),
    File(path="/empty.txt"),
    File(path="/big.txt", size=400_000),
    File(path="/folder/100% #1?.txt", size=70),
    File(path="/folder/deep/leaf.txt", size=7),
    File(path="/folder/link", target="/notes.txt"),
    File(path="/changed.txt", size=30, seed="first"),
    File(path="/changed.txt", size=31, seed="second"),
    File(path=HOSTILE, size=9),
]


class Published(NamedTuple):
    key: str
    """In hex."""
    gateway: LocalGateway
    publisher: Publisher
    encrypted: str
    """The key of an encrypted drive."""


@pytest.fixture(scope="module")
def published(testnet: Testnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    publisher = Publisher(tmp_path_factory.mktemp("publisher"), testnet.bootstrap)
    gateway = LocalGateway(testnet.bootstrap)
    try:
        publisher.make("thing", "drive", "plain")
        publisher.put_all("thing", FILES)
        publisher.ask("join", name="thing")
        publisher.make("secret", "drive", "encrypted")
        publisher.put_all("secret", [File(path="/x", size=1)])
        publisher.ask("join", name="secret")
        keys = [publisher.ask("describe", name=name)["key"] for name in ("thing", "secret")]
        yield Published(keys[0], gateway, publisher, keys[1])
    finally:
        gateway.dispose()
        publisher.dispose()


@pytest.fixture
def socket(published: Published, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages use that gateway."""
    path = published.gateway.socket
    monkeypatch.setattr(table.FarmSettings, "gateway_socket", property(lambda self: path))
    return path


class Answer(NamedTuple):
    response: Any
    body: bytes

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def text(self) -> str:
        return self.body.decode()

    def __getitem__(self, header: str) -> str:  # type: ignore[override]
        return str(self.response.headers[header])


class ServedClient(AsyncClient):
    """Gives paths as a server does, in UTF-8, and one header `Host`."""

    def _get_path(self, parsed: Any) -> str:
        return str(super()._get_path(parsed)).encode("latin-1").decode("utf-8", "replace")

    def _base_scope(self, **request: Any) -> Any:
        scope = super()._base_scope(**request)
        hosts = [pair for pair in scope["headers"] if pair[0] == b"host"]
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"host"] + hosts[-1:]
        return scope


class Browser:
    """Fetches with a session, or without one."""

    def __init__(self, key: str, user: User | None = None) -> None:
        self.base = f"/drives/{encode_key(bytes.fromhex(key))}"
        self.client = ServedClient()
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """`path` begins at the drive's address, unless it is one of the farm."""
        address = path if path.startswith("/drives/") else f"{self.base}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def fetch() -> Answer:
            response: Any = await self.client.generic(method, address, headers=named)
            if not response.streaming:
                return Answer(response, response.content)
            return Answer(response, b"".join([part async for part in response.streaming_content]))

        return async_to_sync(fetch)()


@pytest.fixture(autouse=True)
def fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "asked", Buckets(limits.ASKED, limits.MAX_COUNTED))


@pytest.fixture
def drive(database: FarmDatabase, published: Published, socket: Path) -> Drive:
    Drive.objects.create(key=published.encrypted)
    return Drive.objects.create(key=published.key, label="A drive")


@pytest.fixture
def viewer_at(drive: Drive) -> Browser:
    return Browser(drive.key, member("vera", roles.VIEWER))


@pytest.fixture
def peer(drive: Drive) -> Browser:
    return Browser(drive.key)
