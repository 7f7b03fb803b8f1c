"""One core of equal blocks through loopback: official → official, official → ours, ours → official.

Every transfer is between two fresh processes that meet through a private DHT; the receiver's store is new.
The clock runs from the receiver's first connection to its holding every block: an official receiver when its
contiguous length is the core's, ours when it says `synced`, which means written and flushed. Rounds are
interleaved, so that a slow spell of the machine falls on all pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.usage import Usage, usage
from tests.support import node
from tests.support.farm import Farm
from tests.support.jsonproc import Event, JsonProcess
from tests.support.node import Publisher, Reader, Testnet

BLOCK = 65_536
OFFICIAL, DOWN, UP = PAIRS = ("official → official", "official → ours", "ours → official")
TIMEOUT = 300.0
APPEND_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One measured transfer."""

    pair: str
    seconds: float
    """From the receiver's first connection to its holding everything."""
    mb_per_s: float
    sender_cpu: float
    """CPU seconds within those seconds."""
    receiver_cpu: float
    sender_rss: int
    """Largest resident set of the process so far, bytes."""
    receiver_rss: int
    seconds_from_start: float
    """The same end, counted from the start of the receiver's process: finding the peer included."""


def _opened(event: Event) -> bool:
    return event.get("event") == "peer" and event.get("state") == "open"


class Bench:
    """A DHT, a published core, and the directories of one run."""

    def __init__(self, folder: Path, mib: int, stack: ExitStack) -> None:
        self.folder = folder
        self.blocks = mib * (1 << 20) // BLOCK
        self.bytes = self.blocks * BLOCK
        testnet = Testnet()
        stack.callback(testnet.dispose)
        self.bootstrap = testnet.bootstrap
        self.key = self._publish()
        # Told that it is a core, our receiver does not wait whether it turns out to be an encrypted drive
        self.seeds = folder / "seeds.txt"
        self.seeds.write_text(f"core {self.key}\n")

    def _publish(self) -> str:
        """Writes the core once; the publishers of the transfers open the same store."""
        with ExitStack() as stack:
            publisher = Publisher(self.folder / "publisher", self.bootstrap)
            stack.callback(publisher.dispose)
            key = str(publisher.make("thing", "core")["key"])
            for start in range(0, self.blocks, APPEND_AT_ONCE):
                end = min(start + APPEND_AT_ONCE, self.blocks)
                publisher.append("thing", [(f"block {i}", BLOCK) for i in range(start, end)])
            publisher.stop()
        return key

    def round(self, pairs: Sequence[str]) -> list[Transfer]:
        """One transfer of each pair; what ours received is what ours then sends."""
        ours, theirs = self.folder / "ours", self.folder / "reader"
        run: dict[str, Callable[[ExitStack], Transfer]] = {
            OFFICIAL: lambda stack: self._to_official(OFFICIAL, self._publisher(stack), theirs, stack),
            DOWN: lambda stack: self._to_ours(self._publisher(stack), ours, stack),
            UP: lambda stack: self._to_official(UP, self._farm(ours, stack), theirs, stack),
        }
        done = []
        for pair in pairs:
            with ExitStack() as stack:
                if pair == UP and not ours.exists():
                    self._to_ours(self._publisher(stack), ours, stack)
                    stack.pop_all().close()
                done.append(run[pair](stack))
            shutil.rmtree(theirs, ignore_errors=True)
        shutil.rmtree(ours, ignore_errors=True)
        return done

    def _publisher(self, stack: ExitStack) -> Publisher:
        publisher = Publisher(self.folder / "publisher", self.bootstrap)
        stack.callback(publisher.dispose)
        publisher.make("thing", "core")
        publisher.ask("join", name="thing")
        return publisher

    def _farm(self, data: Path, stack: ExitStack) -> Farm:
        farm = Farm(data, self.bootstrap, "--file", str(self.seeds))
        stack.callback(farm.dispose)
        farm.wait_synced(self.key, self.blocks, timeout=TIMEOUT)
        return farm

    def _to_ours(self, sender: JsonProcess, data: Path, stack: ExitStack) -> Transfer:
        farm = Farm(data, self.bootstrap, "--file", str(self.seeds))
        stack.callback(farm.dispose)
        began = farm.wait_for(_opened, timeout=TIMEOUT, what="a connection")
        before = usage(sender.pid), usage(farm.pid)
        ended = farm.wait_synced(self.key, self.blocks, timeout=TIMEOUT)
        return self._measured(DOWN, sender, farm, before, began, ended)

    def _to_official(self, pair: str, sender: JsonProcess, storage: Path, stack: ExitStack) -> Transfer:
        reader = Reader(storage, self.bootstrap)
        stack.callback(reader.dispose)
        opening = reader.send("open", name="thing", key=self.key, kind="core")
        began = reader.wait_for(_opened, timeout=TIMEOUT, what="a connection")
        before = usage(sender.pid), usage(reader.pid)
        reader.answer(opening)
        waiting = reader.send("complete", name="thing", length=self.blocks)
        ended = reader.answer(waiting, timeout=TIMEOUT)
        return self._measured(pair, sender, reader, before, began, ended)

    def _measured(
        self,
        pair: str,
        sender: JsonProcess,
        receiver: JsonProcess,
        before: tuple[Usage, Usage],
        began: Event,
        ended: Event,
    ) -> Transfer:
        sent, received = usage(sender.pid), usage(receiver.pid)
        seconds = ended["at"] - began["at"]
        return Transfer(
            pair=pair,
            seconds=seconds,
            mb_per_s=self.bytes / 1e6 / seconds,
            sender_cpu=sent.cpu - before[0].cpu,
            receiver_cpu=received.cpu - before[1].cpu,
            sender_rss=sent.peak_rss,
            receiver_rss=received.peak_rss,
            seconds_from_start=ended["at"] - receiver.started_at,
        )


def median(transfers: Sequence[Transfer], pair: str, field: str) -> float:
    return float(
        statistics.median(getattr(transfer, field) for transfer in transfers if transfer.pair == pair)
    )


def ratios(transfers: Sequence[Transfer]) -> dict[str, float]:
    """Medians of ours divided by medians of the official peer in the same seat; above 1 is more."""
    found = {}
    for seat, pair in (("receiver", DOWN), ("sender", UP)):
        if not all(any(transfer.pair == one for transfer in transfers) for one in (pair, OFFICIAL)):
            continue
        for name, field in (("speed", "mb_per_s"), ("cpu", f"{seat}_cpu"), ("rss", f"{seat}_rss")):
            found[f"{seat} {name}"] = median(transfers, pair, field) / median(transfers, OFFICIAL, field)
    return found


def table(transfers: Sequence[Transfer]) -> str:
    """For people: medians over the rounds, and the range of the speed."""
    head = ("", "MB/s", "(min–max)", "sender CPU s", "receiver CPU s", "sender MB", "receiver MB")
    rows = [head]
    for pair in dict.fromkeys(transfer.pair for transfer in transfers):
        speeds = [transfer.mb_per_s for transfer in transfers if transfer.pair == pair]
        rows.append(
            (
                pair,
                f"{statistics.median(speeds):.1f}",
                f"({min(speeds):.1f}–{max(speeds):.1f})",
                f"{median(transfers, pair, 'sender_cpu'):.2f}",
                f"{median(transfers, pair, 'receiver_cpu'):.2f}",
                f"{median(transfers, pair, 'sender_rss') / 1e6:.0f}",
                f"{median(transfers, pair, 'receiver_rss') / 1e6:.0f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += ["", *(f"ours / official, {name}: {value:.2f}" for name, value in ratios(transfers).items())]
    return "\n".join(lines)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="farm bench transfer", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=256, help="size of the core, in 64 KiB blocks (256)")
    parser.add_argument("--rounds", type=int, default=3, help="transfers of each pair (3)")
    parser.add_argument("--pair", action="append", choices=PAIRS, help="only this pair (repeatable)")
    parser.add_argument("--workdir", type=Path, help="where the stores go (a temporary directory)")
    parser.add_argument(
        "--json", action="store_true", help="every transfer and the ratios as one JSON object"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = _arguments(argv)
    reason = node.missing()
    if reason is not None:
        print(f"transfer: {reason}", file=sys.stderr)
        return 1
    pairs = options.pair or list(PAIRS)
    transfers: list[Transfer] = []
    folder = Path(tempfile.mkdtemp(prefix="transfer-", dir=options.workdir))
    try:
        with ExitStack() as stack:
            bench = Bench(folder, options.mib, stack)
            for number in range(options.rounds):
                for transfer in bench.round(pairs):
                    transfers.append(transfer)
                    print(
                        f"round {number + 1}: {transfer.pair}: {transfer.mb_per_s:.1f} MB/s",
                        file=sys.stderr,
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        about = {"mib": options.mib, "python": platform.python_version(), "cores": os.cpu_count()}
        print(
            json.dumps(
                {**about, "transfers": [asdict(one) for one in transfers], "ratios": ratios(transfers)}
            )
        )
    else:
        print(table(transfers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
