"""A file of a drive over HTTP: the farm's gateway beside the official serve-drive and hypercore-blob-server.

All read the same content from a store on this machine. Rounds are interleaved, so that a slow spell of the
machine falls on all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from benchmarks.usage import usage
from hypercore.keys import encode_key
from tests.support import node
from tests.support.farm_home import FarmHome
from tests.support.node import Testnet
from workers.gateway.hashed import QUIET_SECONDS

SERVERS = Path(__file__).with_name("servers")
OURS = "ours"
AGAIN = "ours, again"
"""The same file, which was read and hashed a moment ago."""
OFFICIAL = ("serve-drive", "blob-server")
TAKE_BYTES = 1 << 20
"""Bytes that the client takes at a time. It does nothing with them."""
HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One GET of the whole file, or of one byte in its middle."""

    server: str
    mb_per_s: float
    cpu: float
    """Seconds of all processes of the server."""
    first_byte_ms: float
    """From the connection to the first byte of the body."""
    middle_ms: float
    """A range of 64 KiB in the middle, whole."""
    peak_rss: int
    """Bytes, of all processes of the server, so far."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    url: str
    pids: tuple[int, ...]
    headers: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    """Called before each round."""

    def fetch(self, size: int) -> Fetched:
        if self.prepare is not None:
            self.prepare()
        before = sum(usage(pid).cpu for pid in self.pids)
        began = time.perf_counter()
        first, taken = self._get()
        seconds = time.perf_counter() - began
        after = [usage(pid) for pid in self.pids]
        assert taken == size, f"{self.name} sent {taken} of {size} bytes"
        began = time.perf_counter()
        assert self._get(f"Range: bytes={size // 2}-{size // 2 + 65535}")[1] == 65536
        middle = time.perf_counter() - began
        return Fetched(
            server=self.name,
            mb_per_s=size / seconds / 1e6,
            cpu=sum(used.cpu for used in after) - before,
            first_byte_ms=first * 1000,
            middle_ms=middle * 1000,
            peak_rss=sum(used.peak_rss for used in after),
        )

    def _get(self, *headers: str) -> tuple[float, int]:
        """Seconds to the first byte, and the bytes of the body."""
        parts = urlsplit(self.url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{parts.port}", "Connection: close"]
        buffer = bytearray(TAKE_BYTES)
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", parts.port or 80), timeout=120) as connection:
            connection.sendall("\r\n".join((*lines, *self.headers, *headers, "", "")).encode())
            head = b""
            while b"\r\n\r\n" not in head or head.endswith(b"\r\n\r\n"):
                more = connection.recv(HEAD_BYTES)
                assert more, head
                head += more
            first = time.perf_counter() - began
            status, _, body = head.partition(b"\r\n\r\n")
            assert status.split()[1] in (b"200", b"206") and b"chunked" not in status.lower(), status
            taken = len(body)
            while count := connection.recv_into(buffer):
                taken += count
        return first, taken


@contextmanager
def official(name: str, *arguments: str) -> Iterator[tuple[dict[str, Any], int]]:
    """A process of `servers/serve.js`: what it printed, and its id."""
    program = shutil.which("node")
    assert program is not None
    command = [program, str(SERVERS / "serve.js"), name, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield json.loads(process.stdout.readline()), process.pid
        finally:
            process.stdin.close()
            process.wait(20)


def start(stack: ExitStack, folder: Path, mib: int, names: Sequence[str]) -> list[Server]:
    """The servers, each with the whole file in a store of its own program."""
    net = Testnet()
    stack.callback(net.dispose)
    farm = FarmHome(folder / "farm", SEEDERFARM_BOOTSTRAP=",".join(net.bootstrap), SEEDERFARM_REPLICAS="1")
    stack.callback(farm.dispose)
    servers: list[Server] = []
    with official("make", str(folder / "official"), str(mib), *net.bootstrap) as (made, _):
        key = made["key"]
        if OURS in names:
            farm.start()
            farm.lines("add", key, "--wait")
            token = farm.run("tokens", "add", "bench", "--scope", "read").stdout.strip().split()[-1]
            pids = farm.pids()
            url = f"{farm.address}drives/{encode_key(bytes.fromhex(key))}/files/file.bin"
            ours = Server(OURS, url, (pids["web"], pids["gateway"]), (f"Authorization: Bearer {token}",))
            files = list((folder / "farm").rglob("*.blocks"))
            assert files
            servers.append(replace(ours, prepare=partial(change, files)))
    for name in names:
        if name != OURS:
            # An open store is locked, so each gets a copy; the file that ties it to its place is made again
            copy = folder / name
            shutil.copytree(folder / "official", copy, ignore=shutil.ignore_patterns("CORESTORE"))
            made, pid = stack.enter_context(official(name, str(copy), key))
            servers.append(Server(name, redirected(made["url"]), (pid,)))
    if OURS in names:
        servers.append(replace(ours, name=AGAIN, prepare=partial(read_before, ours, files, mib << 20)))
    return servers


def change(files: Sequence[Path]) -> None:
    """Touch the files, so that the gateway hashes their blocks again."""
    for path in files:
        os.utime(path)


def read_before(ours: Server, files: Sequence[Path], size: int) -> None:
    """Have the gateway hash the blocks."""
    quiet = max(path.stat().st_ctime for path in files) + QUIET_SECONDS + 0.1
    time.sleep(max(0.0, quiet - time.time()))
    ours.fetch(size)


def redirected(url: str) -> str:
    """Where an address leads: blob-server sends clients from a file's name to its blob."""
    parts = urlsplit(url)
    connection = HTTPConnection("127.0.0.1", parts.port, timeout=60)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": "bytes=0-0"})
        return urljoin(url, connection.getresponse().headers.get("Location", url))
    finally:
        connection.close()


def median(fetched: Sequence[Fetched], field: str) -> float:
    return float(statistics.median(getattr(one, field) for one in fetched))


def table(fetched: Sequence[Fetched]) -> str:
    """For people: medians over the rounds."""
    names = list(dict.fromkeys(one.server for one in fetched))
    lines = [
        "| | MB/s | CPU s | first byte, ms | 64 KiB in the middle, ms | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        these = [one for one in fetched if one.server == name]
        lines.append(
            f"| {name} | {median(these, 'mb_per_s'):.0f} | {median(these, 'cpu'):.2f} | "
            f"{median(these, 'first_byte_ms'):.1f} | {median(these, 'middle_ms'):.1f} | "
            f"{median(these, 'peak_rss') / 1e6:.0f} |"
        )
    for mine, name in product((OURS, AGAIN), OFFICIAL):
        ours, these = ([one for one in fetched if one.server == each] for each in (mine, name))
        if ours and these:
            speed = median(ours, "mb_per_s") / median(these, "mb_per_s")
            cpu = median(ours, "cpu") / median(these, "cpu")
            lines.append(f"\n{mine} / {name}: {speed:.2f} of the speed at {cpu:.2f} of the CPU")
    return "\n".join(lines)


def missing() -> str | None:
    """Why it cannot run here."""
    if (reason := node.missing()) is not None:
        return reason
    if not (SERVERS / "node_modules" / "serve-drive").is_dir():
        return f"the official servers are not installed: run `npm ci` in {SERVERS}"
    return None


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="farm bench gateway", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (1024)")
    parser.add_argument("--rounds", type=int, default=3, help="downloads from each server (3)")
    parser.add_argument(
        "--server", action="append", choices=(OURS, *OFFICIAL), help="only this one (repeatable)"
    )
    parser.add_argument("--workdir", type=Path, help="where the stores go (a temporary directory)")
    parser.add_argument("--json", action="store_true", help="every download as one JSON object")
    options = parser.parse_args(argv)
    if (reason := missing()) is not None:
        print(f"gateway: {reason}", file=sys.stderr)
        return 1
    fetched: list[Fetched] = []
    folder = Path(tempfile.mkdtemp(prefix="gateway-", dir=options.workdir))
    try:
        with ExitStack() as stack:
            servers = start(stack, folder, options.mib, options.server or (OURS, *OFFICIAL))
            for number in range(options.rounds):
                for server in servers:
                    fetched.append(server.fetch(options.mib << 20))
                    speed = f"{fetched[-1].mb_per_s:.0f} MB/s"
                    print(f"round {number + 1}: {server.name}: {speed}", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"fetched": [asdict(one) for one in fetched]}) if options.json else table(fetched))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
