"""Headless Chromium of this machine, driven by Playwright, and what it says of the pages that it shows."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from .paths import PEERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = PEERS / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""Rules of axe that pages keep."""
MAX_HEIGHT = 8000
"""Pixels of a window."""
YIELD = 10
"""Steps of priority below other tests."""
TIMEOUT = 60.0
"""Seconds that an element is waited for, on a machine that is busy with other tests."""


def find_chromium() -> str | None:
    """FARM_CHROMIUM, else the first of PROGRAMS in PATH."""
    names = [os.environ["FARM_CHROMIUM"]] if os.environ.get("FARM_CHROMIUM") else PROGRAMS
    return next(filter(None, map(shutil.which, names)), None)


def missing() -> str | None:
    """Why no page can be shown here, or None when it can."""
    if find_chromium() is None:
        return "Chromium is not installed: no page is shown to a browser"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: run ./farm test once"
    return None


def missing_axe() -> str | None:
    return None if AXE.is_file() else "axe-core is not installed: run `npm ci` in tests/peers"


@contextmanager
def running_browser() -> Iterator[Browser]:
    """One for many tests. While it runs, this thread has an event loop that others cannot start beside it."""
    from playwright.sync_api import sync_playwright

    with _yielding(), sync_playwright() as playwright:
        # /dev/shm of containers is small; pages of this repository need no sandbox against us
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _yielding() -> Iterator[None]:
    """Let tests beside this one go first: Chromium fills all cores. Processes begun here inherit that."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(before + YIELD, 19))
    try:
        yield
    finally:
        with suppress(PermissionError):  # only root may take it back
            os.setpriority(os.PRIO_PROCESS, 0, before)


class Visitor:
    """A browser window with cookies of its own. `problems` has what the browser complained about."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        width: int = 1440,
        height: int = 900,
        theme: str = "light",
        session: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        """`session`: name and value of a cookie by which an account is logged in."""
        self.address = address.rstrip("/")
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, base_url=self.address, **options
        )
        self.context.set_default_timeout(TIMEOUT * 1000)
        self.context.add_init_script(_OBSERVE)
        if session is not None:
            self.context.add_cookies([{"name": session[0], "value": session[1], "url": self.address}])
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))

    def _on_console(self, message: Any) -> None:
        # what loads later may be refused, as the files of a drive without copies: the page says so
        if message.type in ("error", "warning") and "fragment=1" not in message.location.get("url", ""):
            self.problems.append(f"{message.type}: {message.text}")

    def go(self, path: str) -> int:
        """Open an address, wait until it has been laid out, and return the status."""
        response = self.page.goto(path, wait_until="load")
        assert response is not None, path
        self.page.evaluate("document.fonts.ready.then(() => true)")
        return response.status

    def show_in(self, theme: str) -> None:
        """The theme of the page that is open: `light` or `dark`."""
        self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        # the admin reads the system's wish once
        self.page.evaluate(_ADMIN_THEME, theme == "dark")

    def take_problems(self) -> list[str]:
        """What was complained about since the last call, violations of the content policy among it."""
        violations = self.page.evaluate("window.observedViolations.splice(0)")
        found, self.problems = [*self.problems, *(f"policy: {text}" for text in violations)], []
        return found

    def layout_shift(self) -> float:
        """How much has moved by itself since the page was opened, as Chromium counts it (CLS)."""
        return float(self.page.evaluate("window.observedShift"))

    def moved(self) -> list[str]:
        """What has moved, for a failure."""
        return list(self.page.evaluate("window.observedMoves"))

    def axe(self, rules: list[str] | None = None) -> list[str]:
        """Findings on what is shown now, of `rules` or of the kinds RULES: rule, impact, element."""
        if not self.page.evaluate("'axe' in window"):
            # not as an element: the page's policy allows no script but its own
            self.page.evaluate(_axe_source())
        found = self.page.evaluate(_RUN_AXE, {"type": "rule", "values": rules} if rules else RULES)
        return [
            f"{rule} ({impact}): {target}: {' '.join(summary.split())[:300]}"
            for rule, impact, nodes in found
            for target, summary in nodes
        ]

    def make_as_high_as_the_page(self) -> None:
        """So that nothing is below what sticks to an edge of the window."""
        high = self.page.evaluate("document.documentElement.scrollHeight")
        width = self.page.evaluate("innerWidth")
        self.page.set_viewport_size({"width": width, "height": min(high, MAX_HEIGHT)})

    def close(self) -> None:
        self.context.close()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def _axe_source() -> str:
    return AXE.read_text() + "\n;true"


_ADMIN_THEME = """
dark => document.querySelector('html[x-data]')?.classList.toggle('dark', dark)
"""
_RUN_AXE = """
rules => axe.run(document, { runOnly: rules, resultTypes: ['violations'] }).then(result =>
  result.violations.map(rule => [
    rule.id, rule.impact, rule.nodes.map(node => [node.target.join(' '), node.failureSummary])
  ]))
"""
_OBSERVE = """
window.observedViolations = []
document.addEventListener('securitypolicyviolation', event =>
  window.observedViolations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`))
window.observedShift = 0
window.observedMoves = []
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue
    window.observedShift += entry.value
    for (const { node, previousRect, currentRect } of entry.sources) {
      const name = node ? (node.outerHTML || node.textContent).slice(0, 80) : 'removed'
      window.observedMoves.push(`${name}: ${JSON.stringify(previousRect)} to ${JSON.stringify(currentRect)}`)
    }
  }
}).observe({ type: 'layout-shift', buffered: true })
"""
