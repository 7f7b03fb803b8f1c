"""Many apps at one blind peer: ours beside the official blind-peer. See README.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.usage import resident, usage
from tests.support import node
from tests.support.node import BlindLoad, BlindServer, Testnet
from tests.support.seed_process import SeedProcess

OFFICIAL = "official"
OURS = "ours"
IDLE_SECONDS = 3.0
"""Until memory is read: records are written, and what is closed is freed."""
PEERS_OF_AN_ADDRESS = 4
"""Divisor: the share of the connections that one address may have (`hypercore.swarm.slots`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What it cost to keep the cores of all clients."""

    server: str
    clients: int
    cores: int
    """Of all clients."""
    seconds: float
    """From the first dial to the last acknowledgement."""
    cpu: float
    """CPU seconds of the server meanwhile."""
    memory: int
    """Bytes by which its resident set grew."""
    again_seconds: float
    """Until all clients that had returned unchanged were connected."""
    again_cpu: float

    @property
    def per_core(self) -> float:
        """Bytes of memory for each core, that of connections included."""
        return self.memory / self.cores


def measure(kind: str, folder: Path, bootstrap: list[str], *, clients: int, cores: int, blocks: int) -> Kept:
    """Start a server and all clients, and have each client's cores kept."""
    with ExitStack() as stack:
        server: SeedProcess | BlindServer
        if kind == OURS:
            peers = str(max(512, 2 * PEERS_OF_AN_ADDRESS * clients))
            server = SeedProcess(folder / "server", bootstrap, "--blind-peer", "--max-peers", peers)
            stack.callback(server.dispose)
            key = str(server.wait_ready()["blind_peer"])
        else:
            server = BlindServer(folder / "server", bootstrap)
            stack.callback(server.dispose)
            key = server.key
        load = BlindLoad(folder / "clients", bootstrap, key, clients=clients, cores=cores, blocks=blocks)
        stack.callback(load.dispose)
        cpu, memory = usage(server.pid).cpu, resident(server.pid)
        seconds = float(load.ask("run", timeout=900)["seconds"])
        spent = usage(server.pid).cpu - cpu
        time.sleep(IDLE_SECONDS)
        grown, cpu = resident(server.pid) - memory, usage(server.pid).cpu
        again = float(load.ask("again", timeout=900)["seconds"])
        return Kept(
            server=kind,
            clients=clients,
            cores=clients * cores,
            seconds=seconds,
            cpu=spent,
            memory=grown,
            again_seconds=again,
            again_cpu=usage(server.pid).cpu - cpu,
        )


def table(found: Sequence[Kept]) -> str:
    """For people: a line for each server, and ours as a part of the official one."""
    names = ("seconds", "CPU s", "KB a core", "again s", "again CPU s")
    lines = [f"{'':<9}" + "".join(f"{name:>13}" for name in names)]
    numbers = {each.server: numbers_of(each) for each in found}
    for kind, values in numbers.items():
        lines.append(f"{kind:<9}" + "".join(f"{value:>13.2f}" for value in values))
    if len(numbers) == 2:
        parts = (ours / official for ours, official in zip(numbers[OURS], numbers[OFFICIAL], strict=True))
        lines.append(f"{'ours/off.':<9}" + "".join(f"{part:>12.2f}×" for part in parts))
    return "\n".join(lines)


def numbers_of(kept: Kept) -> tuple[float, ...]:
    """The figures of a line."""
    return (kept.seconds, kept.cpu, kept.per_core / 1000, kept.again_seconds, kept.again_cpu)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="farm bench blindpeer", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000, help="apps, each with a key (1000)")
    parser.add_argument("--cores", type=int, default=10, help="cores of each (10)")
    parser.add_argument("--blocks", type=int, default=1, help="blocks of each core, of 64 bytes (1)")
    parser.add_argument("--only", choices=(OFFICIAL, OURS), help="measure this server alone")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse_args(arguments)
    reason = node.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    found: list[Kept] = []
    testnet = Testnet()
    try:
        for kind in (options.only,) if options.only else (OFFICIAL, OURS):
            with tempfile.TemporaryDirectory() as folder:
                kept = measure(
                    kind,
                    Path(folder),
                    testnet.bootstrap,
                    clients=options.clients,
                    cores=options.cores,
                    blocks=options.blocks,
                )
            print(f"{kind}: {kept.seconds:.1f} s", file=sys.stderr)
            found.append(kept)
    finally:
        testnet.dispose()
    print(json.dumps([asdict(each) for each in found], indent=1) if options.json else table(found))
    return 0
