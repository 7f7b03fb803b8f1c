"""Readiness of a process: it writes a byte into a pipe inherited from its parent."""

from __future__ import annotations

import os
from contextlib import suppress

from .settings.table import READY_FD


def notify_ready() -> None:
    """The first time; after that, and where nobody asked, nothing happens."""
    descriptor = os.environ.pop(READY_FD.name, None)
    if descriptor is not None:
        with suppress(OSError, ValueError):
            os.write(int(descriptor), b"\n")
            os.close(int(descriptor))
