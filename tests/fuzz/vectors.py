"""Bytes that the official packages were recorded to send: what fuzzing begins with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache

from ..support.paths import VECTORS

MAX_SEED_BYTES = 2_000

_HEX = re.compile(r"([0-9a-f]{2})+")


@cache
def recorded() -> tuple[bytes, ...]:
    """Every hex string of the golden vectors that is no longer than MAX_SEED_BYTES, in a fixed order."""
    found = {
        data for path in sorted(VECTORS.rglob("*.json")) for data in _bytes_in(json.loads(path.read_text()))
    }
    return tuple(sorted(data for data in found if len(data) <= MAX_SEED_BYTES))


def _bytes_in(value: object) -> Iterator[bytes]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _bytes_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from _bytes_in(member)
    elif isinstance(value, str) and _HEX.fullmatch(value):
        yield bytes.fromhex(value)
