"""One measured transfer: a sender, one or several receivers, and what it cost each of them.

Every transfer is between fresh processes that meet through a private DHT; the receivers' stores are new. The
clock runs from the first connection to the last receiver's holding every block: an official receiver when
its contiguous length is the core's, ours when it says `synced`, which means written and flushed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link import Line, Link
from benchmarks.usage import Usage, usage
from tests.support.json_process import Event, JsonProcess
from tests.support.node import Publisher, Reader, Testnet
from tests.support.seed_process import SeedProcess

OFFICIAL = "official → official"
DOWN = "official → ours"
UP = "ours → official"
OURS = "ours → ours"
PAIRS = (OFFICIAL, DOWN, UP, OURS)

TIMEOUT = 600.0
APPEND_BYTES = 4 << 20
"""Content of one command to the publisher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is transferred, how often at once, and over what."""

    name: str
    block: int
    """Bytes of a block."""
    blocks: int
    receivers: int = 1
    line: Line | None = None
    """None: loopback."""

    @property
    def bytes(self) -> int:
        return self.block * self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One measured transfer."""

    load: str
    pair: str
    seconds: float
    """From the first connection to the moment when the last receiver holds everything."""
    mb_per_s: float
    """Content of all receivers together."""
    evenness: float
    """When the first receiver had everything, divided by when the last had: 1 is fair."""
    sender_cpu: float
    """CPU seconds within those seconds."""
    receiver_cpu: float
    """Of all receivers together."""
    sender_rss: int
    """Largest resident set of the process so far, bytes."""
    receiver_rss: int
    """The same of the largest receiver."""
    seconds_from_start: float
    """The same end, counted from the start of the receivers: finding the peer included."""


def _opened(event: Event) -> bool:
    return event.get("event") == "peer" and event.get("state") == "open"


class Bench:
    """A DHT, a published core, and the directories of one load. `stack` ends what is started for all of
    it."""

    def __init__(self, folder: Path, load: Load, stack: ExitStack) -> None:
        self.load = load
        self._folder = folder
        self._link = None if load.line is None else Link(load.line)
        if self._link is not None:
            stack.callback(self._link.close)
        with self._sending():
            testnet = Testnet() if self._link is None else Testnet(host=self._link.host("a"))
            stack.callback(testnet.dispose)
            self._bootstrap = testnet.bootstrap
            self._key = self._publish()
        # Told that it is a core, our receiver does not wait whether it turns out to be an encrypted drive
        self._seeds = folder / "seeds.txt"
        self._seeds.write_text(f"core {self._key}\n")

    def transfer(self, pair: str) -> Transfer:
        """Runs one transfer. What ours is to send, it has received before, unmeasured."""
        sent_by_ours, received_by_ours = pair in (UP, OURS), pair in (DOWN, OURS)
        copy = self._folder / "copy"
        with ExitStack() as stack:
            if sent_by_ours and not copy.exists():
                self._make_copy(copy)
            with self._sending():
                sender = self._farm(copy, stack) if sent_by_ours else self._publisher(stack)
                if isinstance(sender, SeedProcess):
                    sender.wait_synced(self._key, self.load.blocks, timeout=TIMEOUT)
            folders = [self._folder / f"receiver-{number}" for number in range(self.load.receivers)]
            for folder in folders:
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with self._receiving():
                if received_by_ours:
                    return self._measured(pair, sender, [self._farm(folder, stack) for folder in folders])
                return self._measured(pair, sender, [self._reader(folder, stack) for folder in folders])

    # --- who takes part

    def _sending(self) -> AbstractContextManager[None]:
        return nullcontext() if self._link is None else self._link.inside("a")

    def _receiving(self) -> AbstractContextManager[None]:
        return nullcontext() if self._link is None else self._link.inside("b")

    def _publish(self) -> str:
        """Writes the core once; the publishers of the transfers open the same store."""
        block, blocks = self.load.block, self.load.blocks
        at_once = max(1, APPEND_BYTES // block)
        with ExitStack() as stack:
            publisher = Publisher(self._folder / "publisher", self._bootstrap)
            stack.callback(publisher.dispose)
            key = str(publisher.make("thing", "core")["key"])
            for start in range(0, blocks, at_once):
                end = min(start + at_once, blocks)
                publisher.append("thing", [(f"block {i}", block) for i in range(start, end)])
            publisher.stop()
        return key

    def _make_copy(self, copy: Path) -> None:
        with ExitStack() as stack, self._sending():
            self._publisher(stack)
            farm = self._farm(copy, stack)
            farm.wait_synced(self._key, self.load.blocks, timeout=TIMEOUT)
            farm.interrupt()

    def _publisher(self, stack: ExitStack) -> Publisher:
        publisher = Publisher(self._folder / "publisher", self._bootstrap)
        stack.callback(publisher.dispose)
        publisher.make("thing", "core")
        publisher.ask("join", name="thing")
        return publisher

    def _farm(self, data: Path, stack: ExitStack) -> SeedProcess:
        farm = SeedProcess(data, self._bootstrap, "--file", str(self._seeds))
        stack.callback(farm.dispose)
        return farm

    def _reader(self, storage: Path, stack: ExitStack) -> Reader:
        reader = Reader(storage, self._bootstrap)
        stack.callback(reader.dispose)
        return reader

    # --- measuring

    def _measured(
        self, pair: str, sender: JsonProcess, receivers: list[SeedProcess] | list[Reader]
    ) -> Transfer:
        waits = [self._begin(receiver) for receiver in receivers]
        opened = [one.wait_for(_opened, timeout=TIMEOUT, what="a connection") for one in receivers]
        began = min(event["at"] for event in opened)
        sent_before = usage(sender.pid)
        received_before = [usage(one.pid) for one in receivers]
        ended = [end()["at"] for end in [wait() for wait in waits]]
        sent, received = usage(sender.pid), [usage(one.pid) for one in receivers]
        seconds = max(ended) - began
        return Transfer(
            load=self.load.name,
            pair=pair,
            seconds=seconds,
            mb_per_s=self.load.bytes * len(receivers) / 1e6 / seconds,
            evenness=(min(ended) - began) / seconds,
            sender_cpu=sent.cpu - sent_before.cpu,
            receiver_cpu=_cpu(received) - _cpu(received_before),
            sender_rss=sent.peak_rss,
            receiver_rss=max(one.peak_rss for one in received),
            seconds_from_start=max(ended) - min(one.started_at for one in receivers),
        )

    def _begin(self, receiver: SeedProcess | Reader) -> Callable[[], Callable[[], Event]]:
        """Have a receiver fetch everything. Returns a function that requests a notice when it has, and
        returns one that waits for it."""
        blocks = self.load.blocks
        if isinstance(receiver, SeedProcess):  # its command line has told it
            return lambda: lambda: receiver.wait_synced(self._key, blocks, timeout=TIMEOUT)
        opening = receiver.send("open", name="thing", key=self._key, kind="core")

        def ask() -> Callable[[], Event]:
            receiver.answer(opening)
            asked = receiver.send("complete", name="thing", length=blocks)
            return lambda: receiver.answer(asked, timeout=TIMEOUT)

        return ask


def _cpu(costs: list[Usage]) -> float:
    return sum(cost.cpu for cost in costs)
