"""The status of each replica, and which of it must be reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec.structs import asdict, replace

from farmwire.report import MAX_REPLICAS, Phase, ReplicaReport, ReplicaStatus

_GOING = (Phase.REMOVING, Phase.REMOVED)


class ReplicaTracker:
    """The replicas as last reported by engines, and those that changed since. Not thread-safe: the agent
    locks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, ReplicaStatus] = {}
        self._untold: dict[str, None] = {}
        """Changes to report, the longest waiting first."""
        self._again: dict[str, None] = {}
        """Replicas to report again, in the order of the last reports."""

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    @property
    def waiting(self) -> int:
        """Number of replicas whose changes wait to be reported."""
        return len(self._untold)

    @property
    def has_news(self) -> bool:
        """Whether a replica waits to be reported, changed or not."""
        return bool(self._untold or self._again)

    def count(self, phase: Phase) -> int:
        """Return the number of replicas in this phase."""
        return sum(known.phase is phase for known in self._known.values())

    def assign(self, keys: Iterable[str]) -> None:
        """Set the keys to keep; others are dropped."""
        wanted = dict.fromkeys(keys)
        for key in [key for key in self._known if key not in wanted]:
            if self._known[key].phase not in _GOING:
                self._put(ReplicaStatus(key=key, phase=Phase.REMOVING))
        for key in wanted:
            if self._phase(key) in (None, *_GOING):
                self._put(ReplicaStatus(key=key, phase=Phase.ASSIGNED))

    def record(self, status: ReplicaStatus) -> None:
        """Take an engine's status of a key. Ignored if the key is no longer kept."""
        if self._phase(status.key) not in (None, *_GOING):
            self._put(status)

    def rest(self) -> None:
        """Mark every replica as paused: no peers, no lookups, no downloads."""
        for known in list(self._known.values()):
            if known.phase in (Phase.LOOKING, Phase.DOWNLOADING):
                self._put(replace(known, phase=Phase.ASSIGNED, peers=0))
            elif known.peers:
                self._put(replace(known, peers=0))

    def expire(self, keys: Iterable[str], error: str) -> None:
        """Mark replicas of a silent engine as errors."""
        for key in keys:
            known = self._known.get(key)
            if known is None or known.phase in _GOING or known.error == error:
                continue
            self._put(replace(known, phase=Phase.ERROR, error=error, peers=0))

    def removed(self, key: str) -> None:
        """The key's blocks are deleted. If it is assigned again by now, its engine reports it."""
        if self._phase(key) in (None, Phase.REMOVING):
            self._put(ReplicaStatus(key=key, phase=Phase.REMOVED))

    @property
    def again(self) -> int:
        """Number of replicas that wait to be reported again."""
        return len(self._again)

    def report_all(self) -> None:
        """Report every replica again, after the changes."""
        self._again = dict.fromkeys(key for key in self._known if key not in self._untold)

    def take(self, limit: int = MAX_REPLICAS, *, again: int = MAX_REPLICAS) -> list[ReplicaReport]:
        """Up to `limit` reports, the longest waiting first; at most `again` of them unchanged ones."""
        keys = list(islice(self._untold, limit))
        for key in keys:
            del self._untold[key]
        for key in list(islice(self._again, max(0, min(again, limit - len(keys))))):
            del self._again[key]
            if key in self._known and key not in self._untold and key not in keys:
                keys.append(key)
        reports = []
        now = self._clock()
        for key in keys:
            reports.append(ReplicaReport(**asdict(self._known[key]), observed_at=now))
            if self._known[key].phase is Phase.REMOVED:
                del self._known[key]
        return reports

    def requeue(self, reports: Iterable[ReplicaReport]) -> None:
        """Requeue reports that could not be sent."""
        for report in reports:
            if report.phase is Phase.REMOVED:
                self._known.setdefault(report.key, ReplicaStatus(key=report.key, phase=Phase.REMOVED))
            if report.key in self._known:
                self._untold[report.key] = None

    def _phase(self, key: str) -> Phase | None:
        known = self._known.get(key)
        return None if known is None else known.phase

    def _put(self, status: ReplicaStatus) -> None:
        key = status.key
        self._known[key] = status
        self._untold[key] = None
        self._again.pop(key, None)
