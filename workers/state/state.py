"""The worker's durable state, for any thread.

Every method is a transaction of its own. The truth about replicas is on the engine's disk; this is what the
farm sent, what must be reported to it, and what was reported.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import create_engine, delete, event, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from farmwire.assignment import Assignment, AssignmentEntry, entries_digest
from farmwire.envelope import Envelope, next_seq
from farmwire.message import decode, to_builtins
from farmwire.rejection import RejectReason
from farmwire.replay import ReplayWindow
from farmwire.report import Sample, WorkerEvent
from hypercore.errors import StorageError

from .migrate import SchemaTooNew, migrate
from .models import (
    BufferedEvent,
    BufferedSample,
    Entry,
    KeyValue,
    PendingRemoval,
    RejectCount,
    SenderWindow,
    ShardAssignment,
)

FILE = "worker.sqlite3"
LOCK = "worker.lock"

MAX_SAMPLES = 20_160
"""Samples kept while the farm is unreachable: two weeks of one a minute. The oldest are dropped first."""

MAX_EVENTS = 10_000
"""The same for events."""

T = TypeVar("T")


class StateLocked(StorageError):
    """Another worker uses this directory."""

    code = "STATE_LOCKED"


class StateUnreadable(StorageError):
    """The worker's state cannot be used."""

    code = "STATE_UNREADABLE"


class JoinedFarm(NamedTuple):
    """The farm that this worker belongs to, or requests to join."""

    farm: str
    control: str
    """The control plane's id."""
    broker: str
    secret: str
    """Of the token; empty once admitted."""
    events: bool = True
    """Whether our login may publish Celery's events."""


def _what_to_do(error: DatabaseError | SchemaTooNew) -> str:
    """About a state that cannot be opened: it may be whole."""
    if isinstance(error, SchemaTooNew):
        return "Run the version that wrote it, or a newer one"
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "Make room on the disk, and look whether it is damaged: the state is left as it is"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return "It must be writable: is the disk mounted read-only? The state is left as it is"
    return "Restore it, or move it away and join again: what is seeded stays on disk"


class State:
    """The durable state of one worker, in `directory`, which is locked until `close`.

    Raises StateLocked, StateUnreadable.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = _locked(directory)
        path = directory / FILE
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the broker's password
        self._lock = threading.RLock()
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        event.listen(self._engine, "connect", _set_pragmas)
        try:
            with self._engine.begin() as connection:
                migrate(connection)
        except (DatabaseError, SchemaTooNew) as error:
            self.close()
            reason = error.orig if isinstance(error, DatabaseError) else error
            raise StateUnreadable(
                f"cannot use the worker's state in {path}: {reason}. {_what_to_do(error)}"
            ) from error

    def close(self) -> None:
        """Safe to call twice."""
        self._engine.dispose()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _do(self, work: Callable[[Session], T]) -> T:
        with self._lock, Session(self._engine) as session, session.begin():
            return work(session)

    # --- facts

    def get(self, name: str, default: str = "") -> str:
        def work(session: Session) -> str:
            fact = session.get(KeyValue, name)
            return default if fact is None else fact.value

        return self._do(work)

    def set(self, **facts: str) -> None:
        """Store these facts, one row for each name."""
        self._do(lambda session: _set_facts(session, facts))

    # --- the farm

    @property
    def farm(self) -> JoinedFarm | None:
        """The farm that the worker belongs to, or None before it joined one."""
        if not (control := self.get("control")):
            return None
        return JoinedFarm(
            self.get("farm"), control, self.get("broker"), self.get("secret"), self.get("events") != "no"
        )

    def join(self, farm: JoinedFarm) -> None:
        """Join `farm` once it has admitted us. With another control plane than before, its assignment is
        awaited; until then the old one is seeded. Our broker account gets a new password."""

        def work(session: Session) -> None:
            before = session.scalar(select(KeyValue.value).where(KeyValue.name == "control"))
            _set_facts(session, _facts_of(farm))
            session.execute(delete(KeyValue).where(KeyValue.name.in_(("broker_password", "retired"))))
            if before != farm.control:
                session.execute(delete(KeyValue).where(KeyValue.name == "assignment_version"))

        self._do(work)

    def broker_password(self, make: Callable[[], str]) -> str:
        """Password of our broker account: made once for each token, so that a repeated request asks for the
        same account. The file is for its owner only."""

        def work(session: Session) -> str:
            fact = session.get(KeyValue, "broker_password")
            if fact is None:
                fact = KeyValue(name="broker_password", value=make())
                session.add(fact)
            return fact.value

        return self._do(work)

    def welcomed(self, login: tuple[str, bool], name: str = "") -> None:
        """The farm admitted us: store the broker's URL, whether we may publish events there, and our name in
        the farm, if it is known."""
        broker, events = login
        self.set(broker=broker, events="yes" if events else "no", secret="", name=name)

    @property
    def name(self) -> str:
        """Our name in the farm when it admitted us. Empty: not known."""
        return self.get("name")

    @property
    def joined(self) -> bool:
        """Whether the farm has admitted us."""
        farm = self.farm
        return farm is not None and not farm.secret

    # --- the assignment

    def assignment(self) -> Assignment:
        """Return the assignment that is in force."""

        def work(session: Session) -> Assignment:
            entries = [
                AssignmentEntry(
                    key=row.key,
                    kind=row.kind,  # type: ignore[arg-type]
                    priority=row.priority,
                    max_fork=row.max_fork,
                    blind_peer=row.blind_peer,
                    seeded=row.seeded,
                    announce=row.announce,
                    peers=row.peers.split(),
                )
                for row in session.scalars(select(Entry))
            ]
            return Assignment(version=_version(session), entries=entries)

        return self._do(work)

    @property
    def assignment_version(self) -> int:
        """Version of the assignment, 0 before the first one."""
        return self._do(_version)

    @property
    def assignment_digest(self) -> str:
        """Digest of the assignment's entries (`farmwire.assignment.entries_digest`)."""
        return self.get("assignment_digest") or entries_digest([])

    def replace_assignment(self, assignment: Assignment, now: float) -> bool:
        """Store a new assignment and record which keys to remove: none, if it is the first one of this farm,
        and none that only a blind peer keeps. False: it is older than the current one."""

        def work(session: Session) -> bool:
            first = session.get(KeyValue, "assignment_version") is None
            if assignment.version < _version(session):
                return False
            wanted = {entry.key for entry in assignment.entries if entry.seeded}
            had = () if first else session.scalars(select(Entry.key).where(Entry.seeded))
            gone = [key for key in had if key not in wanted]
            pending = set(session.scalars(select(PendingRemoval.key)))
            session.execute(delete(Entry))
            if assignment.entries:
                rows = [to_builtins(entry) | {"peers": " ".join(entry.peers)} for entry in assignment.entries]
                session.execute(insert(Entry), rows)
            session.add_all(PendingRemoval(key=key, since=now) for key in gone if key not in pending)
            for key in pending & wanted:
                session.execute(delete(PendingRemoval).where(PendingRemoval.key == key))
            _set_facts(
                session,
                {
                    "assignment_version": str(assignment.version),
                    "assignment_digest": assignment.digest,
                },
            )
            return True

        return self._do(work)

    def removals(self) -> list[str]:
        """Keys whose blocks must be deleted."""
        return self._do(lambda session: list(session.scalars(select(PendingRemoval.key))))

    def removed(self, key: str) -> None:
        """Record that the blocks of `key` are deleted."""
        self._do(lambda session: session.execute(delete(PendingRemoval).where(PendingRemoval.key == key)))

    # --- engines

    def homes(self) -> dict[str, int]:
        """The engine of each placed key."""
        return self._do(
            lambda session: {row.key: row.engine for row in session.scalars(select(ShardAssignment))}
        )

    def set_homes(self, homes: Mapping[str, int]) -> None:
        """Record the engines of keys."""

        def work(session: Session) -> None:
            for key, engine in homes.items():
                session.merge(ShardAssignment(key=key, engine=engine))

        self._do(work)

    def discard_home(self, key: str) -> bool:
        """Delete the record unless the key is assigned. Returns whether it was deleted."""

        def work(session: Session) -> bool:
            if session.get(Entry, key) is not None:
                return False
            session.execute(delete(ShardAssignment).where(ShardAssignment.key == key))
            return True

        return self._do(work)

    # --- envelopes

    def next_seq(self, now: float) -> int:
        """The number of our next envelope."""

        def work(session: Session) -> int:
            fact = session.get(KeyValue, "seq")
            seq = next_seq(0 if fact is None else int(fact.value), now)
            _set_facts(session, {"seq": str(seq)})
            return seq

        return self._do(work)

    def opened(self, sender: str, open_it: Callable[[ReplayWindow], Envelope]) -> Envelope:
        """Call `open_it` with the window of `sender`, which is stored if it does not raise."""

        def work(session: Session) -> Envelope:
            row = session.get(SenderWindow, sender)
            window = ReplayWindow.from_text("" if row is None else row.window)
            envelope = open_it(window)
            session.execute(
                upsert(SenderWindow)
                .values(sender=sender, window=window.to_text())
                .on_conflict_do_update(index_elements=["sender"], set_={"window": window.to_text()})
            )
            return envelope

        return self._do(work)

    def count_refusal(self, reason: RejectReason) -> None:
        """Count a rejected message."""
        statement = upsert(RejectCount).values(reason=reason.value, count=1)
        self._do(
            lambda session: session.execute(
                statement.on_conflict_do_update(
                    index_elements=["reason"], set_={"count": RejectCount.count + 1}
                )
            )
        )

    def refusals(self) -> dict[str, int]:
        """Return the number of rejected messages by reason."""
        return self._do(
            lambda session: {row.reason: row.count for row in session.scalars(select(RejectCount))}
        )

    # --- unsent reports

    def add_sample(self, sample: Sample) -> None:
        """Store a sample until it is reported; the oldest beyond MAX_SAMPLES are deleted."""
        self._buffer(BufferedSample, json.dumps(to_builtins(sample)), MAX_SAMPLES)

    def add_event(self, event: WorkerEvent) -> None:
        """Store an event until it is reported; the oldest beyond MAX_EVENTS are deleted."""
        self._buffer(BufferedEvent, json.dumps(to_builtins(event)), MAX_EVENTS)

    def _buffer(self, table: type[BufferedSample] | type[BufferedEvent], body: str, limit: int) -> None:
        def work(session: Session) -> None:
            session.execute(insert(table).values(body=body))
            newest = session.scalar(select(func.max(table.id))) or 0
            session.execute(delete(table).where(table.id <= newest - limit))

        self._do(work)

    def samples(self, limit: int) -> list[tuple[int, Sample]]:
        """The oldest ones, each with its number."""
        return self._do(
            lambda session: [
                (row.id, decode(json.loads(row.body), Sample))
                for row in session.scalars(select(BufferedSample).order_by(BufferedSample.id).limit(limit))
            ]
        )

    def events(self, limit: int) -> list[tuple[int, WorkerEvent]]:
        """Return the oldest unreported events, at most `limit`, each with its row's id."""
        return self._do(
            lambda session: [
                (row.id, decode(json.loads(row.body), WorkerEvent))
                for row in session.scalars(select(BufferedEvent).order_by(BufferedEvent.id).limit(limit))
            ]
        )

    def waiting(self) -> tuple[int, int]:
        """Numbers of samples and events that wait to be sent."""

        def work(session: Session) -> tuple[int, int]:
            counts = [
                session.scalar(select(func.count()).select_from(table)) or 0
                for table in (BufferedSample, BufferedEvent)
            ]
            return counts[0], counts[1]

        return self._do(work)

    def mark_sent(self, *, samples: Iterable[int] = (), events: Iterable[int] = ()) -> None:
        """Delete samples and events that the broker has."""

        def work(session: Session) -> None:
            session.execute(delete(BufferedSample).where(BufferedSample.id.in_(list(samples))))
            session.execute(delete(BufferedEvent).where(BufferedEvent.id.in_(list(events))))

        self._do(work)


def _set_facts(session: Session, facts: dict[str, str]) -> None:
    for name, value in facts.items():
        session.merge(KeyValue(name=name, value=value))


def _facts_of(farm: JoinedFarm) -> dict[str, str]:
    return {name: str(value) for name, value in farm._asdict().items()} | {
        "events": "yes" if farm.events else "no"
    }


def _version(session: Session) -> int:
    fact = session.get(KeyValue, "assignment_version")
    return 0 if fact is None else int(fact.value)


def _set_pragmas(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _locked(directory: Path) -> int:
    descriptor = os.open(directory / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StateLocked(f"another worker runs over {directory}: stop it, or use another --data") from None
    return descriptor
