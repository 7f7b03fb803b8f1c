"""Many small drives: 2,000 of one official publisher, synced by ours and by the official simple-seeder.

All peers meet through a private DHT; stores are new. The clock runs from the start of the seeder's process
to its holding every block of every drive: the official one when the contiguous lengths are the lengths, ours
when it has emitted `synced` for each, which means written and flushed. Rounds are interleaved.

`--idle N` measures something else: ours, started over N complete drives that no reader asks for.
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
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import idle
from benchmarks.usage import resident, usage
from tests.support import node
from tests.support.content import File
from tests.support.engine import EngineChild
from tests.support.node import Publisher, Seeder, Testnet
from tests.support.seed_process import SeedProcess

OFFICIAL, OURS = SEEDERS = ("official", "ours")
TIMEOUT = 600.0
REST_SECONDS = 45.0
"""After all is synced, before the resident set is read once more: what is idle may have been put away."""
AT_ONCE = 50
"""Drives that the publisher is asked to make side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One seeder that synced all drives."""

    seeder: str
    drives: int
    seconds: float
    cpu: float
    """CPU seconds of the process, its start included."""
    publisher_cpu: float
    empty: int
    """Bytes resident with nothing to seed."""
    peak: int
    """Largest resident set until all was synced, bytes."""
    resting: int
    """Bytes resident SETTLE_SECONDS later, the publisher still connected."""
    resting_cpu: float
    """CPU seconds meanwhile: announcing, mostly."""

    @property
    def peak_per_drive(self) -> float:
        """Bytes over an empty seeder."""
        return (self.peak - self.empty) / self.drives

    @property
    def resting_per_drive(self) -> float:
        return (self.resting - self.empty) / self.drives


class Bench:
    """A DHT and a publisher of many drives, all of them announced."""

    def __init__(self, folder: Path, drives: int, stack: ExitStack) -> None:
        self.folder = folder
        testnet = Testnet()
        stack.callback(testnet.dispose)
        self.bootstrap = testnet.bootstrap
        self.publisher = Publisher(folder / "publisher", self.bootstrap)
        stack.callback(self.publisher.dispose)
        names = [f"drive {number}" for number in range(drives)]
        self.keys: list[str] = []
        for start in range(0, drives, AT_ONCE):
            self.keys += self._publish(names[start : start + AT_ONCE])
        self.seeds = folder / "seeds.txt"
        self.seeds.write_text("".join(f"drive {key}\n" for key in self.keys))

    def _publish(self, names: Sequence[str]) -> list[str]:
        ask = self.publisher
        making = [ask.send("make", name=name, kind="drive") for name in names]
        keys = [str(ask.answer(number)["key"]) for number in making]
        for name in names:
            ask.put_many(name, [File(path="/a.txt", size=500, seed=name), File(path="/b.txt", size=3_000)])
        # As a server alone: with `client` this script would look for peers again every second
        joining = [ask.send("join", name=name, client=False) for name in names]
        for number in joining:
            ask.answer(number)
        return keys

    def run(self, seeder: str, empty: int) -> Sync:
        storage = self.folder / seeder
        try:
            with ExitStack() as stack:
                before = usage(self.publisher.pid).cpu
                start = self._ours if seeder == OURS else self._official
                process: SeedProcess | Seeder = start(storage, stack)
                ended = time.monotonic()
                spent = usage(process.pid)
                served = usage(self.publisher.pid).cpu - before
                time.sleep(REST_SECONDS)
                return Sync(
                    seeder=seeder,
                    drives=len(self.keys),
                    seconds=ended - process.started_at,
                    cpu=spent.cpu,
                    publisher_cpu=served,
                    empty=empty,
                    peak=spent.peak_rss,
                    resting=resident(process.pid),
                    resting_cpu=usage(process.pid).cpu - spent.cpu,
                )
        finally:
            shutil.rmtree(storage, ignore_errors=True)

    def _ours(self, storage: Path, stack: ExitStack) -> SeedProcess:
        farm = SeedProcess(storage, self.bootstrap, "--file", str(self.seeds))
        stack.callback(farm.dispose)
        synced: set[str] = set()
        seen = 0

        deadline = time.monotonic() + TIMEOUT
        while len(synced) < len(self.keys):
            if time.monotonic() > deadline or not farm.running:
                raise node.ProcessFailed(f"{len(synced)} drives synced\n{farm.describe()}")
            time.sleep(0.05)
            position = farm.position()
            new = farm.events[seen:position]
            synced.update(event["key"] for event in new if event.get("event") == "synced")
            seen = position
        return farm

    def _official(self, storage: Path, stack: ExitStack) -> Seeder:
        seeder = Seeder(storage, self.bootstrap)
        stack.callback(seeder.dispose)
        seeder.ask("add_all", keys=self.keys, kind="drive")
        seeder.ask("complete", keys=self.keys, timeout=TIMEOUT)
        return seeder

    def empty(self, seeder: str) -> int:
        """Bytes resident of a seeder with nothing to do, a few seconds after its start."""
        storage = self.folder / "empty"
        try:
            with ExitStack() as stack:
                process = (
                    EngineChild(storage, self.bootstrap)
                    if seeder == OURS
                    else Seeder(storage, self.bootstrap)
                )
                stack.callback(process.dispose)
                process.wait_for(lambda event: event.get("event") == "ready", timeout=30.0, what="ready")
                time.sleep(3.0)
                return resident(process.pid)
        finally:
            shutil.rmtree(storage, ignore_errors=True)


FIELDS = {
    "seconds": 1.0,
    "cpu": 1.0,
    "publisher_cpu": 1.0,
    "peak_per_drive": 1e3,
    "resting_per_drive": 1e3,
    "resting_cpu": 1.0,
}
"""The columns of the table, and what each is divided by in there."""


def median(runs: Sequence[Sync], seeder: str, field: str) -> float:
    return float(statistics.median(getattr(run, field) for run in runs if run.seeder == seeder))


def ratios(runs: Sequence[Sync]) -> dict[str, float]:
    """Medians of ours divided by those of the official seeder; above 1 is more."""
    if {run.seeder for run in runs} != set(SEEDERS):
        return {}
    return {field: median(runs, OURS, field) / median(runs, OFFICIAL, field) for field in FIELDS}


def table(runs: Sequence[Sync]) -> str:
    """For people: medians over the rounds."""
    head = ("s", "CPU s", "publisher CPU s", "most KB/drive", "later KB/drive", "later CPU s")
    lines = [f"{'':<10}" + "".join(f"{name:>17}" for name in head)]
    for seeder in dict.fromkeys(run.seeder for run in runs):
        figures = [median(runs, seeder, field) / scale for field, scale in FIELDS.items()]
        lines.append(f"{seeder:<10}" + "".join(f"{figure:>17.1f}" for figure in figures))
    lines += ["", *(f"ours / official, {name}: {value:.2f}" for name, value in ratios(runs).items())]
    return "\n".join(lines)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="farm bench drives", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--drives", type=int, default=2_000, help="drives of the publisher (2,000)")
    parser.add_argument("--rounds", type=int, default=3, help="syncs of each seeder (3)")
    parser.add_argument("--seeder", action="append", choices=SEEDERS, help="only this seeder (repeatable)")
    parser.add_argument("--idle", type=int, metavar="N", help="instead: ours over N complete, idle drives")
    parser.add_argument("--minutes", type=float, default=14.0, help="how long --idle watches (14)")
    parser.add_argument("--nodes", type=int, default=32, help="nodes of the DHT for --idle (32)")
    parser.add_argument("--workdir", type=Path, help="where the stores go (a temporary directory)")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = _arguments(argv)
    reason = node.missing()
    if reason is not None:
        print(f"drives: {reason}", file=sys.stderr)
        return 1
    about = {"python": platform.python_version(), "cores": os.cpu_count()}
    folder = Path(tempfile.mkdtemp(prefix="drives-", dir=options.workdir))
    try:
        with ExitStack() as stack:
            if options.idle:
                watched = idle.watch(folder, options.idle, options.nodes, options.minutes, stack)
                print(json.dumps({**about, **asdict(watched)}) if options.json else idle.table(watched))
                return 0
            runs = _sync(folder, options, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({**about, "runs": [asdict(run) for run in runs], "ratios": ratios(runs)}))
    else:
        print(table(runs))
    return 0


def _sync(folder: Path, options: argparse.Namespace, stack: ExitStack) -> list[Sync]:
    seeders = options.seeder or list(SEEDERS)
    bench = Bench(folder, options.drives, stack)
    empty = {seeder: bench.empty(seeder) for seeder in seeders}
    runs = []
    for number in range(options.rounds):
        for seeder in seeders:
            run = bench.run(seeder, empty[seeder])
            runs.append(run)
            print(
                f"round {number + 1}: {seeder}: {run.seconds:.1f} s, {run.cpu:.1f} CPU s,"
                f" {run.peak_per_drive / 1000:.0f} KB a drive",
                file=sys.stderr,
            )
    return runs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
