"""What an open page shows when the farm changes, without being loaded again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from .addresses import PAGES
from .visits import Visits

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(240)  # the first one starts the farm
FIRST_BLOCKS = """
UPDATE registry_drive SET kind = 'drive', length = 10, fork = 0, byte_length = 1000 WHERE length IS NULL
"""
PLACES = """
[".chip[href='#files']", '#files'].map(name => document.querySelector(name).getBoundingClientRect())
  .reduce((link, panel) => [link.left, panel.top - link.top])
"""


def test_the_first_blocks_bring_the_files_of_a_drive_and_move_nothing_above(visits: Visits) -> None:
    shown = next(shown for shown in PAGES if shown.name == "drive-waiting")
    farm = visits.farm_of(shown)
    with visits.showing(shown, 1440) as visitor:
        page = visitor.page
        page.locator("#main .live", has_text="Live").first.wait_for()
        assert "when the first blocks have come" in page.locator("#files").inner_text()
        page.evaluate("window.neverLoadedAgain = true")
        before = places(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with closing(sqlite3.connect(farm.database)) as database, database:
            assert database.execute(FIRST_BLOCKS).rowcount == 1
        # a busy server rests fifteen times as long as it took to render
        page.locator("#files header a", has_text="All files").wait_for(timeout=90_000)
        page.locator("#files [data-load]").wait_for()
        assert places(page) == before
        assert [url for url in asked if url.endswith("/files/?fragment=1")], asked
        assert page.evaluate("window.neverLoadedAgain")
        assert visitor.take_problems() == []


def places(page: Page) -> list[float]:
    """Pixels from the left to the link to the files, and from the links down to the panel."""
    return list(page.evaluate(PLACES))
