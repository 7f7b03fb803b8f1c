"""How a process tells whoever started it that it works now: a byte into a pipe that it was given for that."""

from __future__ import annotations

import os
from contextlib import suppress

VARIABLE = "SEEDERFARM_READY_FD"
"""In the environment: the descriptor to write to. The supervisor of `./farm up` sets it."""


def notify_ready() -> None:
    """The first time; after that, and where nobody asked, nothing happens."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is not None:
        with suppress(OSError, ValueError):
            os.write(int(descriptor), b"\n")
            os.close(int(descriptor))
