"""What is measured: loads, and which pairs carry each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.link import Line
from benchmarks.pairs import DOWN, OFFICIAL, OURS, PAIRS, UP, Load

MIB = 1 << 20
KIB = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One or several loads, and the pairs that take turns with each."""

    about: str
    pairs: Sequence[str]
    loads: Sequence[Load]


def _load(name: str, block: int, mib: int, receivers: int = 1, line: Line | None = None) -> Load:
    return Load(name=name, block=block, blocks=mib * MIB // block, receivers=receivers, line=line)


SCENARIOS = {
    "pair": Scenario(
        about="blocks of 64 KiB over loopback, ours as receiver and as sender",
        pairs=(OFFICIAL, DOWN, UP),
        loads=[_load("64 KiB blocks", 64 * KIB, 256)],
    ),
    "ours": Scenario(
        about="the same, ours at both ends",
        pairs=(OFFICIAL, OURS),
        loads=[_load("64 KiB blocks, both ends", 64 * KIB, 256)],
    ),
    "readers": Scenario(
        about="eight official readers of one sender at once",
        pairs=(OFFICIAL, UP),
        loads=[_load("eight readers", 64 * KIB, 32, receivers=8)],
    ),
    "blocks": Scenario(
        about="blocks of 1 MiB and of 4 KiB",
        pairs=(OFFICIAL, DOWN, UP),
        loads=[_load("1 MiB blocks", MIB, 256), _load("4 KiB blocks", 4 * KIB, 32)],
    ),
    "lossy": Scenario(
        about="a line with a round trip of 40 ms that loses 1 % each way",
        pairs=PAIRS,
        loads=[_load("40 ms, 1 % loss", 64 * KIB, 64, line=Line())],
    ),
}


def chosen(names: Sequence[str]) -> Iterator[Scenario]:
    """The scenarios of these names; `all` is every one."""
    yield from (SCENARIOS[name] for name in (SCENARIOS if "all" in names else dict.fromkeys(names)))
