"""Every page at two widths in both themes: what axe finds, what the browser complains about."""

from __future__ import annotations

import pytest

from ..support.browser import missing_axe
from ..support.require import require
from .addresses import ADMIN_PAGES, PAGES, WIDTHS, Shown
from .visits import Visits

pytestmark = pytest.mark.timeout(240)  # the first one starts the farms

COLOURS = ["color-contrast", "link-in-text-block"]
"""Rules whose outcome depends on the theme: nothing else differs between light and dark."""


@pytest.mark.parametrize("shown", [*PAGES, *ADMIN_PAGES], ids=lambda shown: shown.name)
def test_axe_finds_nothing_on_a_page_and_the_browser_complains_of_nothing(
    visits: Visits, shown: Shown
) -> None:
    require(missing_axe())
    found = []
    for width in [min(WIDTHS)] if shown.is_variant else WIDTHS:
        with visits.showing(shown, width) as visitor:
            visitor.make_as_high_as_the_page()
            found += [f"{width} light: {text}" for text in visitor.axe()]
            visitor.show_in("dark")
            found += [f"{width} dark: {text}" for text in visitor.axe(COLOURS)]
            wide = visitor.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{width}: the page is {wide} px wide")
            found += [text for text in visitor.take_problems() if not is_expected(text, shown)]
    assert found == []


def is_expected(text: str, shown: Shown) -> bool:
    """Chromium reports the page's own status."""
    return shown.status != 200 and f"status of {shown.status}" in text
