"""What commands set for their whole process, and tests in one process must not leave to each other."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from seederfarm.cli.common import logs


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Our loggers as they are in a process that has just begun."""
    _reset()
    yield
    _reset()


def _reset() -> None:
    for name in (*logs.LOGGERS, "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)
