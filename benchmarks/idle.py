"""Ours over many complete drives that no reader asks for, from its start. See `benchmarks.drives --idle`."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.usage import resident, usage
from hypercore.core import disk_store
from tests.support.node import Reader, Testnet
from tests.support.seed_process import SeedProcess
from tests.workers.engine.fakes import WriterOfDrive

SAMPLE_SECONDS = 10.0
MINUTE = 60.0
PUT_AWAY_SECONDS = 90.0
"""How long the first run goes on, so that each drive is known to be complete, and put away."""
START_TIMEOUT = 600.0
FLUSH_EVERY = 500
"""Drives that are written between two flushes."""


@dataclass(slots=True, kw_only=True)
class Idle:
    """What an engine over `drives` complete drives costs."""

    drives: int
    first_run_seconds: float
    """Of the very first start: it looks at each drive and puts it away."""
    synced_seconds: float = 0.0
    """From the start of the process to its having emitted `synced` for every drive."""
    served_seconds: float = 0.0
    """From the start of the process to a reader, which knew only a key, having every byte of that drive."""
    empty: int = 0
    """Bytes resident over no drive at all."""
    announcing: int = 0
    """The largest resident set of the run, bytes."""
    idle: int = 0
    """Bytes resident in the end."""
    start_cpu: float = 0.0
    """CPU seconds until every drive was reported as synced."""
    announced_seconds: float | None = None
    """Until every drive was announced; None if it was not."""
    announces: list[float] = field(default_factory=list)
    """Topics announced a second, one figure for each SAMPLE_SECONDS."""
    cpu_shares: list[float] = field(default_factory=list)
    """Of one core, in the same spans."""
    busiest_minute: float = 0.0
    """Share of one core in the busiest minute after all was announced: refreshes come after ten of them."""


def write_drives(data: Path, count: int) -> list[str]:
    """Complete drives of two small files each, written by our own writers into the store of an engine."""
    keys = []
    with disk_store(data) as store:
        for number in range(count):
            drive = WriterOfDrive(store=store)
            drive.put("/a.txt", f"{number:08}".encode() * 62)
            drive.put("/b.txt", f"{number:08}".encode() * 375)
            keys.append(drive.key.hex())
            for core in (drive.db.core, drive.blobs):
                store.close_core(core)
            if number % FLUSH_EVERY == FLUSH_EVERY - 1:
                store.flush()
        store.flush()
    return keys


def _start(data: Path, bootstrap: list[str], seeds: Path, count: int) -> tuple[SeedProcess, float]:
    farm = SeedProcess(data, bootstrap, "--file", str(seeds))
    synced: set[str] = set()
    seen = 0
    deadline = time.monotonic() + START_TIMEOUT
    while len(synced) < count:
        if time.monotonic() > deadline or not farm.running:
            farm.dispose()
            raise RuntimeError(f"{len(synced)} of {count} drives synced\n{farm.describe()}")
        time.sleep(0.05)
        position = farm.position()
        synced.update(event["key"] for event in farm.events[seen:position] if event.get("event") == "synced")
        seen = position
    return farm, time.monotonic() - farm.started_at


def _empty(folder: Path, bootstrap: list[str]) -> int:
    key = write_drives(folder / "empty", 1)
    (folder / "one.txt").write_text(f"drive {key[0]}\n")
    farm, _ = _start(folder / "empty", bootstrap, folder / "one.txt", 1)
    try:
        time.sleep(3.0)
        return resident(farm.pid)
    finally:
        farm.dispose()


def watch(folder: Path, count: int, nodes: int, minutes: float, stack: ExitStack) -> Idle:
    """Write the drives, start an engine over them twice, and watch the second run."""
    data, seeds = folder / "data", folder / "seeds.txt"
    _log(f"writing {count} drives")
    keys = write_drives(data, count)
    seeds.write_text("".join(f"drive {key}\n" for key in keys))
    testnet = Testnet(nodes)
    stack.callback(testnet.dispose)
    bootstrap = testnet.bootstrap
    empty = _empty(folder, bootstrap)
    _log("first run")
    farm, first = _start(data, bootstrap, seeds, count)
    stack.callback(farm.dispose)
    time.sleep(PUT_AWAY_SECONDS)
    farm.interrupt(60.0)

    _log("second run")

    def announces() -> int:
        return int(testnet.ask("counts").get("announce", 0))

    before = announces()
    farm, synced = _start(data, bootstrap, seeds, count)
    stack.callback(farm.dispose)
    found = Idle(drives=count, first_run_seconds=first, synced_seconds=synced, empty=empty)
    found.start_cpu = usage(farm.pid).cpu
    found.served_seconds = _read_one(folder / "reader", bootstrap, keys[0], farm)
    per_topic = min(nodes, 20)
    reach = before + count * per_topic
    spent, at = usage(farm.pid).cpu, time.monotonic()
    end = farm.started_at + minutes * 60
    history: list[tuple[float, float]] = []
    while at < end:
        time.sleep(min(SAMPLE_SECONDS, max(0.1, end - at)))
        now, cpu, total = time.monotonic(), usage(farm.pid).cpu, announces()
        found.announces.append((total - before) / per_topic / (now - at))
        found.cpu_shares.append((cpu - spent) / (now - at))
        history.append((now, cpu))
        if found.announced_seconds is None and total >= reach * 0.99:
            found.announced_seconds = now - farm.started_at
        before, spent, at = total, cpu, now
        _log(
            f"{at - farm.started_at:5.0f} s: {found.announces[-1]:6.1f} announces/s,"
            f" {100 * found.cpu_shares[-1]:5.1f} % of a core, {resident(farm.pid) / 1e6:.0f} MB"
        )
    quiet = found.announced_seconds
    if quiet is not None:
        after = [point for point in history if point[0] >= farm.started_at + quiet]
        found.busiest_minute = _busiest(after, MINUTE)
    found.announcing, found.idle = usage(farm.pid).peak_rss, resident(farm.pid)
    return found


def _busiest(history: list[tuple[float, float]], span: float) -> float:
    """The largest share of a core over `span` seconds, from points (time, CPU seconds)."""
    return max(
        (
            (cpu - earlier) / (at - then)
            for then, earlier in history
            for at, cpu in history
            if span - 1 <= at - then <= span + SAMPLE_SECONDS
        ),
        default=0.0,
    )


def _read_one(storage: Path, bootstrap: list[str], key: str, farm: SeedProcess) -> float:
    """An official reader downloads one drive; only ours has it."""
    reader = Reader(storage, bootstrap)
    try:
        reader.open("one", key, "drive")
        reader.ask("complete", name="one", length=3, blobs=2, timeout=300.0)
        return time.monotonic() - farm.started_at
    finally:
        reader.dispose()


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(found: Idle) -> str:
    """For people."""
    announced = "not all" if found.announced_seconds is None else f"{found.announced_seconds:.0f} s"
    each = (found.idle - found.empty) / found.drives / 1000
    return "\n".join(
        (
            f"{found.drives:,} complete drives, restarted",
            f"all reported as synced after     {found.synced_seconds:8.1f} s  ({found.start_cpu:.1f} CPU s;"
            f" the first run took {found.first_run_seconds:.1f} s)",
            f"a reader had one of them after   {found.served_seconds:8.1f} s",
            f"all announced after              {announced:>10}",
            f"announces a second, at most      {max(found.announces):8.1f}",
            f"CPU in the busiest minute after  {100 * found.busiest_minute:8.1f} % of a core",
            f"resident, most and in the end    {found.announcing / 1e6:8.0f} MB, {found.idle / 1e6:.0f} MB"
            f" ({each:.1f} KB a drive over {found.empty / 1e6:.0f} MB)",
        )
    )
