"""A farm with all its processes, an official publisher, and an operator who looks through a browser."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hypercore.keys import encode_key

from ..support.browser import Visitor
from ..support.content import File, sha256
from ..support.control_processes import QUICK
from ..support.farm_home import FarmHome
from ..support.film import film
from ..support.node import Publisher
from ..support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Response

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

TIDES = File(path="/tables/tides.bin", size=700_000)
SECONDS = 60
EACH = 200_000
"""Bytes of a second of the film: as many in all as no browser reads ahead."""
LATER = 48
"""Second of the film to jump to."""
TIMEOUT = 60_000.0
"""Milliseconds for what the farm does by itself, on a machine that is busy with other tests."""
AWAY = "00:00:50"
"""More than the silence after which a page says that it is stale."""


@contextmanager
def running(farm: FarmHome) -> Iterator[dict[str, Any]]:
    """`up`, until the pages are there; the other processes follow. Yields the account that it made."""
    with farm.popen("up", "--json") as supervisor:
        try:
            assert supervisor.stdout is not None
            events: dict[str, dict[str, Any]] = {}
            while "pages" not in events:
                line = supervisor.stdout.readline()
                assert line, farm.logs()
                event = json.loads(line)
                events[event["event"]] = event
            yield events["admin"]
        finally:
            print(farm.logs())  # noqa: T201 - shown when the test fails
            supervisor.send_signal(signal.SIGTERM)
            supervisor.communicate(timeout=60)


@pytest.fixture
def key(publisher: Publisher, tmp_path: Path) -> str:
    """Of a drive with a film, on the swarm."""
    place = tmp_path / "film.webm"
    place.write_bytes(film(SECONDS, EACH))
    publisher.make("thing", "drive")
    publisher.put_all("thing", [TIDES])
    publisher.ask("copy", name="thing", path="/film.webm", **{"from": str(place)})
    publisher.ask("join", name="thing")
    return encode_key(bytes.fromhex(publisher.ask("describe", name="thing")["key"]))


def test_an_operator_adds_watches_reads_drains_and_loses_the_server(
    browser: Browser, publisher: Publisher, key: str, bootstrap: list[str], tmp_path: Path
) -> None:
    settings = {**QUICK, "SEEDERFARM_AUDIT_EVERY": "4s", "SEEDERFARM_BOOTSTRAP": ",".join(bootstrap)}
    farm = FarmHome(tmp_path / "farm", SEEDERFARM_REPLICAS="1", **settings)
    with running(farm) as account, Visitor(browser, farm.address) as visitor:
        page = visitor.page
        log_in(page, account)
        add_and_watch(page, key)
        publisher.stop()
        browse_and_download(page)
        jump_in_the_film(page, key)
        drain_and_take_back(page)
        assert visitor.take_problems() == []
        lose_the_server_and_find_it(page, key, farm)
        expect_safe(page)


def log_in(page: Page, account: dict[str, Any]) -> None:
    page.goto("/")
    page.fill("#user", account["username"])
    page.fill("#pass", account["password"])
    page.click("[type=submit].big")
    page.get_by_role("heading", name="Give it something to keep").wait_for()


def add_and_watch(page: Page, key: str) -> None:
    """The pasted key becomes safe before the eyes: the page is not loaded again."""
    page.fill("#key", f" hyper://{key}/ ")
    page.click("text=Keep it")
    page.wait_for_url(f"**/drives/{key}/")
    page.evaluate("window.neverLoadedAgain = true")
    expect_safe(page)
    page.locator("#files .files", has_text="film.webm").wait_for(timeout=TIMEOUT)
    assert page.evaluate("window.neverLoadedAgain")


def expect_safe(page: Page) -> None:
    safe = page.locator(".verdict.is-safe", has_text="Safe to go offline: 1 complete copy")
    safe.wait_for(timeout=TIMEOUT)


def browse_and_download(page: Page) -> None:
    """The publisher is gone: the bytes are the farm's."""
    page.click("#files a:has-text('All files')")
    page.click(".files a:has-text('tables')")
    with page.expect_download() as started:
        page.click("[aria-label='Download tides.bin']")
    assert sha256(started.value.path().read_bytes()) == sha256(TIDES.bytes)


def jump_in_the_film(page: Page, key: str) -> None:
    ranges: list[int] = []

    def add_range(response: Response) -> None:
        found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
        if response.status == 206 and found:
            ranges.append(int(found[1]))

    page.on("response", add_range)
    page.goto(f"/drives/{key}/preview/film.webm")
    video = page.locator("video")
    wait_until(video, "one.readyState > 0", "the beginning of the film")
    assert video.evaluate("one => one.duration") == SECONDS
    video.evaluate(f"one => {{ one.muted = true; one.currentTime = {LATER} }}")
    wait_until(video, "!one.seeking && one.readyState > 1", "the place to which it jumped")
    video.evaluate("one => one.play()")
    wait_until(video, f"one.currentTime > {LATER}", "the film to play")
    page.remove_listener("response", add_range)
    assert max(ranges) > LATER * EACH // 2, "the bytes between were not read"


def wait_until(element: Locator, condition: str, what: str) -> None:
    """The page's policy refuses the browser's own way to wait for a condition."""
    eventually(lambda: bool(element.evaluate(f"one => {condition}")), timeout=30, what=what)


def drain_and_take_back(page: Page) -> None:
    page.goto("/workers/")
    page.click("[aria-label^='Actions for']")
    page.click(".menu:popover-open button:has-text('Drain')")
    page.locator(".callout", has_text="it serves what it has until other workers have it").wait_for()
    page.locator(".table .state", has_text="Draining").wait_for()
    page.click("[aria-label^='Actions for']")
    page.click(".menu:popover-open button:has-text('End the drain')")
    page.locator(".callout", has_text="keeps its copies").wait_for()


def lose_the_server_and_find_it(page: Page, key: str, farm: FarmHome) -> None:
    """It falls silent, then ends; the supervisor starts another one, and the page finds it by itself."""
    page.clock.install()
    page.goto(f"/drives/{key}/")
    page.locator("#main .live", has_text="Live").first.wait_for()
    page.evaluate("window.neverLoadedAgain = true")
    before = farm.pids()["web"]
    os.kill(before, signal.SIGSTOP)
    page.clock.fast_forward(AWAY)
    page.locator("#main .live.off", has_text="Not updated since").wait_for()
    os.kill(before, signal.SIGKILL)
    page.locator("#main .live:not(.off)", has_text="Live").wait_for(timeout=TIMEOUT)
    assert farm.pids()["web"] != before
    assert page.evaluate("window.neverLoadedAgain")
