"""Every task that control leaves for itself exists, and every task that exists has a name that is checked."""

from __future__ import annotations

import pytest

from farmwire import tasks
from seederfarm.control.messaging.task_names import ControlTask


@pytest.mark.usefixtures("settings")
def test_names_and_tasks_are_the_same() -> None:
    from seederfarm.control.celery import tasks as module
    from seederfarm.control.celery.app import app, beat_table

    assert module.__name__ in app.conf.imports
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if name.startswith("control.")}
    assert ours == {*map(str, ControlTask), tasks.REPORT, tasks.AUDIT_ANSWER, tasks.JOIN}
    assert {entry["task"] for entry in beat_table().values()} <= set(map(str, ControlTask))
