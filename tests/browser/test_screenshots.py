"""`./farm screenshots`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..support import browser as support
from ..support.paths import ROOT
from ..support.require import require
from .addresses import PAGES, THEMES, WIDTHS
from .screenshots import name_of, sheet

COMMAND = [sys.executable, "-m", "tests.browser.screenshots"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


def width_of(picture: bytes) -> int:
    """From the header of a PNG (RFC 2083, 11.2.1)."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(picture[16:20], "big")


@pytest.mark.timeout(240)
def test_two_pages_are_pictured_wide_and_narrow_light_and_dark(tmp_path: Path) -> None:
    require(support.missing())
    done = run(str(tmp_path / "shots"), "--only", "sources-empty", "--only", "empty")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"8 pictures: {tmp_path / 'shots' / 'index.html'}\n"
    shown = [page for page in PAGES if page.name in ("sources-empty", "empty")]
    for page in shown:
        pictures = {}
        for width in WIDTHS:
            for theme in THEMES:
                picture = (tmp_path / "shots" / name_of(page, width, theme)).read_bytes()
                assert width_of(picture) == width
                pictures[width, theme] = picture
        assert len(set(pictures.values())) == 4, f"{page.name}: two pictures are the same"
    assert (tmp_path / "shots" / "index.html").read_text() == sheet(shown)


def test_an_unknown_page_is_named_with_those_that_there_are() -> None:
    done = run("/nowhere", "--only", "nothing")
    assert done.returncode == 2
    assert "no page is called nothing; there are overview, " in done.stderr


def test_the_sheet_shows_each_picture_once() -> None:
    text = sheet(PAGES)
    assert text.count("<img ") == len(PAGES) * len(WIDTHS) * len(THEMES)
    assert all(name_of(page, 390, "dark") in text for page in PAGES)
