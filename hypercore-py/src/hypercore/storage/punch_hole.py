"""Frees a part of a file where the system supports it (Python has no call for it)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h


@cache
def _fallocate() -> Any:
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function


def punch_hole(descriptor: int, offset: int, size: int) -> bool:
    """Zero a part of a file and free its space. False: not supported, and nothing changed."""
    fallocate = _fallocate()
    return fallocate is not None and fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, size) == 0
