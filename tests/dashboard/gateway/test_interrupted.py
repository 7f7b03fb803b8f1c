"""Files that the gateway ends early. It is a false one here, which needs no drive."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.gateway.client import Interrupted
from seederfarm.registry import roles
from seederfarm.settings import table
from seederfarm.unfinished import Unfinished

from ...seederfarm.registry.factories import make_drive
from ...support.databases import FarmDatabase
from ..conftest import member
from .conftest import Browser

FILE = {
    "type": "facts",
    "kind": "file",
    "path": "/a.txt",
    "size": 100,
    "etag": "e",
    "version": 1,
    "newest": 1,
}
FOLDER = {**FILE, "kind": "folder", "path": "/"}
BEGIN: dict[str, Any] = {"type": "begin"}
FAILED = {"type": "failed", "code": "unavailable", "text": "No copy was reached."}


class FalseGateway:
    """Gives each connection `answers`, one for each line that it gets, and closes it then."""

    def __init__(self, path: Path) -> None:
        self.answers: list[bytes] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def will(self, *answers: tuple[dict[str, Any], bytes]) -> None:
        self.answers = [json.dumps(head).encode() + b"\n" + body for head, body in answers]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for answer, _ in zip(self.answers, lines, strict=False):
                    connection.sendall(answer)

    def dispose(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FalseGateway]:
    path = tmp_path / "g.sock"
    monkeypatch.setattr(table.FarmSettings, "gateway_socket", property(lambda self: path))
    made = FalseGateway(path)
    yield made
    made.dispose()


@pytest.fixture
def viewer_here(database: FarmDatabase) -> Browser:
    return Browser(make_drive("here").key, member("vera", roles.VIEWER))


def test_a_file_that_ends_early_is_unfinished_and_named(gateway: FalseGateway, viewer_here: Browser) -> None:
    gateway.will((FILE, b""), (BEGIN, b"x" * 60))
    with pytest.raises(Unfinished, match=r"/files/a\.txt: the gateway has ended the connection"):
        viewer_here.get("/files/a.txt")


def test_a_later_range_that_cannot_be_read_is_unfinished(gateway: FalseGateway, viewer_here: Browser) -> None:
    gateway.will((FILE, b""), (BEGIN, b"x" * 10), (FAILED, b""))
    with pytest.raises(Unfinished, match=r"/files/a\.txt: No copy was reached\."):
        viewer_here.get("/files/a.txt", Range="bytes=0-9,50-59")


def test_an_archive_that_ends_early_is_unfinished(gateway: FalseGateway, viewer_here: Browser) -> None:
    gateway.will((FOLDER, b""), (BEGIN, b"\0\0\0\x09abc"))
    with pytest.raises(Interrupted, match="/zip/: the gateway has ended the connection"):
        viewer_here.get("/zip/")


def test_a_preview_of_it_says_so(gateway: FalseGateway, viewer_here: Browser) -> None:
    gateway.will((FILE, b""), (BEGIN, b"x" * 60))
    answer = viewer_here.get("/preview/a.txt")
    assert answer.status == 503 and "The file ended early." in answer.text
