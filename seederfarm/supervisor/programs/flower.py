"""`python -m seederfarm.supervisor.programs.flower …`: Celery's command with a Flower that has a login."""

from __future__ import annotations

from typing import Any

from .celery import main as celery_program


def guard_metrics() -> None:
    """Make `/metrics` require the login too: Flower 2.2 leaves that page open, and it names workers, tasks
    and times."""
    from flower.views import monitor
    from tornado.web import HTTPError

    def prepare(handler: Any) -> None:
        if not handler.get_current_user():  # raises 401 itself where there is a login, and it is not this
            raise HTTPError(401)

    monitor.Metrics.prepare = prepare


def main() -> None:
    """Run Flower's command line; its `/metrics` requires the login, too."""
    guard_metrics()
    celery_program()


if __name__ == "__main__":
    main()
