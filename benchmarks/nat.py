"""Who reaches whom through NATs: official and our peers, serving and connecting from every kind of network.

The networks are namespaces of this machine (tests/support/net_lab.py); nothing leaves it. Each round builds
them anew and tries all 36 connections, pair by pair.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

from tests.support import net_lab, node
from tests.support.nat_matrix import PAIRS, Cell, Matrix, cells
from tests.support.nat_world import NatWorld, reached
from tests.support.net_lab import KINDS

Times = dict[Cell, list[float | None]]
"""Seconds of every attempt; None: it was not reached."""


def measure(rounds: int) -> Times:
    times: Times = defaultdict(list)
    for number in range(rounds):
        for pair in PAIRS:
            print(f"round {number + 1} of {rounds}: {pair[0]} serves, {pair[1]} connects", file=sys.stderr)
            with NatWorld() as world:
                for cell, answer in Matrix(world).run(cells([pair])).items():
                    times[cell].append(answer["ms"] / 1000 if reached(answer) else None)
    return times


def cell_text(attempts: Sequence[float | None]) -> str:
    """Median and range of what was reached, and how often it was not."""
    took = [seconds for seconds in attempts if seconds is not None]
    if not took:
        return "no"
    text = f"{statistics.median(took):.1f} s"
    if max(took) >= 0.5:
        text += f" ({min(took):.1f}–{max(took):.1f})"
    return text if len(took) == len(attempts) else f"{text}, {len(took)} of {len(attempts)}"


def table(times: Times) -> str:
    """A row per pair of networks, a column per pair of stacks."""
    head = " | ".join(f"{serving} ← {connecting}" for serving, connecting in PAIRS)
    lines = [f"| serves from | connects from | {head} |", "|---|---|" + "---:|" * len(PAIRS)]
    for server in KINDS:
        for client in KINDS:
            row = " | ".join(cell_text(times[Cell(*pair, server, client)]) for pair in PAIRS)
            lines.append(f"| {server} | {client} | {row} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="farm bench nat", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each connection is tried (3)")
    parser.add_argument("--json", action="store_true", help="every attempt, as JSON")
    options = parser.parse_args(arguments)
    reason = node.missing() or net_lab.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    times = measure(options.rounds)
    if options.json:
        print(json.dumps([{**cell._asdict(), "seconds": taken} for cell, taken in times.items()], indent=1))
    else:
        print(table(times))
    return 0
