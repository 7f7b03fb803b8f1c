"""Bends inputs: a small, deterministic mutation fuzzer for hours when nothing better is installed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

MAX_INPUT_BYTES = 8_000

EDGES = (0, 1, 0x7F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF)
"""Bytes at which something begins: compact integers change their length at 0xfd, 0xfe and 0xff."""


def bent(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """An input: random bytes, or some of the seeds with a few changes."""
    if not seeds or rng.random() < 0.1:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(6)):
        _bend(rng, data, seeds)
    return bytes(data[:MAX_INPUT_BYTES])


def _bend(rng: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(7):
        case 0:
            data[at : at + 1] = bytes([rng.choice(EDGES)])
        case 1:
            data[at : at + 1] = rng.randbytes(1)
        case 2:
            del data[at:]
        case 3:
            del data[at : at + rng.randrange(1, 40)]
        case 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        case 5:  # the largest number that a compact integer can say
            data[at : at + 1] = b"\xff" + rng.choice((b"\xff" * 8, b"\xff" * 6 + b"\x1f\x00", bytes(8)))
        case _:  # the end of one input behind the beginning of another
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other) + 1) :]
