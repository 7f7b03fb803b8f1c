#!/usr/bin/env python3
"""Writes docs/limits.md: every named bound of hypercore-py and of engines, with its value.

    python tools/limits.py                write the page
    python tools/limits.py --check        exit with 1 if it is not current
    python tools/limits.py --list [WORD]  print the docstrings of bounds and times with WORD in their name
    python tools/limits.py --untested     list bounds that no test mentions

A bound is a constant with such a name (see BOUND), a time one that is in seconds (see TIME); times are not on
the page. Each needs a docstring: the string below it. Without an origin in it, a bound is our own choice.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby, zip_longest
from pathlib import Path
from textwrap import fill, indent
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "hypercore-py" / "src"
ENGINE = ROOT / "workers" / "engine"
TESTS = (ROOT / "hypercore-py" / "tests", ROOT / "tests" / "workers" / "engine")
PAGE = ROOT / "docs" / "limits.md"

BOUND = re.compile(
    r"(^|_)(MAX|LIMIT)(_|$)|(^|_)(CACHE|BUFFER|WINDOW|WATER)_BYTES$|^(PREFETCH|HISTORY|PAUSE)_|^WINDOW$"
)
TIME = re.compile(r"_SECONDS$|(^|_)(TIMEOUT|PATIENCE|DELAY|LIFETIME|RTO)$|^KEEP_ALIVE$")
NOT_OURS = {
    *("MAX_SAFE_INTEGER", "MAX_VERSION", "MAX_STREAM_ID"),
    *("MAX_PRIORITY", "MAX_RPC_PRIORITY", "MAX_HEADROOM"),
}
"""Maxima of formats and of what is kept free: nothing that grows."""

HEAD = """\
# Limits

What a peer, a file or a person can make the library, or an engine, keep, at most. Written by
`python tools/limits.py` from the source. `python tools/limits.py --list` prints what each bound counts and
where it comes from, and the times to wait; `--list dht` prints those with that text in their name.

Other pages have the budgets of [the farm](farm.md#budgets), [the gateway](gateway.md#budgets) and
[the broker](security.md#how-much-of-the-broker-an-account-may-use).
"""

BUDGETS = """\
## Budgets

What one peer may make us hold, and what all of them together may: at most 592 connections, 512 of peers that dial us and 80
that we dial.

| what | each | all together |
|---|---|---|
| announced blocks | 2 MiB for each channel | `replication.config.MAX_REMOTE_FIELD_BYTES`: the largest is dropped and asked for again |
| incomplete frames, messages that wait | 16 MiB; 2 MiB before a channel is open, 256 KiB before the peer has authenticated | `aio.cores.holdings.MAX_INCOMING_BYTES`: bytes times seconds decide who is cut off |
| packets that came early, or that no stream has read | 4 MiB | `udx.memory.MAX_RECEIVED_BYTES`, and 16 KiB for each stream |
| answers, rejects and requests that wait, bytes not acknowledged | 17 MiB, and 0.8 MiB for each channel | `aio.cores.holdings.MAX_OUTGOING_BYTES` and one answer: then each has a fair part of half of that, and those that do not read are cut off |
| messages for undecided channels | 1 MiB | `mux.undecided.MAX_ALL_BUFFERED_BYTES`, and 4 KiB for each connection |
| channels | 5 KiB; one for each core stored | `aio.cores.corestore.MAX_ALL_CHANNELS` (320 MiB): no more for connections that have `MIN_CHANNELS` (64) |
| channels that a peer has not answered | 64 of 2 KiB, or as many as it has open, up to `aio.cores.openings.MAX_PROVEN_OPENS` | 74 MiB |
| handshakes of clients that are awaited | 256 of some 4 KiB for each relay | `dht.sessions.MAX_HANDSHAKES`, 4 MiB: the oldest of the relay with most of them makes way |
| answers kept for repetitions | some 1 KiB | `dht.sessions.MAX_ANSWERS`, and as many refusals: 2 MiB |
| announcements in the DHT | 12,288 of 600 bytes for each /24 network | `dht.record_store.MAX_RECORDS` in each of two generations: 38 MiB |
| records in the DHT | 1 MiB for each /24 network | `dht.record_store.MAX_VALUE_BYTES`: the networks with most lose their oldest |
| what a peer was given | 128 accounts of 200 bytes | 15 MiB |
| pages of stored trees | | `core.store.PAGE_CACHE_BYTES`, whatever cores peers ask for |
| records of a [blind peer](blind-peers.md) | 330 bytes for each core, 90 for each of its groups: 14 MB for each client, twice that for each address | `engine.blindpeer.records.MAX_RECORDS` and `MAX_FURTHER_GROUPS`: 170 MB; an address has no more than half of what is free, and an eighth is for trusted clients |
| requests of a blind peer that are not durable; cores that wait to be opened | 170 bytes for each core | `engine.blindpeer.blind_peer.MAX_WAITING`, 22 MB; `engine.blindpeer.kept.MAX_ALL_QUEUED`, 8 MB, and `MIN_QUEUED` for each connection |
| hints of a blind peer | 256 channels of 2 KiB | `engine.blindpeer.client.MAX_ALL_WAKEUPS`: 32 MiB, and `MIN_WAKEUPS` for each connection |
| blocks that were served last | | `storage.block_cache.RECENT_CACHE_BYTES` |
"""  # noqa: E501 - rows of a table


class Limit(NamedTuple):
    module: str
    name: str
    value: object
    doc: str

    @property
    def is_time(self) -> bool:
        return TIME.search(self.name) is not None


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Of the library, then of engines."""
    for folder, base in ((SOURCE / "hypercore", SOURCE), (ENGINE, ROOT)):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            if parts[-1] != "__init__" and "testing" not in parts:
                yield ".".join(parts), ast.parse(path.read_text())


def short(module: str) -> str:
    """Its name on the page."""
    return module.removeprefix("hypercore.").removeprefix("workers.")


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
    return f"{int(value) if value == int(value) else value:,}"


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
    yield "| module | bounds |"
    yield "|---|---|"
    for module, of_module in groupby(rows, key=lambda limit: limit.module):
        bounds = ", ".join(f"`{limit.name}` {shown(limit)}" for limit in of_module)
        yield f"| `{short(module)}` | {bounds} |"


def page() -> str:
    rows = [limit for limit in limits() if not limit.is_time]
    of_engine = [limit for limit in rows if limit.module.startswith("workers.")]
    of_library = [limit for limit in rows if limit not in of_engine]
    parts = ["## Bounds\n", *table(of_library), "\n## Bounds of an engine\n", *table(of_engine)]
    return "\n".join([HEAD, BUDGETS, *parts]) + "\n"


def described(word: str) -> Iterator[str]:
    """Yield a paragraph for each bound and time with `word` in its name."""
    for limit in limits():
        name = f"{short(limit.module)}.{limit.name}"
        if word.lower() in name.lower():
            yield f"{name}  {shown(limit)}\n{indent(fill(limit.doc, 100), '    ')}"


def untested() -> list[Limit]:
    tests = "\n".join(path.read_text() for folder in TESTS for path in folder.rglob("*.py"))
    bounds = [limit for limit in limits() if not limit.is_time]
    return [limit for limit in bounds if not re.search(rf"\b{limit.name}\b", tests)]


def main(arguments: Sequence[str]) -> None:
    sys.path[:0] = [str(SOURCE), str(ROOT)]
    if list(arguments) == ["--untested"]:
        print(*(f"{limit.module}.{limit.name}" for limit in untested()), sep="\n")
    elif arguments[:1] == ["--list"] and len(arguments) <= 2:
        print(*described(*(arguments[1:] or [""])), sep="\n\n")
    elif list(arguments) == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/limits.md is not what the source says: run `python tools/limits.py`")
    elif not arguments:
        PAGE.write_text(page())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
