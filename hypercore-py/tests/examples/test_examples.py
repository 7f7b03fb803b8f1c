"""Every example of the README is run, as a user would run it, on a private DHT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hypercore import BeeWriter, CoreLog, DriveWriter, decode_key, encode_key, memory_store
from hypercore.aio import Corestore, Swarm
from hypercore.testing.cores import Writer, make_writer
from hypercore.testing.testnet import Testnet
from support.official_packages import official_packages

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT = 30.0
"""Seconds within which anything must have happened."""


class Example:
    """A script of examples/ while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), TIMEOUT)).decode().rstrip("\n")

    async def ended(self) -> tuple[int, list[str], str]:
        """Exit status, lines not read yet, and what it complained about."""
        out, err = await asyncio.wait_for(self.process.communicate(), TIMEOUT)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode().splitlines(), err.decode()

    async def interrupt(self) -> tuple[int, list[str], str]:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()


@asynccontextmanager
async def started(program: list[str], bootstrap: list[str], **more: str) -> AsyncIterator[Example]:
    environment = {**os.environ, "DHT_BOOTSTRAP": " ".join(bootstrap), **more}
    process = await asyncio.create_subprocess_exec(
        *program,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def example(
    name: str, *arguments: object, net: Testnet | None = None
) -> AbstractAsyncContextManager[Example]:
    program = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    return started(program, net.bootstrap if net is not None else [])


def run(scene: Callable[[Testnet], Awaitable[None]]) -> None:
    async def play() -> None:
        async with Testnet() as net:
            await scene(net)

    asyncio.run(play())


@asynccontextmanager
async def served(writer: Writer, net: Testnet) -> AsyncIterator[str]:
    """The key of what `writer` has written, which is served meanwhile."""
    async with (
        Corestore(writer.store) as cores,
        Swarm(bootstrap=net.bootstrap, host="127.0.0.1", on_connection=cores.replicate) as swarm,
    ):
        await cores.flush()
        assert await swarm.join(writer.core.discovery_key).flushed()
        yield encode_key(writer.core.key)


def a_drive() -> Writer:
    db = make_writer(seed=1)
    blobs = make_writer(seed=2, store=db.store)
    drive = DriveWriter(
        CoreLog(db.core, db.key_pair), CoreLog(blobs.core, blobs.key_pair), blobs_key=blobs.core.key
    )
    drive.put("/notes/today.txt", b"seed everything\n")
    drive.put("/large.bin", bytes(300_000))
    return db


def test_a_drive_is_listed_and_a_file_of_it_printed() -> None:
    async def scene(net: Testnet) -> None:
        async with served(a_drive(), net) as key:
            async with example("read_drive.py", key, net=net) as listing:
                assert await listing.ended() == (
                    0,
                    ["      300000 /large.bin", "          16 /notes/today.txt"],
                    "",
                )
            async with example("read_drive.py", key, "/notes/today.txt", net=net) as printing:
                assert await printing.ended() == (0, ["seed everything"], "")

    run(scene)


def test_a_bee_is_read_by_prefix() -> None:
    async def scene(net: Testnet) -> None:
        writer = make_writer()
        bee = BeeWriter(CoreLog(writer.core, writer.key_pair))
        for name in ("apple", "banana", "blueberry", "cherry"):
            bee.put(name.encode(), name.upper().encode())
        async with served(writer, net) as key, example("read_bee.py", key, "b", net=net) as reading:
            assert await reading.ended() == (0, ["banana BANANA", "blueberry BLUEBERRY"], "")

    run(scene)


def test_a_core_is_written_seeded_and_still_there_when_its_writer_is_gone(tmp_path: Path) -> None:
    async def scene(net: Testnet) -> None:
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(
                example("write_core.py", tmp_path / "writer", "hello", "world", net=net)
            )
            key, length = (await writer.line()).split()
            assert length == "2"
            seed = await stack.enter_async_context(example("seed_core.py", key, tmp_path / "seed", net=net))
            assert await seed.line() == "all 2 blocks (10 bytes) are on disk"
            assert await writer.interrupt() == (0, [], "")

            again = await stack.enter_async_context(
                example("write_core.py", tmp_path / "writer", "more", net=net)
            )
            assert await again.line() == f"{key} 3"
            assert await seed.line() == "all 3 blocks (14 bytes) are on disk"
            assert await again.interrupt() == (0, [], "")

            async with (
                Corestore(memory_store()) as cores,
                Swarm(bootstrap=net.bootstrap, on_connection=cores.replicate) as swarm,
            ):
                core = cores.get(decode_key(key))
                swarm.join(core.discovery_key, server=False)
                async with asyncio.timeout(TIMEOUT):
                    assert [await core.get(index) for index in range(3)] == [b"hello", b"world", b"more"]
            assert await seed.interrupt() == (0, [], "")

    run(scene)


def test_a_bee_is_written_and_changed(tmp_path: Path) -> None:
    async def scene(net: Testnet) -> None:
        async with example("write_bee.py", tmp_path / "writer", "apple=1", "banana=2", net=net) as writer:
            key, length = (await writer.line()).split()
            assert length == "3"  # a header, and a block for each
            async with example("read_bee.py", key, net=net) as reading:
                assert await reading.ended() == (0, ["apple 1", "banana 2"], "")
            assert await writer.interrupt() == (0, [], "")
        async with example("write_bee.py", tmp_path / "writer", "apple=", "cherry=3", net=net) as writer:
            assert (await writer.line()).split() == [key, "5"]
            async with example("read_bee.py", key, net=net) as reading:
                assert await reading.ended() == (0, ["banana 2", "cherry 3"], "")
            assert await writer.interrupt() == (0, [], "")

    run(scene)


def test_a_drive_is_written_and_written_to_again(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1\n")
    (tmp_path / "two").write_bytes(b"22\n")

    async def scene(net: Testnet) -> None:
        async with example("write_drive.py", tmp_path / "writer", tmp_path / "one", net=net) as writer:
            key, version = (await writer.line()).split()
            assert version == "2"
            assert await writer.interrupt() == (0, [], "")
        async with example("write_drive.py", tmp_path / "writer", tmp_path / "two", net=net) as writer:
            assert (await writer.line()).split() == [key, "3"]
            async with example("read_drive.py", key, net=net) as listing:
                assert await listing.ended() == (0, ["           2 /one", "           3 /two"], "")
            async with example("read_drive.py", key, "/two", net=net) as printing:
                assert await printing.ended() == (0, ["22"], "")
            assert await writer.interrupt() == (0, [], "")

    run(scene)


@pytest.mark.interop
def test_the_official_reader_gets_what_was_written(tmp_path: Path) -> None:
    packages = str(official_packages("hyperswarm"))

    async def scene(net: Testnet) -> None:
        async with example("write_core.py", tmp_path / "writer", "hello", "world", net=net) as writer:
            key, _ = (await writer.line()).split()
            program = ["node", str(EXAMPLES / "official_reader.js"), key]
            async with started(program, net.bootstrap, NODE_PATH=packages, TMPDIR=str(tmp_path)) as reader:
                assert await reader.ended() == (0, ["hello", "world"], "")

    run(scene)


def test_the_testnet_is_one() -> None:
    async def scene() -> None:
        async with example("testnet.py") as net:
            name, _, bootstrap = (await net.line()).partition("=")
            assert name == "export DHT_BOOTSTRAP"
            async with Swarm(bootstrap=bootstrap.split()) as swarm:
                assert await swarm.join(bytes(32)).flushed()
            assert await net.interrupt() == (0, [], "")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("verify_proof.py", ["643 bytes prove block 617 b'line 617'", "refused: ", "refused: "]),
        ("sans_io.py", ["0.00 PeerOpened", "0.00 PeerOpened", "0.01 ManifestReceived"]),
    ],
)
def test_what_needs_no_network_runs_alone(name: str, expected: list[str]) -> None:
    async def scene() -> None:
        async with example(name) as script:
            status, lines, complaints = await script.ended()
        assert (status, complaints) == (0, "")
        assert [line[: len(reported)] for line, reported in zip(lines, expected, strict=False)] == expected

    asyncio.run(scene())


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()
    names = [path.name for path in EXAMPLES.iterdir() if path.is_file()]
    assert names and [name for name in names if f'"{name}"' not in here] == []
