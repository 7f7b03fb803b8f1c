"""`python -m seederfarm.supervisor.programs.celery …`: Celery's command, in a process with Django."""

from __future__ import annotations

import faulthandler
import os
import sys


def main() -> None:
    """Run Celery's command line with Django set up."""
    faulthandler.enable()  # else a crash in native code leaves no word in the log
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
    import django

    django.setup()
    from celery.__main__ import main as celery

    sys.argv[0] = "celery"
    celery()


if __name__ == "__main__":
    main()
