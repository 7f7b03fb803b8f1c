"""The worker's memory."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from farmwire.assignment import Assignment, AssignmentEntry
from farmwire.envelope import Envelope
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.replay import ReplayWindow
from farmwire.report import Sample, WorkerEvent
from workers.state import JoinedFarm, State, StateLocked, StateUnreadable
from workers.state import state as state_module
from workers.state.migrate import NEWEST, SCRIPTS
from workers.state.models import Base

A, B, C = (f"{i:02x}" * 32 for i in (1, 2, 3))
FARM = JoinedFarm("farm", "c" * 52, "redis://:secret@host/0", "s" * 20)


def sample(start: float) -> Sample:
    return Sample(
        start=start,
        seconds=60,
        bytes_in=1,
        bytes_out=2,
        cpu_percent=3.5,
        memory_used_bytes=4,
        disk_free_bytes=5,
        stored_bytes=6,
        peers=7,
    )


def assignment(version: int, *keys: str) -> Assignment:
    return Assignment(
        version=version,
        entries=[
            AssignmentEntry(key=key, kind="drive", priority=3, max_fork=0 if key == A else None)
            for key in keys
        ],
    )


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.farm is None
    state.join(FARM)
    assert not state.joined
    password = state.broker_password(lambda: "first")
    assert state.broker_password(lambda: "second") == password == "first"
    state.welcomed(("redis://me:first@host/0", False), "pi-7")
    assert state.joined
    assert state.replace_assignment(assignment(4, A, B), 1.0)
    seq = state.next_seq(1000.0)
    state.add_sample(sample(1))
    state.add_event(WorkerEvent(at=1, code="X", key=A, text="t"))
    state.count_refusal(RejectReason.REPLAYED)
    state.count_refusal(RejectReason.REPLAYED)
    state.close()

    state = State(tmp_path)
    assert state.name == "pi-7"
    assert state.farm == FARM._replace(secret="", broker="redis://me:first@host/0", events=False)
    assert state.broker_password(lambda: "third") == "first"
    assert state.assignment_version == 4
    assert sorted(state.assignment().entries, key=lambda e: e.key) == assignment(4, A, B).entries
    assert state.assignment_digest == assignment(4, B, A).digest
    assert state.next_seq(0.0) == seq + 1
    assert [each for _, each in state.samples(10)] == [sample(1)]
    assert [each.code for _, each in state.events(10)] == ["X"]
    assert state.refusals() == {"replayed": 2}
    state.close()


def test_the_schema_is_what_the_models_say(tmp_path: Path) -> None:
    state = State(tmp_path)
    with state._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    state.close()


def test_an_older_assignment_changes_nothing_and_a_newer_one_remembers_what_to_remove(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.replace_assignment(assignment(5, A, B), 1.0)
    assert not state.replace_assignment(assignment(4, C), 1.0)
    assert state.assignment_version == 5
    assert state.removals() == []
    assert state.replace_assignment(assignment(6, B), 2.0)
    assert state.removals() == [A]
    assert state.replace_assignment(assignment(6, B), 2.0), "the same again"
    assert state.removals() == [A]
    assert state.replace_assignment(assignment(7, A), 3.0), "it comes back before it was removed"
    assert state.removals() == [B]
    state.removed(B)
    assert state.removals() == []
    state.close()


def test_another_control_plane_starts_with_its_own_versions(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.join(FARM)
    state.replace_assignment(assignment(50, A), 1.0)
    assert state.broker_password(lambda: "of the first") == "of the first"
    state.join(FARM._replace(control="d" * 52))
    assert state.broker_password(lambda: "of the second") == "of the second"
    assert [entry.key for entry in state.assignment().entries] == [A], "seeded until the new one has spoken"
    assert state.replace_assignment(assignment(1, B), 2.0)
    assert state.removals() == [], "what another farm wanted is kept"
    assert state.replace_assignment(assignment(2), 3.0)
    assert state.removals() == [B]
    state.close()


def test_a_window_is_remembered_only_if_the_envelope_was_accepted(tmp_path: Path) -> None:
    state = State(tmp_path)

    def open_it(window: ReplayWindow) -> Envelope:
        if not window.accept(9):
            raise MessageRejected(RejectReason.REPLAYED, "again")
        return Envelope("s", "t", "n", 9, 0.0, {})

    def fail(window: ReplayWindow) -> Envelope:
        window.accept(10)
        raise MessageRejected(RejectReason.EXPIRED, "late")

    with pytest.raises(MessageRejected):
        state.opened("s", fail)
    assert state.opened("s", open_it).seq == 9
    state.close()
    state = State(tmp_path)
    with pytest.raises(MessageRejected):
        state.opened("s", open_it)
    state.close()


def test_buffers_are_bounded_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MAX_SAMPLES", 3)
    state = State(tmp_path)
    for start in range(6):
        state.add_sample(sample(start))
    kept = state.samples(10)
    assert [each.start for _, each in kept] == [3, 4, 5]
    state.mark_sent(samples=[kept[0][0]])
    assert [each.start for _, each in state.samples(1)] == [4]
    state.close()


def test_one_worker_a_directory(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(StateLocked, match="another worker"):
        State(tmp_path)
    assert stat.S_IMODE((tmp_path / "worker.sqlite3").stat().st_mode) == 0o600
    state.close()
    State(tmp_path).close()


@pytest.mark.parametrize("how", ["garbage", "newer"])
def test_a_state_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, how: str) -> None:
    path = tmp_path / "worker.sqlite3"
    if how == "garbage":
        path.write_bytes(b"not a database " * 100)
    else:
        state = State(tmp_path)
        with state._engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        state.close()
    before = path.read_bytes()
    what_to_do = "Restore it" if how == "garbage" else "Run the version that wrote it"
    with pytest.raises(StateUnreadable, match=rf"worker\.sqlite3: .*\. {what_to_do}"):
        State(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("limit", "reason", "what_to_do"),
    [
        ("PRAGMA max_page_count = 2", "database or disk is full", "Make room"),
        ("PRAGMA query_only = true", "attempt to write a readonly database", "It must be writable"),
    ],
)
def test_a_card_that_is_full_or_read_only_is_no_reason_to_move_the_state_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str, what_to_do: str
) -> None:
    def set_pragmas(connection: Any, record: object) -> None:
        connection.cursor().execute(limit)

    monkeypatch.setattr(state_module, "_set_pragmas", set_pragmas)
    with pytest.raises(StateUnreadable, match=rf"{reason}\. {what_to_do}"):
        State(tmp_path)
    monkeypatch.undo()
    State(tmp_path).close()


def test_a_state_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST
    State(tmp_path).close()
    program = (
        "import sys; from pathlib import Path; from workers.agent.run import State\n"
        "State(Path(sys.argv[1])).close()\n"
        "print([name for name in ('alembic', 'prometheus_client') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n", "an idle worker has no room for them"
