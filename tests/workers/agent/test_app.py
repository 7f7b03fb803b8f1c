"""The Celery app of a worker."""

from __future__ import annotations

from unittest.mock import Mock

from celery import Celery

from workers.agent.app import _register


def test_tasks_of_a_worker_are_of_its_app_alone() -> None:
    """Celery gives shared tasks to every app of the process."""
    worker, other = (Celery(name, set_as_current=False, fixups=[]) for name in ("worker", "other"))
    agent = Mock()
    _register(worker, agent, "worker.lonely")
    assert "worker.lonely" in worker.tasks
    assert "worker.lonely" not in other.tasks
    worker.tasks["worker.lonely"]("message")
    agent.handle.assert_called_once_with("worker.lonely", "message")
