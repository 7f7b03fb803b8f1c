"""One browser and the pages of two invented farms for each module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ..support import browser as support
from ..support.require import require
from .visits import Farms, Visits

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Skips in plain sight where there is none; with CI=true that is a failure."""
    require(support.missing())
    with support.running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def farms() -> Iterator[Farms]:
    made = Farms()
    try:
        yield made
    finally:
        made.dispose()


@pytest.fixture(scope="module")
def visits(browser: Browser, farms: Farms) -> Iterator[Visits]:
    with Visits(browser, farms) as made:
        yield made
