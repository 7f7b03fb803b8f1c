"""Peers that violated the protocol, and how long they are banned.

Anyone can make new keys, so this stops broken peers only; bounds protect from hostile ones. A ban ends, since
a bug may be fixed or a disk replaced.
"""

from __future__ import annotations

from typing import NamedTuple

EXCLUSIONS = (60.0, 600.0, 3600.0, 21_600.0)
"""Seconds of a ban after the first, second … violation, and after all further ones. Ours."""

FORGIVEN_AFTER = 86_400.0
"""Seconds after the end of a ban when earlier violations no longer count."""

MAX_OFFENDERS = 4096
"""Peers with records: about 1 MB. The oldest record is dropped first."""


class _Record(NamedTuple):
    bans: int
    until: float


class Bans:
    """The record of violations. Times are seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}
        """Records by public key, the latest last."""

    def __len__(self) -> int:
        return len(self._records)

    def record(self, public_key: bytes, now: float) -> float:
        """The peer has violated the protocol. Returns the seconds of its ban."""
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
