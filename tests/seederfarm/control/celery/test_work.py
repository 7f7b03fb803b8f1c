"""Tasks that are counted while they run."""

from __future__ import annotations

import pytest

from seederfarm.control.celery import tasks
from seederfarm.control.celery.work import OutOfMemory, WorkCounter, counter


def test_tasks_are_counted_while_they_run_however_they_end() -> None:
    here = WorkCounter()
    during: list[int] = []

    def work(fails: bool) -> None:
        during.append(here.running)
        if fails:
            raise ValueError

    run = here.counted(work)
    run(False)
    with pytest.raises(ValueError):
        run(True)
    assert (during, here.running, here.started) == ([1, 1], 0, 2)


def test_a_task_without_memory_fails_with_an_error_after_which_celery_acknowledges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery raises a MemoryError again in the thread: the message would never be acknowledged."""

    def ends(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tasks, "record_pulse", ends)
    before = counter.started
    with pytest.raises(OutOfMemory):
        tasks.pulse.run()
    assert (counter.started, counter.running) == (before + 1, 0)
