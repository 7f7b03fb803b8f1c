"""Readiness of a process: it writes a byte into a pipe inherited from its parent."""

from __future__ import annotations

import os
from contextlib import suppress

from .settings.table import READY_FD


def notify_ready() -> None:
    """Write the byte on the first call; later, and without the variable, do nothing."""
    descriptor = os.environ.pop(READY_FD.name, None)
    if descriptor is not None:
        with suppress(OSError, ValueError):
            os.write(int(descriptor), b"\n")
            os.close(int(descriptor))
