"""The official JavaScript peers of tests/peers, as processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .content import File
from .json_process import COMMAND_TIMEOUT, CommandedProcess, ProcessFailed
from .paths import PEERS

START_TIMEOUT = 30.0
"""Seconds for a peer to say that it is ready (node and a DHT bootstrap on a busy machine)."""


def missing() -> str | None:
    """Why the official peers cannot run here, or None when they can."""
    if shutil.which("node") is None:
        return "node is not installed: the official JavaScript peers cannot run"
    if not (PEERS / "node_modules" / "hypercore" / "package.json").is_file():
        return "the official JavaScript peers are not installed: run `npm ci` in tests/peers"
    return None


class NodePeer(CommandedProcess):
    """A script of tests/peers; `ask` sends a command and gives its reply. `prefix` says where it runs."""

    def __init__(
        self, script: str, *arguments: str, name: str | None = None, prefix: Sequence[str] = ()
    ) -> None:
        node = shutil.which("node")
        assert node is not None, missing()
        super().__init__(
            name or script,
            [*prefix, node, str(PEERS / f"{script}.js"), *arguments],
            env=os.environ,
            start_timeout=START_TIMEOUT,
        )

    @property
    def public_key(self) -> str:
        return str(self.ready["public_key"])

    def stop(self) -> None:
        """Ends it politely: it leaves the swarm, unannounces and closes its store."""
        self.send_line({"cmd": "stop"})
        status = self.wait(30)
        if status != 0:
            raise ProcessFailed(f"{self.name} ended with {status}\n{self.describe()}")


class Testnet(NodePeer):
    """A DHT, on 127.0.0.1 by default, that all peers of a test run share."""

    __test__ = False

    def __init__(self, size: int = 4, host: str = "127.0.0.1", *, prefix: Sequence[str] = ()) -> None:
        super().__init__("testnet", "--size", str(size), "--host", host, prefix=prefix)

    @property
    def bootstrap(self) -> list[str]:
        return list(self.ready["bootstrap"])


def swarm_arguments(storage: Path, bootstrap: Sequence[str]) -> list[str]:
    found = ["--storage", str(storage)]
    for address in bootstrap:
        found += ["--bootstrap", address]
    return found


class Publisher(NodePeer):
    """The official libraries as the writer of drives, bees and cores."""

    def __init__(self, storage: Path, bootstrap: Sequence[str], *, prefix: Sequence[str] = ()) -> None:
        super().__init__("publisher", *swarm_arguments(storage, bootstrap), prefix=prefix)
        self.storage = storage
        self.bootstrap = bootstrap

    def make(self, name: str, kind: str, variant: str = "plain") -> dict[str, Any]:
        return self.ask("make", name=name, kind=kind, variant=variant)

    def put_all(self, name: str, files: Sequence[File]) -> None:
        numbers = []
        for file in files:  # one at a time: the order decides block numbers and who overwrites whom
            arguments = file.command()
            number = self.send(arguments.pop("cmd"), name=name, **arguments)
            self.answer(number)
            numbers.append(number)

    def put_many(self, name: str, files: Sequence[File]) -> dict[str, Any]:
        """Plain files in one atomic batch."""
        wire = [{"path": file.path, "seed": file.seed or file.path, "size": file.size} for file in files]
        return self.ask("puts", name=name, files=wire)

    def append(self, name: str, seeds: Sequence[tuple[str, int]]) -> dict[str, Any]:
        return self.ask("append", name=name, blocks=[{"seed": seed, "size": size} for seed, size in seeds])


class Reader(NodePeer):
    """The official libraries as a reader that knows nothing but a key."""

    def __init__(self, storage: Path, bootstrap: Sequence[str], *, prefix: Sequence[str] = ()) -> None:
        super().__init__("reader", *swarm_arguments(storage, bootstrap), prefix=prefix)

    def open(self, name: str, key: str, kind: str, **options: Any) -> dict[str, Any]:
        return self.ask("open", name=name, key=key, kind=kind, **options)

    def complete(
        self, name: str, like: dict[str, Any], *, timeout: float = COMMAND_TIMEOUT
    ) -> dict[str, Any]:
        """Waits until this reader holds every block of what the publisher described."""
        core, blobs = like["core"], like["blobs"]
        return self.ask(
            "complete",
            name=name,
            length=core["length"],
            fork=core["fork"],
            blobs=blobs["length"] if blobs else 0,
            timeout=timeout,
        )

    def wait_newest(self, length: int, *, since: int, timeout: float = 10.0) -> dict[str, Any]:
        """The event by which a core is that long (or longer) here, its newest block included."""
        return self.wait_for(
            lambda event: event.get("event") == "have" and event["length"] >= length,
            timeout=timeout,
            what=f"the newest block at length {length}",
            since=since,
        )


class Seeder(NodePeer):
    """The official simple-seeder."""

    def __init__(self, storage: Path, bootstrap: Sequence[str]) -> None:
        super().__init__("seeder", *swarm_arguments(storage, bootstrap))


class BlindClient(NodePeer):
    """An app with the official blind-peering client, of version 2 or 1."""

    def __init__(
        self,
        servers: Sequence[str],
        bootstrap: Sequence[str],
        *,
        seed: str = "c1" * 32,
        passive: bool = False,
        trace: bool = False,
        version: int = 2,
        gc_wait: int = 2000,
        storage: Path | None = None,
    ) -> None:
        """`gc_wait`: milliseconds between two checks of which connections it needs."""
        arguments = ["--seed", seed, "--version", str(version), "--gcWait", str(gc_wait)]
        for server in servers:
            arguments += ["--server", server]
        for address in bootstrap:
            arguments += ["--bootstrap", address]
        for name, value in (("passive", passive), ("trace", trace)):
            if value:
                arguments += [f"--{name}", "yes"]
        if storage is not None:
            arguments += ["--storage", str(storage)]
        super().__init__("blindclient", *arguments)

    def keep(self, name: str, count: int, **options: Any) -> dict[str, Any]:
        """Make a core, have it kept, and wait until a server acknowledges all of it."""
        size = options.pop("size", 32)
        core = self.ask("core", name=name, count=count, size=size)
        self.ask("add", name=name, **options)
        self.ask("wait", name=name)
        return core


class BlindServer(NodePeer):
    """The official blind-peer."""

    def __init__(self, storage: Path, bootstrap: Sequence[str], *, seed: str = "b1" * 32) -> None:
        """`seed`: of its key, for a new storage."""
        super().__init__("blindserver", *swarm_arguments(storage, bootstrap), "--seed", seed)

    @property
    def key(self) -> str:
        return self.public_key


class BlindLoad(NodePeer):
    """Many apps in one process that have their cores kept by a blind peer."""

    def __init__(
        self, storage: Path, bootstrap: Sequence[str], server: str, *, clients: int, cores: int, blocks: int
    ) -> None:
        arguments = ["--server", server, "--clients", str(clients), "--cores", str(cores)]
        super().__init__(
            "blindload", *swarm_arguments(storage, bootstrap), *arguments, "--blocks", str(blocks)
        )
