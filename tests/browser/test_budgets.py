"""What a page costs, how it moves, how it is used without a mouse; what an open one shows of changes."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ..support.browser import Visitor
from .addresses import PAGES, WIDTHS, Shown, address
from .visits import Farms

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

pytestmark = pytest.mark.timeout(240)  # the first one starts the farms

KIB = 1024
WHOLE = 150 * KIB
"""Bytes of a page and all that it loads, without fonts."""
PARTS = {"document": 20 * KIB, "own stylesheet": 12 * KIB, "own script": 6 * KIB}
"""Bytes by what they are. All are counted as gzip makes them."""
MAIN = (
    "overview", "empty", "drives", "drive", "workers", "worker", "sources", "alerts", "add", "public",
    "login",
)  # fmt: skip


A_COPY = """
SELECT min(r.id) FROM registry_replica r JOIN registry_drive d ON d.id = r.drive_id
WHERE d.title = 'Coastal Field Recordings'
"""
A_PEER = "INSERT INTO registry_copypeers (replica_id, at, total, peers) VALUES (?, ?, 1, ?)"
PEER = {
    "id": "07" * 32, "way": "direct", "bytes_in": 0, "bytes_out": 5_000_000, "down": 0.0, "up": 0.0,
    "seconds": 130.0,
}  # fmt: skip
FIRST_BLOCKS = """
UPDATE registry_drive SET kind = 'drive', length = 10, fork = 0, byte_length = 1000 WHERE length IS NULL
"""
PLACES = """
[".chip[href='#files']", '#files'].map(name => document.querySelector(name).getBoundingClientRect())
  .reduce((link, panel) => [link.left, panel.top - link.top])
"""


def page_named(name: str) -> Shown:
    return next(shown for shown in PAGES if shown.name == name)


def open_page(browser: Browser, farms: Farms, name: str, **options: int | str) -> tuple[Visitor, str]:
    """A window without anything cached, and the path of the page."""
    shown = page_named(name)
    farm = farms.empty if shown.on_empty else farms.full
    session = farm.session(shown.account) if shown.account else None
    return Visitor(browser, farm.address, session=session, **options), address(shown, farm)


@pytest.mark.parametrize("name", MAIN)
def test_a_page_is_small_and_still_fits_a_narrow_window_and_works_by_keyboard(
    browser: Browser, farms: Farms, name: str
) -> None:
    visitor, path = open_page(browser, farms, name)
    with visitor:
        seen: list[Response] = []
        visitor.page.on("response", lambda response: seen.append(response))
        visitor.go(path)
        sizes = sizes_of(seen)
        assert sizes["document"] > 0 and sizes["own stylesheet"] > 0
        over = {kind: sizes[kind] for kind, budget in PARTS.items() if sizes[kind] > budget}
        assert over == {} and sum(sizes.values()) <= WHOLE, dict(sizes)
        assert_nothing_moves(visitor)
        assert_keyboard_works(visitor, name)
        # WCAG 2.2, 1.4.10: what is wider scrolls within a box of its own
        visitor.page.set_viewport_size({"width": 320, "height": 640})
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("name", MAIN)
def test_nothing_moves_while_a_page_loads_on_a_phone(browser: Browser, farms: Farms, name: str) -> None:
    visitor, path = open_page(browser, farms, name, width=390, height=WIDTHS[390])
    with visitor:
        visitor.go(path)
        assert_nothing_moves(visitor)


def sizes_of(seen: list[Response]) -> defaultdict[str, int]:
    """Bytes by kind, as gzip makes them."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for response in seen:
        kind = response.request.resource_type
        if kind in ("font", "eventsource") or response.status != 200:
            continue
        if kind in ("script", "stylesheet") and "/vendor/" not in response.url:
            kind = f"own {kind}"
        sizes[kind] += len(gzip.compress(response.body(), 6))
    return sizes


def assert_nothing_moves(visitor: Visitor) -> None:
    """Until what loads later is there."""
    if visitor.page.locator(".live").count():
        visitor.page.locator(".live", has_text="Live").first.wait_for()
    if visitor.page.locator("[data-load]").count():
        visitor.page.locator("[data-load] .files").wait_for()
    visitor.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert visitor.layout_shift() == 0, visitor.moved()


def assert_keyboard_works(visitor: Visitor, name: str) -> None:
    """The first stop skips to the content, each stop has a ring, / goes to the search, Esc closes a menu."""
    page = visitor.page
    page.evaluate("document.activeElement.blur()")
    has_frame = page.locator(".skip").count() > 0
    page.evaluate("window.getSelection().removeAllRanges(); document.body.focus()")
    for number in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        ring = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
        what = page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        assert ring != "none", f"stop {number} shows no ring: {what}"
        if number == 0 and has_frame and name not in ("empty", "add"):  # those put the focus in their field
            assert "Skip to content" in what
    if not has_frame:
        return
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.click("[popovertarget=me]")
    assert page.locator("#me").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#me").is_visible()


def test_a_click_copies_the_whole_key(browser: Browser, farms: Farms) -> None:
    visitor, path = open_page(browser, farms, "drives-opened")
    with visitor:
        visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visitor.go(path)
        visitor.page.click("td .copy")
        visitor.page.locator("#said", has_text="Copied").wait_for(state="attached")
        key = farms.full.keys["safe"]
        assert visitor.page.evaluate("navigator.clipboard.readText()") == key
        assert visitor.page.locator("td .key code").get_attribute("title") == key
        assert visitor.page.locator("td .key code").inner_text() == f"{key[:6]}…{key[-6:]}"


def test_the_skip_link_leads_past_the_navigation(browser: Browser, farms: Farms) -> None:
    visitor, path = open_page(browser, farms, "drives")
    with visitor:
        visitor.go(path)
        visitor.page.keyboard.press("Tab")
        visitor.page.keyboard.press("Enter")
        visitor.page.keyboard.press("Tab")
        assert visitor.page.evaluate("document.activeElement.closest('main') !== null")


def test_states_keep_their_shapes_where_the_system_chooses_the_colours(
    browser: Browser, farms: Farms
) -> None:
    visitor, path = open_page(browser, farms, "drives")
    with visitor:
        visitor.page.emulate_media(forced_colors="active")
        visitor.go(path)
        shapes = visitor.page.locator(".table .state .shape")
        assert shapes.count() > 10
        fills = shapes.evaluate_all("all => all.map(one => getComputedStyle(one).fill)")
        background = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert all(fill not in ("none", background) for fill in fills)
        assert (
            visitor.page.locator(".nav [aria-current]").evaluate("one => getComputedStyle(one).outlineStyle")
            == "solid"
        )


def test_a_row_of_the_list_opens_to_peers_and_files_that_stay_while_it_changes(
    browser: Browser, farms: Farms
) -> None:
    visitor, path = open_page(browser, farms, "drives-opened", reduced_motion="reduce")
    with visitor:
        visitor.go(path)
        page = visitor.page
        button = page.locator("[data-expand]")
        button.click()
        page.locator(".inner .files a", has_text="README.md").wait_for()
        page.locator(".inner", has_text="Its workers are asked").wait_for()
        button.blur()  # a row that has the focus stays as it is
        with closing(sqlite3.connect(farms.full.database)) as database, database:
            at = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)  # never old
            (copy,) = database.execute(A_COPY).fetchone()
            database.execute(A_PEER, (copy, at.isoformat(" "), json.dumps([PEER])))
            database.execute("UPDATE registry_replica SET peers = 977 WHERE id = ?", (copy,))
        # a busy server rests fifteen times as long as it took to render
        page.locator(".inner .cards tbody", has_text="5.0\xa0MB").wait_for(timeout=90_000)
        page.locator("tr[data-topic] td", has_text="1,005").wait_for(timeout=90_000)
        assert page.locator(".inner .files").is_visible()
        assert button.get_attribute("aria-expanded") == "true"
        button.click()
        assert page.locator(".inner").count() == 0
        assert button.get_attribute("aria-expanded") == "false"
        assert visitor.take_problems() == []


def test_the_first_blocks_bring_the_files_of_a_drive_and_move_nothing_above(
    browser: Browser, farms: Farms
) -> None:
    """The last one here: it changes the farm."""
    visitor, path = open_page(browser, farms, "drive-waiting", reduced_motion="reduce")
    with visitor:
        visitor.go(path)
        page = visitor.page
        page.locator("#main .live", has_text="Live").first.wait_for()
        assert "when the first blocks have come" in page.locator("#files").inner_text()
        page.evaluate("window.neverLoadedAgain = true")
        before = places(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with closing(sqlite3.connect(farms.full.database)) as database, database:
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
