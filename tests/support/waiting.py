"""Waiting for something that no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, timeout: float, what: str, every: float = 0.05) -> None:
    """Returns when `condition` holds; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{timeout:g} s passed while waiting for {what}")
        time.sleep(every)
