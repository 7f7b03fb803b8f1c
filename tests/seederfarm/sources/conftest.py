"""A server whose answers the tests set, and a registry that no client listens to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal

from seederfarm.registry import signals
from seederfarm.registry.models import Source
from seederfarm.sources.apply import Outcome, apply_reading
from seederfarm.sources.claims import claim, enabled, fetch_source, is_due
from seederfarm.sources.follower import Database, Follower
from seederfarm.sources.list_formats import Parsed, parse_json, parse_lines
from seederfarm.sources.live_lists import SeedLists
from seederfarm.sources.parser_process import Parser


class Site:
    """Path → (status, headers, body). Sends ETags of its own accord when sent one."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.seen: list[tuple[str, dict[str, str], int]] = []
        """Path, headers, and the status that was answered."""
        self.go_on = threading.Event()
        """Answers with the header X-Wait come when this is set."""

    def serve(self, path: str, body: str | bytes, status: int = 200, **headers: str) -> str:
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, {"Content-Type": "application/json", **named}, data)
        return self.base + path


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = made.answers.get(self.path, (404, {}, b"{}"))
            if "ETag" in headers and self.headers.get("If-None-Match") == headers["ETag"]:
                status, body = 304, b""
            if "X-Wait" in headers:
                made.go_on.wait(60)
            made.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304 and "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture(autouse=True)
def sources_of_the_test(settings: Any, tmp_path: Path) -> None:
    """Sources may be read from this machine, and files from the test's directory."""
    settings.FARM = replace(settings.FARM, source_networks=LOOPBACK, source_files=str(tmp_path))


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        monkeypatch.setattr(signals, name, Signal())


class ParserHere(Parser):
    """Parses in this process. What the process of its own is for is tested in `test_parser`."""

    async def parse(self, form: str, body: bytes, mapping: str = "") -> Parsed:
        return parse_lines(body) if form == "lines" else parse_json(body, mapping)


def read(source: Source, at: datetime) -> Outcome | None:
    """What a follower does with a source that is due, in this thread. None: another process did."""
    claimed = claim(source.pk, at)
    if claimed is None:
        return None
    return apply_reading(claimed.source, asyncio.run(fetch_source(claimed, ParserHere())), at)


def read_due(at: datetime) -> int:
    """Every source that is due. Returns how many were read."""
    return sum(read(source, at) is not None for source in enabled() if is_due(source, at))


@contextmanager
def following(folder: Path, bootstrap: list[str]) -> Iterator[SeedLists]:
    """A follower in a thread of its own."""
    made: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, SeedLists]] = []
    began = threading.Event()

    async def main() -> None:
        stop, woken, database = asyncio.Event(), asyncio.Event(), Database()
        lists = SeedLists(folder, bootstrap, woken.set)
        made.append((asyncio.get_running_loop(), stop, lists))
        began.set()
        await Follower(database, lists, woken=woken).run(stop)
        await database.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    began.wait()
    ((loop, stop, lists),) = made
    try:
        yield lists
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
