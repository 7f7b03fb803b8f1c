"""Reports of keys to the parent: phase, amounts, errors."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from farmwire.message import to_builtins
from farmwire.report import Phase, ReplicaFacts, ReplicaStatus

from ..model.status import SeedStatus, State
from ..seeds.file_counts import Files
from .event_facts import MAX_ERROR, EventFacts

PHASES = {
    State.LOOKING: Phase.LOOKING,
    State.ASKING: Phase.LOOKING,
    State.WAITING: Phase.LOOKING,
    State.DOWNLOADING: Phase.DOWNLOADING,
    State.FLUSHING: Phase.DOWNLOADING,
    State.CHECKING: Phase.DOWNLOADING,
    State.SYNCED: Phase.COMPLETE,
    State.HELD: Phase.ERROR,
    State.TOO_LARGE: Phase.ERROR,
    State.FAILED: Phase.ERROR,
}
FIELDS = ReplicaFacts.__struct_fields__


class ReplicaReports:
    """Makes reports from statuses and facts, and returns those that changed."""

    def __init__(self, facts: EventFacts) -> None:
        self._facts = facts
        self._reported: dict[bytes, tuple[object, ...]] = {}

    def remove(self, key: bytes) -> None:
        """Drop the last report of a key: if it is added again, it is reported anew."""
        self._reported.pop(key, None)

    def changes(
        self, statuses: tuple[SeedStatus, ...], *, everything: bool = False, no_room: str = ""
    ) -> list[dict[str, Any]]:
        """Reports that changed since the last call. `no_room` is the error text of seeds stopped by the disk
        limit."""
        changed = []
        for status in statuses:
            facts = self._facts.of(status.key)
            full = replace(
                status,
                error=facts.error,
                attempts=facts.attempts,
                title=facts.title,
                writer_seen_at=facts.grown_at,
                **({} if facts.files is None else _of_files(facts.files)),
            )
            reported = (full.state, full.kind, *(getattr(full, name) for name in FIELDS))
            if everything or reported != self._reported.get(status.key):
                self._reported[status.key] = reported
                held = status.state is State.HELD
                changed.append(_to_json(replace(full, error=no_room[:MAX_ERROR]) if held else full))
        return changed


def _of_files(files: Files) -> dict[str, Any]:
    return {"files": files.number, "file_bytes": files.bytes, "files_version": files.version}


def _to_json(status: SeedStatus) -> dict[str, Any]:
    return to_builtins(
        ReplicaStatus(
            key=status.key.hex(),
            phase=PHASES[status.state],
            kind=None if status.kind is None else status.kind.value,
            **{name: getattr(status, name) for name in FIELDS},
        )
    )
