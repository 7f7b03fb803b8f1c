"""The kinds of events that the farm records."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

_ENGINE: Final = (
    "blobs_unknown", "block_damaged", "bootstrap_silent", "bootstrap_unresolved", "conflict", "engine_ended",
    "engine_hung", "engine_ready", "fork_quarantined", "internal_error", "network_reached",
    "network_unusable", "no_room", "one_writer", "peer_backoff", "refused", "room_again", "storage_error",
    "storage_full", "storage_locked", "storage_read_only", "storage_unreadable", "synced", "too_many_blocks",
    "too_many_cores",
)  # fmt: skip
"""Those that workers report: notices of their own, and codes of errors of an engine."""

EVENT_KINDS: Final = frozenset(
    {
        "broker.budget", "broker.refused",
        "control.refused", "control.rejected",
        "drive.expired", "drive.expiry_held", "drive.proof", "drive.unplaced",
        "plan.applied",
        "replica.assigned", "replica.complete", "replica.downloading", "replica.error", "replica.released",
        "replica.removed", "replica.unproven",
        "source.changed", "source.failed", "source.held", "source.recovered", "source.refused",
        "worker.active", "worker.draining", "worker.joined", "worker.lost", "worker.many_events",
        "worker.refused", "worker.renamed", "worker.retired", "worker.returned", "worker.two_machines",
        *(f"engine.{code}" for code in _ENGINE),
    }
)  # fmt: skip


def listed(kinds: Iterable[str]) -> str:
    """Kinds as lines of text, one for each first word."""
    groups = groupby(sorted(kinds), key=lambda kind: kind.partition(".")[0])
    return "\n".join(", ".join(group) for _, group in groups)
