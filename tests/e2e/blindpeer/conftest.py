"""A blind peer of ours, and apps with the official client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ...support.node import BlindClient, BlindServer
from ...support.seed_process import SeedProcess


class Server:
    """`seed --blind-peer`, which may be started again over the same data."""

    def __init__(self, processes: ExitStack, data: Path, bootstrap: list[str]) -> None:
        self._processes = processes
        self._data = data
        self._bootstrap = bootstrap
        self.process: SeedProcess

    def start(self, *arguments: str) -> Server:
        self.process = SeedProcess(self._data, self._bootstrap, "--blind-peer", *arguments)
        self._processes.callback(self.process.dispose)
        self.key = str(self.process.wait_ready()["blind_peer"])
        return self


NewServer = Callable[..., Server]
NewClient = Callable[..., BlindClient]


@pytest.fixture
def new_server(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewServer:
    def start(*arguments: str, data: str = "blind") -> Server:
        return Server(processes, tmp_path / data, bootstrap).start(*arguments)

    return start


@pytest.fixture
def new_client(processes: ExitStack, bootstrap: list[str], tmp_path: Path) -> NewClient:
    """`new_client(server, …)` starts an app that knows these servers, or keys of servers."""
    count = 0

    def start(*servers: Server | BlindServer | str, seed: str = "", **options: bool | int) -> BlindClient:
        nonlocal count
        count += 1
        client = BlindClient(
            [server if isinstance(server, str) else server.key for server in servers],
            bootstrap,
            seed=seed or f"{0xC0 + count:02x}" * 32,
            storage=tmp_path / f"client-{count}",
            **options,  # type: ignore[arg-type]
        )
        processes.callback(client.dispose)
        return client

    return start
