"""Fixtures of the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from seederfarm.control.messaging.outbox import outbox

from ...support.databases import FarmDatabase
from .world import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    fake = FakeBroker()
    with outbox.through(fake):
        yield fake


@pytest.fixture
def farm(committing_database: FarmDatabase, broker: FakeBroker) -> FakeBroker:
    """A database with real commits, on SQLite and on PostgreSQL, and the broker of its control plane."""
    return broker


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
