"""The pages of `addresses`, opened in windows that are kept for each account."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ..support.browser import Visitor
from .addresses import WIDTHS, Shown, address
from .private_farm import PrivateFarm

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROKEN = "registry_auditentry"
"""The table without which the page that `is_breaking` fails."""


class Farms:
    """A full one and an empty one, each started when it is needed."""

    @cached_property
    def full(self) -> PrivateFarm:
        return PrivateFarm()

    @cached_property
    def empty(self) -> PrivateFarm:
        return PrivateFarm(empty=True)

    def dispose(self) -> None:
        for name in ("full", "empty"):
            if name in vars(self):
                vars(self)[name].dispose()


class Visits:
    """Opens pages."""

    def __init__(self, browser: Browser, farms: Farms) -> None:
        self._browser = browser
        self._farms = farms
        self._windows: dict[tuple[str, bool], Visitor] = {}

    def farm_of(self, shown: Shown) -> PrivateFarm:
        return self._farms.empty if shown.on_empty else self._farms.full

    def _window(self, shown: Shown) -> Visitor:
        place = (shown.account, shown.on_empty)
        if place not in self._windows:
            farm = self.farm_of(shown)
            session = farm.session(shown.account) if shown.account else None
            # Nothing moves: without a graphics card each frame costs as much as a page
            self._windows[place] = Visitor(
                self._browser, farm.address, session=session, reduced_motion="reduce"
            )
        return self._windows[place]

    @contextmanager
    def showing(self, shown: Shown, width: int) -> Iterator[Visitor]:
        """The window with this page, in the light theme, what is to be opened open."""
        visitor, farm = self._window(shown), self.farm_of(shown)
        visitor.page.set_viewport_size({"width": width, "height": WIDTHS[width]})
        visitor.page.emulate_media(color_scheme="light")
        with ExitStack() as stack:
            if shown.is_breaking:
                stack.enter_context(_broken(farm))
            status = visitor.go(address(shown, farm))
            assert status == shown.status, f"{shown.name}: {status}\n{farm.log()[-3000:]}"
            for field, text in shown.fills:
                visitor.page.fill(field, text)
            if shown.opens and (to_open := visitor.page.locator(shown.opens).first).is_visible():
                to_open.click()
                if shown.then:
                    visitor.page.locator(f"{shown.then}:visible").first.click()
                visitor.page.wait_for_load_state("load")
            has_files = "{safe}" in shown.path or shown.opens == "[data-expand]"
            if has_files and visitor.page.locator("[data-load]").count():
                visitor.page.locator("[data-load] .files").wait_for()
            try:
                yield visitor
            finally:
                visitor.page.goto("about:blank")  # a page that stays open stays live

    def __enter__(self) -> Visits:
        return self

    def __exit__(self, *_: object) -> None:
        for visitor in self._windows.values():
            visitor.close()


@contextmanager
def _broken(farm: PrivateFarm) -> Iterator[None]:
    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(farm.database)) as database, database:
            database.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(BROKEN, "away")
    try:
        yield
    finally:
        rename("away", BROKEN)
