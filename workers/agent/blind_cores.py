"""What the worker's blind peer keeps for clients, and which of it must be reported."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from farmwire.assignment import AssignmentEntry
from farmwire.blind_cores import MAX_BLIND_CORES, MAX_CORES_OF_WORKER, BlindCore
from farmwire.message import Count, Key, Message, Seconds, decode
from farmwire.report import Phase, ReplicaStatus


class KeptCore(Message, frozen=True, kw_only=True):
    """A core of a `blind_cores` line of an engine."""

    key: Key
    client: Key | None = None
    """None: nothing of it is kept."""
    announced: bool = False
    length: Count = 0
    fork: Count = 0
    have_blocks: Count = 0
    have_bytes: Count = 0
    bytes: Count = 0
    active_at: Seconds | None = None

    @property
    def complete(self) -> bool:
        """Whether all known blocks are stored."""
        return self.have_blocks >= self.length

    def status(self) -> ReplicaStatus:
        """The core as a replica. An incomplete one waits for its client, or another peer."""
        return ReplicaStatus(
            key=self.key,
            phase=Phase.COMPLETE if self.complete else Phase.LOOKING,
            kind="core",
            length=self.length,
            fork=self.fork,
            blocks=self.length,
            have_blocks=min(self.have_blocks, self.length),
            bytes=max(self.bytes, self.have_bytes),
            have_bytes=self.have_bytes,
        )


class BlindCores:
    """Compares what is kept with what control has registered: the marked entries of the assignment.

    A core is reported when it is first complete, when its client or announcement changes, and when it is kept
    no longer; all of them again from time to time, since reports may be lost. Not thread-safe: the agent
    locks.
    """

    def __init__(self, *, enabled: bool) -> None:
        """`enabled`: the worker is a blind peer. Otherwise what is registered is reported as gone."""
        self._kept: dict[str, KeptCore] = {}
        self._list: dict[str, KeptCore] = {}
        """Of the lines so far of a whole list."""
        self._is_known = not enabled
        """Whether a whole list has come."""
        self._registered: dict[str, bool] = {}
        """Keys that control has registered, and whether the engine seeds them, too."""
        self._changed: dict[str, None] = {}
        self._again: dict[str, None] = {}

    def is_only_kept(self, key: str) -> bool:
        """Whether the key is assigned only because the blind peer keeps it."""
        return self._registered.get(key) is False

    @property
    def again(self) -> int:
        """Number of cores that wait to be reported again."""
        return len(self._again)

    def assign(self, entries: Iterable[AssignmentEntry]) -> list[str]:
        """Take an assignment. Returns the keys that were assigned only because they are kept, and are not
        assigned any more."""
        before = [key for key in self._registered if self.is_only_kept(key)]
        entries = list(entries)
        self._registered = {entry.key: entry.seeded for entry in entries if entry.blind_peer}
        self._report_gone()
        assigned = {entry.key for entry in entries}
        return [key for key in before if key not in assigned]

    def take_line(self, cores: Iterable[object], *, first: bool, more: bool) -> None:
        """Take a `blind_cores` line. Raises MessageRejected for one that is malformed."""
        found = [decode(fields, KeptCore) for fields in cores]
        if not first:
            for core in found:
                self._put(core)
            return
        for core in found:
            if core.key in self._registered or len(self._list) < MAX_CORES_OF_WORKER:
                self._list[core.key] = core
        if not more:
            self._kept, self._list, self._is_known = self._list, {}, True
            self.report_all()
            self._report_gone()

    def _put(self, core: KeptCore) -> None:
        before = self._kept.get(core.key)
        if core.client is None:
            self._list.pop(core.key, None)
            if self._kept.pop(core.key, None) is not None or core.key in self._registered:
                self._changed[core.key] = None
            return
        if before is None and len(self._kept) >= MAX_CORES_OF_WORKER and core.key not in self._registered:
            return
        self._kept[core.key] = core
        same = before is not None and (before.client, before.announced) == (core.client, core.announced)
        if not (same and core.key in self._registered):
            self._changed[core.key] = None

    def _report_gone(self) -> None:
        """Report what is registered, and not kept."""
        if self._is_known:
            self._changed.update(dict.fromkeys(key for key in self._registered if key not in self._kept))

    def report_all(self) -> None:
        """Report every core again, after the changes."""
        if self._is_known:
            self._again = dict.fromkeys(key for key in {**self._registered, **self._kept})

    def statuses(self, keys: Iterable[str] | None = None) -> list[ReplicaStatus]:
        """The replicas that are only kept: all, or those of these keys."""
        chosen = list(self._registered) if keys is None else keys
        return [self._kept[key].status() for key in chosen if self.is_only_kept(key) and key in self._kept]

    def take(self, limit: int = MAX_BLIND_CORES, *, again: int = MAX_BLIND_CORES) -> list[BlindCore]:
        """Up to `limit` reports, at most `again` of them of what has not changed."""
        keys = list(islice(self._changed, limit))
        for key in keys:
            del self._changed[key]
        for key in list(islice(self._again, max(0, min(again, limit - len(keys))))):
            del self._again[key]
            if key not in keys:
                keys.append(key)
        return [report for key in keys if (report := self._report(key)) is not None]

    def _report(self, key: str) -> BlindCore | None:
        core = self._kept.get(key)
        if core is None:
            return BlindCore(key=key)
        if core.complete or key in self._registered:
            return BlindCore(key=key, client=core.client, announced=core.announced, active_at=core.active_at)
        return None  # what no client completes needs no row

    def requeue(self, reports: Iterable[BlindCore]) -> None:
        """Report these again: they could not be sent."""
        self._changed.update(dict.fromkeys(report.key for report in reports))
