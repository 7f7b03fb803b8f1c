"""Missing blocks of a core, summarised for `farmwire.gaps`."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

from farmwire.gaps import BUCKETS, MAX_RUNS, CoreGaps
from hypercore.bitfield import Bitfield

MAX_DIGESTED = 1 << 24
"""Blocks of the longest core of which a digest is made: 2 MiB of bits, hashed in about 3 ms. Ours."""

DIGEST_BYTES = 16


def gaps_of(have: Bitfield, length: int) -> CoreGaps:
    """Gaps of a core of `length` blocks, of which `have` are stored. Takes a few milliseconds at most."""
    runs: list[int] = []
    at = have.first_unset(0, length)
    while at is not None and len(runs) < 2 * MAX_RUNS:
        end = have.first_set(at, length)
        runs += (at, length if end is None else end)
        at = None if end is None else have.first_unset(end, length)
    if at is None:
        return CoreGaps(length=length, runs=runs)
    return CoreGaps(length=length, runs=_buckets(have, length), exact=False, digest=_digest(have, length))


def _buckets(have: Bitfield, length: int) -> list[int]:
    """The parts of the core with missing blocks, joined where they touch."""
    bounds = [length * number // BUCKETS for number in range(BUCKETS + 1)]
    runs: list[int] = []
    for start, end in pairwise(bounds):
        if start < end and have.first_unset(start, end) is not None:
            if runs and runs[-1] == start:
                runs[-1] = end
            else:
                runs += (start, end)
    return runs


def _digest(have: Bitfield, length: int) -> str:
    if length > MAX_DIGESTED:
        return ""
    return blake2b(have.words(0, length), digest_size=DIGEST_BYTES).hexdigest()
