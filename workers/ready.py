"""Readiness of a process, for what started it: a byte into an inherited pipe, and systemd's notifications."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from .settings.table import READY_FD

SYSTEMD_SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
"""Microseconds without a sign of life after which systemd restarts the service."""


def notify_ready() -> None:
    """Write the byte on the first call; later, and without the variable, do nothing."""
    descriptor = os.environ.pop(READY_FD.name, None)
    if descriptor is not None:
        with suppress(OSError, ValueError):
            os.write(int(descriptor), b"\n")
            os.close(int(descriptor))


class Systemd:
    """Notifies systemd of a service of `Type=notify`. Without systemd every call does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get(SYSTEMD_SOCKET, "").replace("@", "\0", 1)
        period = environ.get(WATCHDOG, "")
        self._period = int(period) / 1e6 if period.isdigit() and self._address else 0.0
        self._stop = threading.Event()

    def notify(self, *lines: str) -> None:
        """Send lines such as `READY=1` or `STATUS=joining`."""
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto("\n".join(lines).encode(), self._address)

    def watch(self, alive: Callable[[], bool]) -> None:
        """Send signs of life from now on, each after `alive()` has returned true. One that hangs sends
        none."""
        if self._period:
            threading.Thread(target=self._watch, args=(alive,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Send no more signs of life."""
        self._stop.set()
        self.notify("STOPPING=1")

    def _watch(self, alive: Callable[[], bool]) -> None:
        while not self._stop.wait(self._period / 3):
            if alive():
                self.notify("WATCHDOG=1")
