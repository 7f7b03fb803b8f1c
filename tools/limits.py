#!/usr/bin/env python3
"""Writes docs/limits.md: every named bound of hypercore-py, with the first sentence of its docstring.

    python tools/limits.py             write the page
    python tools/limits.py --check     exit with 1 if it is not current
    python tools/limits.py --untested  list bounds that no test mentions

A bound is a constant with such a name (see BOUND), a time one that is in seconds (see TIME); times are not on
the page. Each needs a docstring: the string below it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby, zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "hypercore-py" / "src"
TESTS = ROOT / "hypercore-py" / "tests"
PAGE = ROOT / "docs" / "limits.md"

BOUND = re.compile(
    r"(^|_)(MAX|LIMIT)(_|$)|(^|_)(CACHE|BUFFER|WINDOW|WATER)_BYTES$|^(PREFETCH|HISTORY|PAUSE)_|^WINDOW$"
)
TIME = re.compile(r"_SECONDS$|(^|_)(TIMEOUT|PATIENCE|DELAY|LIFETIME|RTO)$|^KEEP_ALIVE$")
SENTENCE = re.compile(r"(?<=[\w)`%])\. (?=[A-Z`\d])")
"""The end of a sentence."""
OURS = re.compile(r" ?\((?:our own choice|ours)\)", re.IGNORECASE)
"""What the page says once for all."""
NOT_OURS = {"MAX_SAFE_INTEGER", "MAX_VERSION", "MAX_STREAM_ID"}
"""Maxima of formats: no choice of ours, and nothing that grows."""

HEAD = """\
# Limits

What a peer, a file or a person can make the library keep, at most. Written by `python tools/limits.py`
from the source, which has more on each bound (and on each time to wait). A bound without an origin is our own
choice.
"""

BUDGETS = """\
## Budgets

What one peer may make us hold, times how many there can be (592 connections: 512 of peers that dial us and 80 that
we dial), and what all of them together may hold.

| what | each | times | product | all together |
|---|---|---|---|---|
| announced blocks (`replication.config.MAX_REMOTE_PAGES`) | 2 MiB | channels | 2 MiB for each | `replication.config.MAX_REMOTE_FIELD_BYTES`: the largest is forgotten and asked again |
| incomplete frames and messages that wait (`secretstream.framing.MAX_FRAME_BYTES`, `aio.cores.link.PAUSE_HELD_BYTES`) | 16 MiB; 2 MiB before a channel is open, 256 KiB before the peer has authenticated | 592 connections | 9 GiB | `aio.cores.holdings.MAX_INCOMING_BYTES`: bytes times seconds decide who is cut off |
| packets that came early, or that nobody reads (`udx.limits.RECEIVE_WINDOW_BYTES`) | 4 MiB | 592 streams | 2.3 GiB | `udx.memory.MAX_RECEIVED_BYTES`, and 16 KiB for each stream |
| answers, rejects and requests that wait, bytes not acknowledged (`mux.outbox.HIGH_WATER_BYTES`, `mux.protomux.MAX_QUEUED_REJECTS`, `replication.config.MAX_BACKLOG`, `udx.limits.MAX_FLIGHT_BYTES`) | 17 MiB and 0.8 MiB for each channel | 592 connections | 10 GiB | `aio.cores.holdings.MAX_OUTGOING_BYTES` and one answer: then each has room for a fair part of half of that, and those that do not read are cut off |
| messages for undecided channels (`mux.undecided.MAX_BUFFERED_BYTES`) | 1 MiB | 592 connections | 592 MiB | `mux.undecided.MAX_ALL_BUFFERED_BYTES`, and 4 KiB for each connection |
| channels (`aio.cores.corestore.MAX_CHANNELS`, `replication.config.MAX_PEERS`) | 5 KiB | 592 for each core stored | 2.9 MiB for each core | `aio.cores.corestore.MAX_ALL_CHANNELS` (320 MiB): no more for connections that have `MIN_CHANNELS` (64) |
| channels of active cores that a peer has not answered (`aio.cores.openings.MAX_UNANSWERED_OPENS`) | 2 KiB | 64 on 592 connections | 74 MiB | none; more, up to `MAX_PROVEN_OPENS` (512), for as many as the peer has open |
| handshakes of clients that are awaited (`dht.sessions.MAX_HANDSHAKES`) | some 4 KiB (estimated) | 256 for each relay | 1 MiB for each relay | `dht.sessions.MAX_HANDSHAKES`: 4 MiB; the oldest of the relay with most of them makes way |
| answers kept for repetitions (`dht.sessions.MAX_ANSWERS`) | some 1 KiB (estimated) | 1,024, and as many refusals | 2 MiB | the same |
| announcements in the DHT (`dht.record_store.MAX_RECORDS`) | 600 bytes | 12,288 for each /24 network | 7.1 MiB for each network | 32,768 in each of two generations: 38 MiB |
| records in the DHT (`dht.record_store.MAX_VALUE_BYTES`) | 1 KiB and overhead | 1 MiB for each /24 network | 1 MiB for each network | 16 MiB; the networks with most lose their oldest |
| what a peer was given (`mux.accounts.MAX_ACCOUNTS`) | 200 bytes | 128 on 592 connections | 15 MiB | the same |
| pages of stored trees (`core.store.PAGE_CACHE_BYTES`) | 16 MiB | one store | 16 MiB | the same, whatever cores peers ask for |
| blocks that were served last (`storage.block_cache.RECENT_CACHE_BYTES`) | 8 MiB | one store | 8 MiB | the same |

The queues of the broker are in [security](security.md); event rows in the database and what sources may hold are in
[the budgets of the farm](farm.md#budgets).
"""  # noqa: E501 - rows of a table


class Limit(NamedTuple):
    module: str
    name: str
    value: object
    doc: str

    @property
    def room(self) -> str:
        return self.module.split(".")[1]

    @property
    def is_time(self) -> bool:
        return TIME.search(self.name) is not None


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((SOURCE / "hypercore").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] != "__init__" and "testing" not in parts:
            yield ".".join(parts), ast.parse(path.read_text())


def documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str | None]]:
    """The constants of a module, each with the string below it."""
    for statement, below in zip_longest(body, body[1:]):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                match below:
                    case ast.Expr(ast.Constant(str(doc))):
                        yield target.id, " ".join(doc.split())
                    case _:
                        yield target.id, None


def limits() -> list[Limit]:
    """All bounds and times. Raises SystemExit when one is not documented."""
    found, mute = [], []
    for module, tree in modules():
        for name, doc in documented(tree.body):
            if name in NOT_OURS or not (BOUND.search(name) or TIME.search(name)):
                continue
            value = getattr(import_module(module), name)
            if not isinstance(value, int | float | tuple):
                continue
            if doc is None:
                mute.append(f"{module}.{name}")
            else:
                found.append(Limit(module, name, value, doc))
    if mute:
        sys.exit("These bounds have no docstring (unit, and where it comes from): " + ", ".join(mute))
    return found


def shown(limit: Limit) -> str:
    value = limit.value
    if isinstance(value, tuple):
        return ", ".join(_seconds(item) if limit.is_time else str(item) for item in value)
    assert isinstance(value, int | float)
    if limit.is_time:
        return _seconds(value)
    if "BYTES" in limit.name:
        return _bytes(int(value))
    return f"{value:,}"


def _seconds(value: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if value >= 2 * size and value % size == 0:
            return f"{value / size:g} {unit}"
    return f"{value:g} s" if value >= 0.1 else f"{value * 1000:g} ms"


def _bytes(value: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,} B"


def table(rows: Sequence[Limit]) -> Iterator[str]:
    yield "| name | value | what |"
    yield "|---|---|---|"
    for row in rows:
        doc = SENTENCE.split(OURS.sub("", row.doc), maxsplit=1)[0].rstrip(".").replace("|", "\\|")
        yield f"| `{row.module.removeprefix('hypercore.')}.{row.name}` | {shown(row)} | {doc} |"


def page() -> str:
    found = sorted(limits(), key=lambda limit: limit.room)
    lines = [HEAD, BUDGETS, "## Bounds\n"]
    rows = [limit for limit in found if not limit.is_time]
    for room, of_room in groupby(rows, key=lambda limit: limit.room):
        lines += [f"### {room}\n", *table(list(of_room)), ""]
    return "\n".join(lines).rstrip() + "\n"


def untested() -> list[Limit]:
    tests = "\n".join(path.read_text() for path in TESTS.rglob("*.py"))
    bounds = [limit for limit in limits() if not limit.is_time]
    return [limit for limit in bounds if not re.search(rf"\b{limit.name}\b", tests)]


def main(arguments: Sequence[str]) -> None:
    sys.path.insert(0, str(SOURCE))
    if list(arguments) == ["--untested"]:
        print(*(f"{limit.module}.{limit.name}" for limit in untested()), sep="\n")
    elif list(arguments) == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/limits.md is not what the source says: run `python tools/limits.py`")
    elif not arguments:
        PAGE.write_text(page())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
