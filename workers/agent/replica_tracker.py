"""What is known of each replica, and what of it control was not told yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from farmwire.message import read
from farmwire.report import MAX_REPLICAS, ReplicaReport

_NEW: dict[str, Any] = {"phase": "assigned"}


class Ledger:
    """Not locked: the agent does that."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, dict[str, Any]] = {}
        self._untold: dict[str, None] = {}
        """News, the longest waiting first."""
        self._again: dict[str, None] = {}
        """What control was told before and may have lost, in the order of telling."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def has_news(self) -> bool:
        return bool(self._untold or self._again)

    def count(self, phase: str) -> int:
        return sum(fields["phase"] == phase for fields in self._known.values())

    def assign(self, keys: Iterable[str]) -> None:
        """These are to be kept, and no others."""
        wanted = dict.fromkeys(keys)
        for key in [key for key in self._known if key not in wanted]:
            if self._known[key]["phase"] not in ("removing", "removed"):
                self._put(key, {"phase": "removing"})
        for key in wanted:
            if self._known.get(key, {}).get("phase") in (None, "removing", "removed"):
                self._put(key, _NEW)

    def note(self, status: dict[str, Any]) -> None:
        """A line of the engine about a key. About one that is no longer kept, it is ignored."""
        key = status["key"]
        known = self._known.get(key)
        if known is not None and known["phase"] not in ("removing", "removed"):
            self._put(key, status)

    def rest(self) -> None:
        """Nothing is seeded for now: nobody is there, and nothing is being looked for or downloaded."""
        for key, fields in list(self._known.items()):
            if fields["phase"] in ("looking", "downloading"):
                self._put(key, fields | {"phase": "assigned", "peers": 0})
            elif fields.get("peers"):
                self._put(key, fields | {"peers": 0})

    def expire(self, keys: Iterable[str], error: str) -> None:
        """Nothing is known of these any more, since who should tell is silent."""
        for key in keys:
            fields = self._known.get(key)
            if fields is None or fields["phase"] in ("removing", "removed") or fields.get("error") == error:
                continue
            self._put(key, fields | {"phase": "error", "error": error, "peers": 0})

    def removed(self, key: str) -> None:
        """Nothing of it is stored any more. If it is wanted again by now, that is its engine's to tell."""
        if self._known.get(key, {}).get("phase") in (None, "removing"):
            self._put(key, {"phase": "removed"})

    @property
    def again(self) -> int:
        """How many wait to be told again."""
        return len(self._again)

    def tell_all(self) -> None:
        """Tell of every replica again, beside the news."""
        self._again = dict.fromkeys(key for key in self._known if key not in self._untold)

    def take(self, limit: int = MAX_REPLICAS, *, again: int = MAX_REPLICAS) -> list[ReplicaReport]:
        """Up to `limit` of what was not told, the longest waiting first; of these at most `again` of what is
        told again."""
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
            reports.append(read(self._known[key] | {"key": key, "observed_at": now}, ReplicaReport))
            if self._known[key]["phase"] == "removed":
                del self._known[key]
        return reports

    def give_back(self, reports: Iterable[ReplicaReport]) -> None:
        """These could not be sent."""
        for report in reports:
            if report.phase == "removed":
                self._known.setdefault(report.key, {"phase": "removed"})
            if report.key in self._known:
                self._untold[report.key] = None

    def _put(self, key: str, fields: dict[str, Any]) -> None:
        self._known[key] = fields
        self._untold[key] = None
        self._again.pop(key, None)
