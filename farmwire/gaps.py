"""Describes the blocks that a replica lacks, in bounded size, and whether other replicas of the key have
them.

A replica is described by the gaps of its cores: runs of missing blocks. Up to MAX_RUNS they are exact. Beyond
that the core is divided into BUCKETS equal parts, each listed if any block of it is missing, so that blocks
outside are certainly stored; a digest of all blocks identifies replicas that have the same.

Every doubt counts as "it may have blocks that no other has".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from .message import Count, Message

MAX_RUNS: Final = 256
"""Exact runs of a core. Ours: 256 runs of a core of a million blocks take 4 KB of JSON."""
BUCKETS: Final = 64
"""Parts of a core with more gaps than that. Ours."""
MAX_CORES: Final = 2
"""Cores of a key: a drive has two."""

Run = tuple[int, int]
"""First block, and the block behind the last."""


class CoreGaps(Message, frozen=True, kw_only=True):
    """Gaps of one core. `runs` are start, end, start, end, …, in order."""

    length: Count
    """Blocks of the core, stored or missing."""
    runs: Annotated[list[Count], Meta(max_length=2 * MAX_RUNS)] = []
    exact: bool = True
    """True: exactly these are missing. False: some of these are missing and no others."""
    digest: Annotated[str, Meta(max_length=32)] = ""
    """Hex; equal for two replicas of the core with the same blocks. Empty: not known."""


Gaps = tuple[CoreGaps, ...]
"""Of a key, first the core that it names. Empty: nothing is missing."""

_LIST: Final = msgspec.json.Decoder(Annotated[list[CoreGaps], Meta(max_length=MAX_CORES)])


def to_text(gaps: Sequence[CoreGaps]) -> str:
    """Serialise for a database column; empty if nothing is missing."""
    return msgspec.json.encode(list(gaps)).decode() if gaps else ""


def from_text(text: str) -> Gaps:
    """The reverse of `to_text`. Raises ValueError for other text."""
    try:
        return tuple(_LIST.decode(text)) if text else ()
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


class Holding(NamedTuple):
    """The blocks of a replica."""

    fork: int
    length: int
    """Blocks of the core that the key names."""
    blocks: int
    """Blocks of all cores."""
    have: int
    """Blocks that are stored."""
    gaps: Gaps = ()

    @property
    def whole(self) -> bool:
        """Whether it has every block of the newest head it knows."""
        return self.have >= self.blocks

    @property
    def known(self) -> bool:
        """Whether its gaps are known."""
        return self.whole or bool(self.gaps)


def covers(one: Holding, other: Holding) -> bool:
    """Whether `one` certainly has every block that `other` may have."""
    if other.have == 0:
        return True
    if not one.known or one.fork != other.fork:
        return one.whole and one.have > 0 and one.fork > other.fork
    ours, theirs = _cores(one), _cores(other)
    if len(ours) < len(theirs):
        return False
    return all(_core_covers(a, b) for a, b in zip(ours, theirs, strict=False))


def stands_in(one: Holding, other: Holding, *, complete: bool, other_complete: bool) -> bool:
    """Whether `one` can replace `other`: it covers it, and is complete unless both are incomplete and have
    blocks."""
    return covers(one, other) and (complete or (not other_complete and one.have > 0 and other.have > 0))


def gaps_left(holdings: Sequence[Holding]) -> int | None:
    """Return the number of blocks of the longest of these replicas that none of them has, or None if
    unknown."""
    if not holdings:
        return None
    fork = max(one.fork for one in holdings)
    newest = [one for one in holdings if one.fork == fork]
    if any(not one.known for one in newest):
        return None
    if any(not core.exact for one in newest for core in one.gaps):
        whole = max(newest, key=lambda one: (one.length, one.blocks))
        return 0 if whole.whole else None
    sides = [_cores(one) for one in newest]
    left = 0
    for number in range(max(map(len, sides))):
        cores = [side[number] for side in sides if len(side) > number]
        length = max(core.length for core in cores)
        missing: list[Run] = [(0, length)]
        for core in cores:
            missing = list(_common(missing, [*_runs(core), (core.length, length)]))
        left += sum(end - start for start, end in missing)
    return left


def agree(gaps: Sequence[CoreGaps], *, length: int, blocks: int) -> bool:
    """Whether these can be gaps of a replica with `length` blocks in its first core and `blocks` in all."""
    return bool(gaps) and gaps[0].length == length and sum(core.length for core in gaps) == blocks


def max_held(gaps: Sequence[CoreGaps]) -> int:
    """The largest number of blocks that a replica with these gaps can have."""
    return sum(core.length - _min_missing(core) for core in gaps)


def _min_missing(core: CoreGaps) -> int:
    runs = _runs(core)
    return sum(end - start for start, end in runs) if core.exact else len(runs)


def held_runs(core: CoreGaps) -> list[Run]:
    """The runs of blocks that are certainly stored."""
    bounds = [0, *(at for run in _runs(core) for at in run), core.length]
    return [(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end]


def may_lack(core: CoreGaps, block: int) -> bool:
    """Whether `block` may be missing."""
    return block >= core.length or any(start <= block < end for start, end in _runs(core))


def _cores(holding: Holding) -> Sequence[CoreGaps]:
    if holding.gaps:
        return holding.gaps
    main = CoreGaps(length=holding.length)
    second = holding.blocks - holding.length
    return [main, CoreGaps(length=second)] if second > 0 else [main]


def _runs(core: CoreGaps) -> list[Run]:
    """Validated runs; for invalid ones, a run over the whole core."""
    numbers = core.runs
    ordered = all(a < b for a, b in pairwise(numbers)) and len(numbers) % 2 == 0
    if not ordered or (numbers and numbers[-1] > core.length):
        return [(0, core.length)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _core_covers(ours: CoreGaps, theirs: CoreGaps) -> bool:
    if ours.digest and ours == theirs:  # compare the runs as well: a copied digest alone proves no blocks
        return True
    lacking = _runs(ours)
    if ours.length < theirs.length:
        lacking.append((ours.length, theirs.length))
    lacking = [(start, min(end, theirs.length)) for start, end in lacking if start < theirs.length]
    if not theirs.exact:
        return not lacking
    missing = _joined(_runs(theirs))
    return all(_inside(run, missing) for run in _joined(lacking))


def _inside(run: Run, runs: Sequence[Run]) -> bool:
    """Whether one of `runs`, which do not touch, contains `run`."""
    at = bisect_right(runs, run[0], key=itemgetter(0)) - 1
    return at >= 0 and run[1] <= runs[at][1]


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Merge runs that touch."""
    joined: list[Run] = []
    for start, end in runs:
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _common(one: Sequence[Run], other: Sequence[Run]) -> Iterator[Run]:
    """The intersection of two ordered lists of runs without overlaps."""
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            yield start, end
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
