"""Files of a drive through a whole farm: from the copy on this machine, and never cut short unnoticed."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hypercore.keys import encode_key

from ..support.content import File
from ..support.farm_home import FarmHome
from ..support.node import Publisher
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

SMALL = File(path="/notes.txt", size=3_000)
LARGE = File(path="/film.mp4", size=64 << 20)


class Web:
    """Requests with a token."""

    def __init__(self, farm: FarmHome, key: str) -> None:
        self._port = urlsplit(farm.address).port
        self._base = f"/drives/{encode_key(bytes.fromhex(key))}/files"
        token = farm.run("tokens", "add", "reader", "--scope", "read").stdout.split()[-1]
        self._headers = {"Authorization": f"Bearer {token}"}

    @contextmanager
    def open(self, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("GET", self._base + path, headers={**self._headers, **headers})
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def status(self, path: str) -> int:
        with self.open(path) as response:
            response.read()
            return response.status


@pytest.mark.timeout(240)
def test_files_outlive_the_publisher_and_a_gateway_that_dies_cuts_nothing_short_unnoticed(
    publisher: Publisher, bootstrap: list[str], processes: ExitStack, tmp_path: Path
) -> None:
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [SMALL, LARGE])
    publisher.ask("join", name="thing")
    key = publisher.ask("describe", name="thing")["key"]
    farm = FarmHome(tmp_path / "farm", SEEDERFARM_BOOTSTRAP=",".join(bootstrap), SEEDERFARM_REPLICAS="1")
    processes.callback(farm.dispose)
    farm.start()
    farm.lines("add", key, "--wait")
    publisher.stop()
    web = Web(farm, key)

    with web.open(SMALL.path) as response:
        assert response.status == 200 and response.read() == SMALL.bytes
    with web.open(LARGE.path, Range="bytes=1000000-1000999") as response:
        assert response.status == 206 and response.read() == LARGE.bytes[1_000_000:1_001_000]

    before = farm.pids()["gateway"]
    with web.open(LARGE.path) as response:
        assert response.read(1 << 20) == LARGE.bytes[: 1 << 20]
        os.kill(before, signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    eventually(lambda: web.status(SMALL.path) == 200, timeout=60, what="another gateway", every=0.5)
    assert farm.pids()["gateway"] != before
    with web.open(LARGE.path) as response:
        assert response.read() == LARGE.bytes
