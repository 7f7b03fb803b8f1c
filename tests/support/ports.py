"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to clients (32768 and up): a server that is stopped and started again finds
its port free, whatever connections the other tests open meanwhile."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
