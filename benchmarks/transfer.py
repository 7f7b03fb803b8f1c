"""A core of equal blocks from one process to another: official → official, and ours in either seat.

Rounds are interleaved, so that a slow spell of the machine falls on all pairs.
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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import link
from benchmarks.pairs import OFFICIAL, PAIRS, Bench, Load, Transfer
from benchmarks.scenarios import MIB, SCENARIOS, chosen
from tests.support import node


def median(transfers: Sequence[Transfer], field: str) -> float:
    return float(statistics.median(getattr(transfer, field) for transfer in transfers))


def ratios(transfers: Sequence[Transfer]) -> dict[str, float]:
    """Medians of each pair with ours in it, divided by those of the official pair, all of one load. The costs
    are those of our seats; above 1 is more."""
    found = {}
    official = [one for one in transfers if one.pair == OFFICIAL]
    for pair in dict.fromkeys(one.pair for one in transfers if official and one.pair != OFFICIAL):
        ours = [one for one in transfers if one.pair == pair]
        found[f"{pair} speed"] = median(ours, "mb_per_s") / median(official, "mb_per_s")
        for seat, name in zip(("sender", "receiver"), pair.split(" → "), strict=True):
            if name == "ours":
                for cost in ("cpu", "rss"):
                    field = f"{seat}_{cost}"
                    found[f"{pair} {seat} {cost}"] = median(ours, field) / median(official, field)
    return found


def table(transfers: Sequence[Transfer]) -> str:
    """For people: medians over the rounds of one load, and the range of the speed."""
    head = ("", "MB/s", "(min–max)", "sender CPU s", "receiver CPU s", "sender MB", "receiver MB", "evenness")
    rows = [head]
    for pair in dict.fromkeys(transfer.pair for transfer in transfers):
        these = [transfer for transfer in transfers if transfer.pair == pair]
        speeds = [transfer.mb_per_s for transfer in these]
        rows.append(
            (
                pair,
                f"{statistics.median(speeds):.1f}",
                f"({min(speeds):.1f}–{max(speeds):.1f})",
                f"{median(these, 'sender_cpu'):.2f}",
                f"{median(these, 'receiver_cpu'):.2f}",
                f"{median(these, 'sender_rss') / 1e6:.0f}",
                f"{median(these, 'receiver_rss') / 1e6:.0f}",
                f"{median(these, 'evenness'):.2f}",
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


def _measure(load: Load, pairs: Sequence[str], rounds: int, workdir: Path | None) -> list[Transfer]:
    transfers = []
    folder = Path(tempfile.mkdtemp(prefix="transfer-", dir=workdir))
    try:
        with ExitStack() as stack:
            bench = Bench(folder, load, stack)
            for number in range(rounds):
                for pair in pairs:
                    transfers.append(bench.transfer(pair))
                    speed = transfers[-1].mb_per_s
                    print(f"{load.name}, round {number + 1}: {pair}: {speed:.1f} MB/s", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return transfers


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    known = "; ".join(f"{name}: {scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="farm bench transfer", description=(__doc__ or "").split("\n\n")[0], epilog=known
    )
    parser.add_argument(
        "--scenario", action="append", choices=(*SCENARIOS, "all"), help="what to run (pair; repeatable)"
    )
    parser.add_argument("--mib", type=int, help="size of the core (each load has its own)")
    parser.add_argument("--rounds", type=int, default=3, help="transfers of each pair (3)")
    parser.add_argument("--pair", action="append", choices=PAIRS, help="only this pair (repeatable)")
    parser.add_argument("--workdir", type=Path, help="where the stores go (a temporary directory)")
    parser.add_argument(
        "--json", action="store_true", help="every transfer and the ratios as one JSON object"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = _arguments(argv)
    scenarios = list(chosen(options.scenario or ["pair"]))
    lossy = any(load.line is not None for scenario in scenarios for load in scenario.loads)
    reason = node.missing() or (link.missing() if lossy else None)
    if reason is not None:
        print(f"transfer: {reason}", file=sys.stderr)
        return 1
    results: list[tuple[Load, list[Transfer]]] = []
    for scenario in scenarios:
        pairs = [pair for pair in scenario.pairs if not options.pair or pair in options.pair]
        for load in scenario.loads:
            if options.mib:
                load = replace(load, blocks=options.mib * MIB // load.block)
            transfers = _measure(load, pairs, options.rounds, options.workdir)
            results.append((load, transfers))
            if not options.json:
                print(f"\n{load.name}, {load.bytes // MIB} MiB\n{table(transfers)}", flush=True)
    if options.json:
        about = {"python": platform.python_version(), "cores": os.cpu_count()}
        loads = [
            {**asdict(load), "transfers": [asdict(one) for one in transfers], "ratios": ratios(transfers)}
            for load, transfers in results
        ]
        print(json.dumps({**about, "loads": loads}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
