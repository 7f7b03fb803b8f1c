"""What is reported of a replica on its way from the engine to control: every field, and when it changed."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from farmwire.gaps import CoreGaps
from farmwire.message import decode
from farmwire.report import Phase, ReplicaFacts, ReplicaStatus
from workers.agent.replica_tracker import ReplicaTracker
from workers.engine.model.events import CoreChanged, Problem, Synced
from workers.engine.model.kind import Kind, Role
from workers.engine.model.status import SeedStatus, State
from workers.engine.process.event_facts import EventFacts
from workers.engine.process.replica_reports import PHASES, ReplicaReports
from workers.engine.seeds.file_counts import Files

KEY = bytes(range(32))
STATUS = SeedStatus(
    key=KEY, kind=Kind.DRIVE, state=State.SYNCED, length=20, fork=3, blocks=30, have_blocks=25, bytes=3000,
    have_bytes=2500, unavailable_blocks=5, unavailable_bytes=500, peers=7, bytes_in=1, bytes_out=2, down=0.5,
    up=0.5, gaps=(CoreGaps(length=20, runs=[2, 7]), CoreGaps(length=10)),
)  # fmt: skip
FILES = Files(number=3, bytes=70, version=19)


def changed(core: bytes, length: int) -> CoreChanged:
    return CoreChanged(key=KEY, core=core, role=Role.DB, length=length, fork=3, byte_length=1)


def test_every_field_reaches_the_report() -> None:
    facts = EventFacts(lambda: 99.0)
    reports = ReplicaReports(facts)
    facts.record(changed(KEY, 19))
    facts.record(Synced(key=KEY, kind=Kind.DRIVE, version=19, length=19, bytes=1))
    facts.record(changed(KEY, 20))
    facts.record(Problem(key=KEY, code="DISK", message="slow"))
    facts.set_title(KEY, "Films")
    facts.set_files(KEY, FILES)
    (line,) = reports.changes((STATUS,))
    tracker = ReplicaTracker(lambda: 100.0)
    tracker.assign([KEY.hex()])
    tracker.record(decode(json.loads(json.dumps(line)), ReplicaStatus))
    (report,) = tracker.take()
    for name in ReplicaFacts.__struct_fields__:
        expected = {
            "error": "DISK: slow", "attempts": 1, "title": "Films", "writer_seen_at": 99.0,
            "files": 3, "file_bytes": 70, "files_version": 19,
        }.get(name, getattr(STATUS, name))  # fmt: skip
        assert getattr(report, name) == expected, name
        assert expected not in (0, "", None, ()), f"{name} has to be tested with a value"
    assert (report.key, report.phase, report.kind) == (KEY.hex(), Phase.COMPLETE, "drive")
    assert report.observed_at == 100.0


@pytest.mark.parametrize("name", ReplicaFacts.__struct_fields__)
def test_a_field_that_changed_is_reported_once(name: str) -> None:
    facts = EventFacts(lambda: 99.0)
    reports = ReplicaReports(facts)
    facts.record(Synced(key=KEY, kind=Kind.DRIVE, version=19, length=19, bytes=1))
    reports.changes((STATUS,))
    assert reports.changes((STATUS,)) == []
    status = STATUS
    match name:
        case "error" | "attempts":
            facts.record(Problem(key=KEY, code="DISK", message="slow"))
        case "title":
            facts.set_title(KEY, "Films")
        case "writer_seen_at":
            facts.record(changed(KEY, 20))
        case "files" | "file_bytes" | "files_version":
            facts.set_files(KEY, FILES)
        case "gaps":
            status = replace(STATUS, gaps=())
        case _:
            status = replace(STATUS, **{name: getattr(STATUS, name) + 1})
    assert len(reports.changes((status,))) == 1
    assert reports.changes((status,)) == []
    assert len(reports.changes((status,), everything=True)) == 1


def test_traffic_alone_is_no_news() -> None:
    reports = ReplicaReports(EventFacts())
    reports.changes((STATUS,))
    assert reports.changes((replace(STATUS, bytes_in=5, bytes_out=6, down=7.0, up=8.0),)) == []


def test_a_full_disk_is_the_error_of_what_it_stops() -> None:
    reports = ReplicaReports(EventFacts())
    held = replace(STATUS, state=State.HELD)
    (line,) = reports.changes((held,), no_room="NO_ROOM: 5 bytes are free")
    assert (line["phase"], line["error"]) == ("error", "NO_ROOM: 5 bytes are free")
    assert reports.changes((held,), no_room="NO_ROOM: 4 bytes are free") == [], "the number alone is no news"
    assert set(PHASES) == set(State)


def test_a_key_that_was_removed_starts_anew() -> None:
    facts = EventFacts()
    reports = ReplicaReports(facts)
    facts.record(Problem(key=KEY, code="DISK", message="slow"))
    assert reports.changes((STATUS,))[0]["error"] == "DISK: slow"
    facts.remove(KEY)
    reports.remove(KEY)
    (line,) = reports.changes((STATUS,))
    assert (line["error"], line["attempts"]) == ("", 0)
