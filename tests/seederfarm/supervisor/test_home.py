"""One farm in one home: locks and state files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from seederfarm.supervisor import home
from seederfarm.supervisor.home import AlreadyRunning, RunFiles


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    made = RunFiles(tmp_path / "home")
    made.make()
    return made


def test_directories_are_for_their_owner_alone(files: RunFiles) -> None:
    for path in (files.home, files.run, files.logs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_second_farm_in_one_home_is_refused_and_learns_which_process_has_it(files: RunFiles) -> None:
    files.take()
    files.write_state({"pid": 4242})
    other = RunFiles(files.home)
    with pytest.raises(AlreadyRunning, match="process 4242"):
        other.take()
    assert other.is_running()
    files.give_up()
    assert not other.is_running()
    other.take()
    other.give_up()


def test_children_of_a_killed_supervisor_keep_the_home(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "STALE_WAIT", 0.1)
    files.take()
    inherited = os.dup(files.children_lock.fd)  # as a child has it
    files.give_up()
    other = RunFiles(files.home)
    assert not other.is_running()
    with pytest.raises(AlreadyRunning, match="earlier run"):
        other.take()
    assert not other.is_running()
    os.close(inherited)
    other.take()
    other.give_up()


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_damaged_state_counts_as_none(files: RunFiles, content: str) -> None:
    files.state.write_text(content)
    assert files.read_state() == {}


def test_the_state_is_for_its_owner_alone(files: RunFiles) -> None:
    files.write_state({"pid": 1})
    assert files.read_state() == {"pid": 1}
    assert stat.S_IMODE(files.state.stat().st_mode) == 0o600
    files.clear_state()
    assert files.read_state() == {}
