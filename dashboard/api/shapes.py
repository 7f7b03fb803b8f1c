"""The shapes of answers. Times are UTC in ISO 8601, sizes whole bytes, keys z-base-32 with hex beside."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field

from seederfarm.registry.health import Health, counts
from seederfarm.registry.models import Alert, AuditEntry, Drive, Event, Replica, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.urls import without_secrets
from seederfarm.registry.verdict import Verdict

Kind = Literal["core", "bee", "drive"]
SourceKind = Literal["http", "bee", "file"]
S = TypeVar("S", bound=BaseModel)


def of_row(shape: type[S], row: Any, **values: Any) -> S:
    """The shape with these values. Its other fields are attributes of the row with the same names."""
    same = {name: getattr(row, name) for name in shape.model_fields if name not in values}
    return shape(**same, **values)


class DriveRef(BaseModel):
    """A drive that something else names."""

    key: str
    hex: str
    name: str = Field(description="Its label, else its title, else its key shortened.")

    @classmethod
    def of(cls, drive: Drive) -> DriveRef:
        """The reference to a drive."""
        return cls(key=drive.z32, hex=drive.key, name=str(drive))

    @classmethod
    def of_optional(cls, drive: Drive | None) -> DriveRef | None:
        """The reference to a drive, if there is one."""
        return None if drive is None else cls.of(drive)


class WorkerRef(BaseModel):
    """A worker that something else names."""

    id: str
    name: str

    @classmethod
    def of(cls, worker: Worker) -> WorkerRef:
        """The reference to a worker."""
        return cls(id=worker.node_id, name=worker.name)

    @classmethod
    def of_optional(cls, worker: Worker | None) -> WorkerRef | None:
        """The reference to a worker, if there is one."""
        return None if worker is None else cls.of(worker)


class Copies(BaseModel):
    """Numbers of copies of a drive."""

    min: int = Field(description="Copies at least: the farm repairs when fewer count.")
    max: int = Field(description="Copies at most: the farm makes this many where there is room.")
    assigned: int
    complete: int
    counted: int = Field(description="Complete, proven lately and online: these make a drive safe.")


class DriveShape(BaseModel):
    """A drive as lists have it."""

    key: str = Field(description="z-base-32.")
    hex: str
    kind: Kind | None = Field(description="Null: not seen yet.")
    label: str = Field(description="What you call it.")
    title: str = Field(description="What its publisher calls it.")
    state: Health
    wanted_state: Literal["active", "paused", "removing"] = Field(description="What a person set.")
    tags: list[str]
    copies: Copies
    bytes: int | None = Field(description="Of all its cores.")
    length: int | None = Field(description="Blocks of its own core: the version.")
    fork: int | None
    fullest_bytes: int | None = Field(description="Bytes that the fullest copy has.")
    peers: int = Field(description="Connected to its copies.")
    files: int | None = Field(description="Files of a drive. Null: not counted, or too many to count.")
    file_bytes: int | None = Field(description="Of these files.")
    files_version: int | None = Field(description="The version that they were counted in.")
    served_bytes: int = Field(description="Bytes that its copies have sent to peers; 0: never read.")
    served_at: datetime | None
    proven_at: datetime | None = Field(description="The oldest proof among the copies that count.")
    priority: int = Field(description="0 (first) to 9.")
    required_tags: list[str] = Field(description="Only workers with all of these get it.")
    pinned_workers: list[WorkerRef]
    max_fork: int | None = Field(description="Copies follow rewritten histories up to it. Null: any.")
    note: str
    public: bool = Field(description="Whether anyone sees its page at /p/KEY/.")
    added_at: datetime
    changed_at: datetime
    observed_at: datetime | None = Field(description="When the newest version was first seen.")
    writer_seen_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def values(cls, drive: Any) -> dict[str, Any]:
        """Values of a drive with `reads.drives.with_columns`, its tags and pinned workers prefetched."""
        return {
            "key": drive.z32,
            "hex": drive.key,
            "kind": drive.kind or None,
            "label": drive.label,
            "title": drive.title,
            "state": drive.health,
            "wanted_state": drive.state,
            "tags": [tag.name for tag in drive.tags.all()],
            "copies": Copies(
                min=drive.replicas_min,
                max=drive.replicas_max,
                assigned=drive.copies,
                complete=drive.complete,
                counted=drive.counted,
            ),
            "bytes": drive.byte_length,
            "length": drive.length,
            "fork": drive.fork,
            "fullest_bytes": drive.have_bytes,
            "peers": drive.peers,
            "files": drive.files,
            "file_bytes": drive.file_bytes,
            "files_version": None if drive.files is None else drive.files_version,
            "served_bytes": drive.served_bytes,
            "served_at": drive.served_at,
            "proven_at": drive.proven_at,
            "priority": drive.priority,
            "required_tags": drive.required_tags,
            "pinned_workers": [WorkerRef.of(worker) for worker in drive.pinned_workers.all()],
            "max_fork": drive.max_fork,
            "note": drive.note,
            "public": drive.public,
            "added_at": drive.created_at,
            "changed_at": drive.updated_at,
            "observed_at": drive.observed_at,
            "writer_seen_at": drive.last_writer_seen_at,
            "expires_at": drive.expires_at,
        }

    @classmethod
    def of(cls, drive: Any) -> DriveShape:
        """The shape of a row of `queries.with_copies`."""
        return cls(**cls.values(drive))


class Offline(BaseModel):
    """Whether the publisher may go offline, and why."""

    safe: bool
    text: str
    reason: str
    counted: int
    needed: int
    proven_at: datetime | None

    @classmethod
    def of(cls, verdict: Verdict, now: datetime) -> Offline:
        """The shape of a verdict; ages in its text are counted from `now`."""
        return cls(
            safe=verdict.is_safe,
            text=verdict.sentence(now),
            reason=verdict.reason,
            counted=verdict.counted,
            needed=verdict.wanted,
            proven_at=verdict.proven_at,
        )


class CopyShape(BaseModel):
    """A copy of a drive on a worker. Sizes are in bytes."""

    drive: DriveRef
    worker: WorkerRef
    phase: str = Field(description="assigned, looking, downloading, complete, error, removing or removed.")
    desired: bool = Field(description="False: released, the worker deletes it.")
    counts: bool = Field(description="One of those that make the drive safe.")
    length: int
    fork: int
    have_blocks: int
    blocks: int
    have_bytes: int
    bytes: int
    unavailable_blocks: int = Field(description="Missing, and no peer is known to have them.")
    unavailable_bytes: int
    peers: int
    error: str | None
    assigned_at: datetime
    reported_at: datetime | None
    completed_at: datetime | None
    proven_at: datetime | None
    proof_failures: int = Field(description="In a row.")

    @classmethod
    def of(cls, copy: Replica, now: datetime) -> CopyShape:
        """The shape of a copy; whether it counts depends on `now`."""
        return cls(
            drive=DriveRef.of(copy.drive),
            worker=WorkerRef.of(copy.worker),
            phase=copy.phase,
            desired=copy.desired,
            counts=counts(copy, copy.drive, now),
            length=copy.length,
            fork=copy.fork,
            have_blocks=copy.have_blocks,
            blocks=copy.total_blocks,
            have_bytes=copy.have_bytes,
            bytes=copy.total_bytes,
            unavailable_blocks=copy.unavailable_blocks,
            unavailable_bytes=copy.unavailable_bytes,
            peers=copy.peers,
            error=copy.error or None,
            assigned_at=copy.created_at,
            reported_at=copy.last_report_at,
            completed_at=copy.completed_at,
            proven_at=copy.last_proven_at,
            proof_failures=copy.proof_failures,
        )


class ClientOfDriveShape(BaseModel):
    """A client of a blind peer that has the drive kept: its owner."""

    key: str = Field(description="Public key of the client, z-base-32.")
    worker: str = Field(description="Worker whose blind peer keeps it.")


class DriveDetail(DriveShape):
    """A drive with what only its own address shows."""

    offline: Offline
    sources: list[str] = Field(description="Names of the sources that list it.")
    clients: list[ClientOfDriveShape] = Field(description="Clients of blind peers that have it kept.")
    added_manually: bool


class DayShape(BaseModel):
    """Seconds of one day, UTC. What is missing was waiting, paused or before it was added."""

    day: date
    safe: int
    at_risk: int = Field(description="At risk, rewritten or copying.")
    unavailable: int


class EventShape(BaseModel):
    """An event of the flight recorder."""

    id: int
    at: datetime
    kind: str = Field(description="A stable word such as `replica.complete`.")
    severity: Severity
    text: str
    drive: DriveRef | None
    worker: WorkerRef | None

    @classmethod
    def of(cls, event: Event) -> EventShape:
        """The shape of an event."""
        return cls(
            id=event.pk,
            at=event.at,
            kind=event.kind,
            severity=Severity(event.severity),
            text=event.text,
            drive=DriveRef.of_optional(event.drive),
            worker=WorkerRef.of_optional(event.worker),
        )


class AlertShape(BaseModel):
    """An alert: what is wrong, what is kept, what the farm does."""

    id: int
    kind: str
    severity: Severity
    text: str
    what: str
    kept: str
    farm_does: str
    hint: str = Field(description="What a person can do.")
    count: int = Field(description="How often it was seen.")
    drive: DriveRef | None
    worker: WorkerRef | None
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None

    @classmethod
    def of(cls, alert: Alert) -> AlertShape:
        """The shape of an alert."""
        user = alert.acknowledged_by
        return cls(
            id=alert.pk,
            kind=alert.kind,
            severity=Severity(alert.severity),
            text=alert.text,
            what=alert.what,
            kept=alert.kept,
            farm_does=alert.does,
            hint=alert.hint,
            count=alert.count,
            drive=DriveRef.of_optional(alert.drive),
            worker=WorkerRef.of_optional(alert.worker),
            opened_at=alert.opened_at,
            last_seen_at=alert.last_seen_at,
            resolved_at=alert.resolved_at,
            acknowledged_at=alert.acknowledged_at,
            acknowledged_by=None if user is None else user.get_username(),
        )


class AuditShape(BaseModel):
    """A change by a person, or by one of their tokens."""

    id: int
    at: datetime
    actor: str
    action: str = Field(description="A stable word such as `drive.add`.")
    target: str
    text: str

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditShape:
        """The shape of an entry of the audit log."""
        return cls(
            id=entry.pk,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            target=entry.target,
            text=entry.text,
        )


class SourceShape(BaseModel):
    """A source of keys. Logins and tokens are never shown."""

    name: str
    kind: SourceKind
    location: str = Field(description="Without logins and tokens.")
    removals_url: str
    headers: list[str] = Field(description="Names of the headers that are sent; their values stay here.")
    enabled: bool
    every: int | None = Field(description="Seconds. Null: as set for all.")
    shrink: int | None
    remove_unlisted: bool
    remove_last_copies: bool
    key_kind: Kind | None
    label: str
    tags: list[str]
    required_tags: list[str]
    priority: int
    replicas_min: int | None
    replicas_max: int | None
    keys: int = Field(description="Drives that it lists, as the farm has them.")
    listed: int | None
    refused: int
    held: int = Field(description="Removals that wait for a person.")
    held_because: str | None
    failures: int = Field(description="In a row.")
    error: str | None
    read_at: datetime | None
    succeeded_at: datetime | None
    next_at: datetime | None
    added_at: datetime

    @classmethod
    def of(cls, source: Any) -> SourceShape:
        """The shape of a source with `keys`, its tags prefetched."""
        return of_row(
            cls,
            source,
            location=without_secrets(source.location),
            removals_url=without_secrets(source.removals_url),
            headers=sorted(source.headers or {}),
            key_kind=source.key_kind or None,
            tags=[tag.name for tag in source.tags.all()],
            held_because=source.held_because or None,
            error=source.last_error or None,
            read_at=source.last_at,
            succeeded_at=source.last_success_at,
            added_at=source.created_at,
        )


class AddedShape(BaseModel):
    """The result of adding a list of keys."""

    added: list[DriveRef]
    existing: list[DriveRef] = Field(description="Known before, and unchanged.")
    repeated: int = Field(description="Lines that repeat a key.")
    skipped: list[str] = Field(description="Lines that are valid and have no effect here.")


class ProofShape(BaseModel):
    """The result of a request for proofs."""

    copies: int = Field(description="Complete copies that were asked.")


class AcceptedShape(BaseModel):
    """The result of accepting held removals."""

    removed: int
    kept: int = Field(description="Drives of which the farm has the only complete copies.")


class FarmShape(BaseModel):
    """Totals of the farm."""

    name: str
    summary: str = Field(description="One sentence.")
    drives: int
    by_state: dict[Health, int]
    copies: int
    complete_copies: int
    proven_copies: int = Field(description="Complete copies proven within a day.")
    oldest_proof: datetime | None
    workers: int
    workers_online: int
    workers_pending: int
    used_bytes: int
    room_bytes: int = Field(description="What workers may use for content. 0: not known.")
    served_bytes: int = Field(description="Within a day.")
    open_alerts: int = Field(description="Not acknowledged; 1000 at most.")
