"""Helpers for the tests of bees and drives: readers are driven by hand, so that nothing hides an event
loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterable, Sequence
from types import coroutine
from typing import Any, TypeVar

from hypercore.bee import Bee
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.drive import Drive
from hypercore.drive.writer import DriveWriter
from hypercore.errors import BlockNotAvailable

from .vectors import load as _load

T = TypeVar("T")


BLOBS_KEY = bytes(range(32))


def vectors(name: str, family: str = "data") -> list[dict[str, Any]]:
    return _load(f"{family}/{name}")


def vector(name: str, case: str) -> dict[str, Any]:
    return next(v for v in vectors(name) if v["name"] == case)


def unhex(blocks: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(block) for block in blocks]


def run(coro: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        coro.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coro.close()
    raise AssertionError("a source in memory made its reader wait")


async def collect(items: AsyncIterable[T]) -> list[T]:
    return [item async for item in items]


def listed(items: AsyncIterable[T]) -> list[T]:
    return run(collect(items))


def content(chunks: AsyncIterable[bytes]) -> bytes:
    return b"".join(listed(chunks))


class RemoteSource(MemorySource):
    """Blocks that lie a round trip away. `travel` runs a reader and counts the trips it waits for."""

    def __init__(self, blocks: Iterable[bytes | None], **options: Any) -> None:
        super().__init__(options.pop("here", []), **options)
        self.remote = list(blocks)
        self.blocks = [None] * len(self.remote)
        self.in_flight: set[int] = set()
        self.max_in_flight = 0
        self.trips = 0
        self.room = 1 << 30
        """Most blocks that are in flight because of hints; others are ignored."""

    async def get(self, index: int) -> bytes:
        if not 0 <= index < len(self.remote):
            raise BlockNotAvailable(f"block {index} does not exist")
        while (block := self.blocks[index]) is None:
            self.in_flight.add(index)
            await _wait()
        return block

    def prefetch(self, indices: Sequence[int]) -> None:
        for index in indices:
            if index < len(self.remote) and self.blocks[index] is None and len(self.in_flight) < self.room:
                self.in_flight.add(index)
        self.max_in_flight = max(self.max_in_flight, len(self.in_flight))

    def byte_range(self, index: int) -> tuple[int, int]:
        block = self.blocks[index]
        assert block is not None, "the place of a block is known only once it is here"
        return sum(len(b or b"") for b in self.remote[:index]), len(block)

    @property
    def fetched(self) -> int:
        return sum(block is not None for block in self.blocks)

    def travel(self, coro: Coroutine[Any, Any, T]) -> T:
        while True:
            try:
                coro.send(None)
            except StopIteration as done:
                result: T = done.value
                return result
            self.trips += 1
            for index in self.in_flight:
                self.blocks[index] = self.remote[index]
            self.in_flight.clear()


@coroutine
def _wait() -> Generator[None, None, None]:
    yield


def no_blobs(key: bytes) -> Coroutine[Any, Any, MemorySource]:
    raise AssertionError("the blobs core was opened")


def drive_of(db: MemorySource, blobs: MemorySource, **options: Any) -> Drive:
    async def open_blobs(key: bytes) -> MemorySource:
        blobs.key = key
        return blobs

    return Drive(db, open_blobs, **options)


def written_drive(write: Callable[[DriveWriter], object]) -> tuple[Drive, MemorySource, MemorySource]:
    """A drive in memory, as `write` leaves it, and its two cores."""
    db, blobs = MemorySource(), MemorySource()
    writer = DriveWriter(db, blobs, blobs_key=BLOBS_KEY)
    writer.write_header()
    write(writer)
    return drive_of(db, blobs), db, blobs


def bee_of(blocks: Iterable[bytes | None], **options: Any) -> Bee:
    return Bee(MemorySource(blocks), **options)


def bee_with(*keys: bytes) -> MemorySource:
    log = MemorySource()
    with BeeWriter(log).batch() as batch:
        for key in keys:
            batch.put(key, b"v" + key)
    return log


def numbered(count: int) -> list[bytes]:
    return [b"%05d" % i for i in range(count)]
