"""Peers that violated the protocol, and for how long they are banned.

Keys are free, so this keeps out broken and careless peers; against the others, everything that a connection
can make grow is bounded. A ban ends: a bug is fixed, a disk replaced.
"""

from __future__ import annotations

from typing import NamedTuple

EXCLUSIONS = (60.0, 600.0, 3600.0, 21_600.0)
"""Seconds of exclusion after the first, the second … offence, and all further ones (our own choice)."""

FORGIVEN_AFTER = 86_400.0
"""Seconds after the end of an exclusion when the offences before it no longer count."""

MAX_OFFENDERS = 4096
"""Offenders that are remembered: about 1 MB. The oldest entry is dropped first."""


class _Record(NamedTuple):
    bans: int
    until: float


class Bans:
    """The record of offences. Times are seconds on any monotonic clock."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}
        """By public key, the latest offender last."""

    def __len__(self) -> int:
        return len(self._records)

    def note(self, public_key: bytes, now: float) -> float:
        """The peer has offended. Returns for how many seconds it is excluded."""
        record = self._records.pop(public_key, None)
        bans = 0 if record is None or now > record.until + FORGIVEN_AFTER else record.bans
        seconds = EXCLUSIONS[min(bans, len(EXCLUSIONS) - 1)]
        if len(self._records) >= MAX_OFFENDERS:
            del self._records[next(iter(self._records))]
        self._records[public_key] = _Record(bans + 1, now + seconds)
        return seconds

    def is_banned(self, public_key: bytes, now: float) -> bool:
        """Whether the peer is banned now."""
        record = self._records.get(public_key)
        return record is not None and now < record.until
