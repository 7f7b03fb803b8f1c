"""A socket on a host of a lab: sends what it is asked to, and reports who it hears from.

python -m tests.nat.udp_host HOST PORT
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from struct import pack
from typing import Any

from ..support.json_process import CommandedProcess
from ..support.nat_world import ROOT


class UdpHost(CommandedProcess):
    """Such a socket, as a process."""

    def __init__(self, prefix: Sequence[str], host: str = "0.0.0.0", port: int = 4000) -> None:
        super().__init__(
            "a socket",
            [*prefix, sys.executable, "-m", "tests.nat.udp_host", host, str(port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_timeout=30,
        )

    def send_to(self, to: tuple[str, int], text: str, ttl: int = 64) -> None:
        self.ask("send", to=to, text=text, ttl=ttl)

    def hears(self, text: str, *, timeout: float = 20) -> tuple[str, int]:
        """Waits for it; gives where it came from."""
        event = self.wait_for(lambda event: event.get("text") == text, timeout=timeout, what=repr(text))
        host, port = event["source"]
        return host, port

    def has_heard(self, text: str) -> bool:
        return any(True for _ in self.select(lambda event: event.get("text") == text))


def _print(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _listen(sock: socket.socket) -> None:
    while True:
        data, source = sock.recvfrom(65536)
        _print({"event": "heard", "text": data.decode(), "source": source})


def _main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], int(sys.argv[2])))
    threading.Thread(target=_listen, args=[sock], daemon=True).start()
    _print({"event": "ready"})
    for line in sys.stdin:
        command = json.loads(line)
        host, port = command["to"]
        control = [(socket.IPPROTO_IP, socket.IP_TTL, pack("i", command["ttl"]))]
        sock.sendmsg([command["text"].encode()], control, 0, (host, port))
        _print({"reply": command["id"]})


if __name__ == "__main__":
    _main()
