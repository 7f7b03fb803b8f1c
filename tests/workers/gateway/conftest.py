"""A gateway in this process, on a loop of its own thread, so that tests can lower its bounds."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hypercore.dht.address import parse_bootstrap
from workers.gateway.server import Gateway, running_gateway

from ...support.gateway import Dialogue


class LocalGateway:
    def __init__(self, bootstrap: Sequence[str], *directories: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self.socket = Path(self._folder.name) / "g.sock"
        self._bootstrap = [parse_bootstrap(text) for text in bootstrap]
        self._directories = directories
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.gateway: Gateway
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20) and self._error is None, self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options: dict[str, Any] = {"directories": self._directories, "bootstrap": self._bootstrap}
        async with running_gateway(self.socket, host="127.0.0.1", **options) as self.gateway:
            self._ready.set()
            await self._stop.wait()

    def dialogue(self, timeout: float = 60.0) -> Dialogue:
        return Dialogue(self.socket, timeout)

    def get(self, key: str, path: str, **fields: Any) -> bytes:
        """The whole file. Raises AssertionError with the answer if it cannot be read."""
        with self.dialogue() as it:
            facts = it.ask(key, path, **fields)
            assert facts.get("kind") == "file", facts
            return it.read(0, facts["size"])

    def dispose(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._folder.cleanup()
        assert not self._thread.is_alive()
        assert self._error is None, self._error


NewGateway = Callable[..., LocalGateway]


@pytest.fixture
def new_gateway(bootstrap: list[str]) -> Iterator[NewGateway]:
    """Each call starts a gateway that looks into these directories."""
    started: list[LocalGateway] = []

    def start(*directories: Path) -> LocalGateway:
        started.append(LocalGateway(bootstrap, *directories))
        return started[-1]

    yield start
    for gateway in started:
        gateway.dispose()
