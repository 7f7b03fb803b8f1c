"""Drives and copies as programs read them: the objects that `--json` prints."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...registry.models import Drive, Replica


def named(drive: Drive) -> dict[str, object]:
    """A drive by its names, as each JSON object of a drive begins."""
    return {"key": drive.key, "kind": drive.kind or None, "label": drive.label}


def summary(drive: Any) -> dict[str, object]:
    """A drive (annotated by `counts.with_complete`) for programs."""
    return {
        "key": drive.key,
        "id": drive.z32,
        "kind": drive.kind or None,
        "label": drive.label,
        "title": drive.title,
        "state": drive.state,
        "health": drive.health,
        "counted": drive.counted,
        "proven_at": drive.proven_at,
        "replicas": [drive.replicas_min, drive.replicas_max],
        "complete": drive.complete,
        "length": drive.length,
        "fork": drive.fork,
        "bytes": drive.byte_length,
        "fullest_bytes": drive.fullest_bytes,
        "unavailable_bytes": drive.unavailable_bytes,
        "files": drive.files,
        "file_bytes": drive.file_bytes,
        "files_version": None if drive.files is None else drive.files_version,
        "served_bytes": drive.served_bytes,
        "served_at": drive.served_at,
        "observed_at": drive.observed_at,
        "writer_seen_at": drive.last_writer_seen_at,
        "added_at": drive.created_at,
    }


def of_copy(copy: Replica, drive: Drive, now: datetime) -> dict[str, object]:
    """A copy as `show --json` prints it."""
    from ...registry.health import counts

    return {
        "worker": copy.worker.name,
        "desired": copy.desired,
        "phase": copy.phase,
        "have_blocks": copy.have_blocks,
        "blocks": copy.total_blocks,
        "have_bytes": copy.have_bytes,
        "bytes": copy.total_bytes,
        "unavailable_blocks": copy.unavailable_blocks,
        "unavailable_bytes": copy.unavailable_bytes,
        "peers": copy.peers,
        "error": copy.error or None,
        "reported_at": copy.last_report_at,
        "proven_at": copy.last_proven_at,
        "proof_failures": copy.proof_failures,
        "counts": counts(copy, drive, now),
    }
