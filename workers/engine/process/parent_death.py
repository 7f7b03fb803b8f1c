"""Ends this process with its parent, however that dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def end_with_parent(parent: int) -> bool:
    """Have the kernel send us SIGTERM when our parent dies (Linux; elsewhere the end of standard input must
    do). Returns False if `parent` is gone already."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent
