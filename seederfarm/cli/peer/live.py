"""The live terminal view of `seederfarm seed`: a header and the keys, redrawn from the engine's status."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import chain

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hypercore.keys import encode_key
from workers import units
from workers.engine.model.status import EngineStatus, LimitStatus, SeedStatus, State

WIDE = 112
"""Columns from which a key has one line; below, it has two."""

_STYLES = {
    State.LOOKING: "yellow",
    State.ASKING: "yellow",
    State.DOWNLOADING: "cyan",
    State.WAITING: "yellow",
    State.FLUSHING: "cyan",
    State.CHECKING: "cyan",
    State.SYNCED: "green",
    State.HELD: "red",
    State.TOO_LARGE: "red",
    State.FAILED: "red",
}
_FRAME_LINES = 9
"""Lines of the view beside the keys, at most."""


def screen(
    status: EngineStatus, labels: Mapping[bytes, str], *, width: int, height: int, data: str
) -> RenderableType:
    """The whole view for a terminal of that size. `data` is the data directory."""
    return Group(
        header(status, width),
        Text(),
        *keys(status.seeds, labels, width, height - _FRAME_LINES, unseen=status.unseen),
        Text(),
        Text(f"Ctrl-C leaves the swarm and stops. What is here stays in {data}", style="dim", no_wrap=True),
    )


def header(status: EngineStatus, width: int) -> RenderableType:
    """Identity, addresses and totals."""
    top = Table.grid(expand=True, padding=(0, 1))
    top.add_column(no_wrap=True)
    top.add_column(justify="right", no_wrap=True)
    total = status.keys
    done = "all synced" if total == status.synced else f"{status.synced:,} synced"
    sums = Text.assemble(
        ("Seeder Farm", "bold"),
        f"  {units.plural(total, 'key')}, {done} · {units.plural(status.connections, 'peer')}",
        f" · ↓ {units.format_rate(status.down)} ↑ {units.format_rate(status.up)}",
    )
    top.add_row(sums, Text(f"up {units.format_clock(status.uptime)}", style="dim"))
    # Whether others find us is unknown here, only whether we announce
    quiet = "" if status.announcing else " (not announcing)"
    identity = Text.assemble(("as ", "dim"), encode_key(status.public_key))
    where = units.format_address(status.host, status.port)
    place = Text.assemble(("at ", "dim"), where, (quiet, "dim"))
    lines: list[RenderableType] = [top]
    lines += [Text("  ").join([identity, place])] if width >= WIDE else [identity, place]
    if (blind := status.blind_peer) is not None:
        kept = f"{units.plural(blind.cores, 'core')} of {units.plural(blind.clients, 'client')}"
        lines.append(Text.assemble(("blind peer ", "dim"), f"{kept}, {units.format_size(blind.bytes)}"))
    if status.limits:
        shown = Text.assemble(("limits ", "dim"), *_limits(status.limits), no_wrap=True, overflow="ellipsis")
        lines.append(shown)
    return Group(*lines)


def _limits(limits: Sequence[LimitStatus]) -> list[Text]:
    """`↑ 1.0 of 2.0 MB/s · 9.9 of 10.0 GB stored`; limits in effect come first, highlighted."""
    parts: list[Text] = []
    for limit in sorted(limits, key=lambda limit: not limit.reached):
        shown = limit.text or units.format_limit(limit.limit, limit.value, limit.max)
        text = f"{' · ' if parts else ''}{shown}"
        parts.append(Text(text, style="yellow" if limit.reached else ""))
    return parts


def keys(
    seeds: Sequence[SeedStatus], labels: Mapping[bytes, str], width: int, height: int, *, unseen: int = 0
) -> list[RenderableType]:
    """The keys, busy ones first when not all fit. `unseen` others are only counted."""
    wide = width >= WIDE
    room = max(1, height - (2 if wide else 1)) // (1 if wide else 2)
    hidden = unseen + max(0, len(seeds) - room)
    if len(seeds) > room:
        seeds = heapq.nsmallest(room, seeds, key=_interest)
    body: RenderableType = _wide(seeds, labels) if wide else _narrow(seeds, labels, width)
    if not hidden:
        return [body]
    return [body, Text(f"… and {units.plural(hidden, 'more key')}", style="dim")]


def _interest(seed: SeedStatus) -> tuple[bool, bool, bytes]:
    moving = seed.down >= 1 or seed.up >= 1
    return (seed.state is State.SYNCED, not moving, seed.key)


def _kind(seed: SeedStatus) -> str:
    return seed.kind.value if seed.kind else "?"


def _state(seed: SeedStatus) -> Text:
    if seed.quarantined is not None and seed.state is State.SYNCED:
        return Text(f"fork {seed.quarantined} held off", style="yellow")
    if seed.unavailable_blocks and seed.state is State.SYNCED:
        return Text("synced, with gaps", style="green")
    return Text(seed.state.value, style=_STYLES[seed.state])


def _bar(seed: SeedStatus, width: int | None) -> RenderableType:
    fraction = seed.fraction
    if fraction is None:
        return Text("·" * (width or 20), style="dim", no_wrap=True, overflow="crop")
    done = "green" if seed.state is State.SYNCED else "cyan"
    return ProgressBar(
        total=1.0, completed=fraction, width=width, complete_style=done, finished_style=done, style="grey30"
    )


def _percent(seed: SeedStatus) -> str:
    return "" if seed.fraction is None else units.format_percent(seed.fraction)


def _wide(seeds: Sequence[SeedStatus], labels: Mapping[bytes, str]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("kind", no_wrap=True)
    table.add_column("key", no_wrap=True)
    table.add_column("progress", ratio=1, min_width=12, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    # Their usual width, so that columns do not move.
    for name, width in (("blocks", 13), ("bytes", 16), ("peers", 5), ("↓", 9), ("↑", 9)):
        table.add_column(name, justify="right", min_width=width, no_wrap=True)
    table.add_column("state", min_width=17, no_wrap=True)
    for seed in seeds:
        table.add_row(
            _kind(seed),
            labels[seed.key],
            _bar(seed, None),
            _percent(seed),
            units.format_count_of(seed.have_blocks, seed.blocks).replace(" of ", "/"),
            units.format_have_of(seed.have_bytes, seed.bytes),
            str(seed.peers),
            units.format_rate(seed.down),
            units.format_rate(seed.up),
            _state(seed),
        )
    return table


def _narrow(seeds: Sequence[SeedStatus], labels: Mapping[bytes, str], width: int) -> Group:
    return Group(*chain.from_iterable(_two_lines(seed, labels[seed.key], width) for seed in seeds))


def _two_lines(seed: SeedStatus, label: str, width: int) -> tuple[RenderableType, RenderableType]:
    first = Table.grid(padding=(0, 1), expand=True)
    first.add_column(width=5, no_wrap=True)
    first.add_column(width=12, no_wrap=True)
    first.add_column(ratio=1, no_wrap=True)
    first.add_column(width=4, justify="right", no_wrap=True)
    first.add_column(width=17, no_wrap=True)
    first.add_row(_kind(seed), label, _bar(seed, None), _percent(seed), _state(seed))
    facts = [
        f"{units.format_count_of(seed.have_blocks, seed.blocks)} blocks",
        units.format_have_of(seed.have_bytes, seed.bytes),
        units.plural(seed.peers, "peer"),
        f"↓ {units.format_rate(seed.down)} ↑ {units.format_rate(seed.up)}",
    ]
    if not seed.blocks:
        del facts[:2]
    return first, Text(" " * 6 + " · ".join(facts), style="dim", no_wrap=True, overflow="ellipsis")
