"""`python -m seederfarm.containers.health ROLE`: exit status 0 while the process of this container works.

Imports the standard library alone: it runs twice a minute in every container.
"""

from __future__ import annotations

import http.client
import socket
import sys
from pathlib import Path
from typing import Final

READY: Final = Path("/tmp/seederfarm-ready")
"""Has a byte once the process has reported that it is ready (`workers.ready`). Of this container alone: a
file system in memory."""
HOME: Final = Path("/var/lib/seederfarm")
"""SEEDERFARM_HOME in the image."""
PAGES: Final = {"web": 8000, "worker": 9464}
"""Roles that answer `/healthz`, and their ports."""
FLOWER_PORT: Final = 5555
TIMEOUT: Final = 5.0
"""Seconds for an answer."""


def problem(role: str) -> str:
    """Why the process does not work; empty if it does."""
    try:
        if (port := PAGES.get(role)) is not None:
            return _page(port)
        if role == "flower":
            socket.create_connection(("127.0.0.1", FLOWER_PORT), TIMEOUT).close()
            return ""
        if role == "gateway":
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(TIMEOUT)
                client.connect(str(HOME / "run" / "gateway.sock"))
            return ""
        return "" if READY.stat().st_size else f"{role} has not reported that it is ready"
    except (OSError, http.client.HTTPException) as error:
        return f"{role} does not answer: {error}"


def _page(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if status == http.client.OK else f"/healthz answers {status}"


def main(arguments: list[str]) -> int:
    """Print the problem of a role, if there is one. Returns the exit status."""
    why = problem(arguments[0])
    if why:
        sys.stderr.write(f"{why}\n")
    return int(bool(why))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
