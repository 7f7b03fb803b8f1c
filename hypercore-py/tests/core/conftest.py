from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.core_places import DiskPlace, MemoryPlace, Place


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Somewhere to keep cores; every test that takes it runs over memory and over disk."""
    made: Place = MemoryPlace() if request.param == "memory" else DiskPlace(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskPlace]:
    made = DiskPlace(tmp_path / "data")
    yield made
    made.close()
