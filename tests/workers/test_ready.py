"""What a service says to systemd."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from workers.ready import Systemd


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(10)
    return listener


def test_signs_of_life_come_while_the_process_answers_itself(tmp_path: Path) -> None:
    with listening(tmp_path / "notify") as listener:
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"})
        systemd.notify("READY=1", "STATUS=seeding")
        assert listener.recv(100) == b"READY=1\nSTATUS=seeding"
        stuck, asked = threading.Event(), threading.Event()

        def alive() -> bool:
            if stuck.is_set():
                asked.set()
                return False
            return True

        systemd.watch(alive)
        assert listener.recv(100) == b"WATCHDOG=1"
        stuck.set()
        assert asked.wait(10)
        systemd.stop()
        messages = [listener.recv(100)]
        while messages[-1] != b"STOPPING=1":
            messages.append(listener.recv(100))
        assert set(messages[:-1]) <= {b"WATCHDOG=1"}


def test_without_systemd_nothing_is_sent(tmp_path: Path) -> None:
    before = threading.active_count()
    systemd = Systemd({"WATCHDOG_USEC": "1000"})
    systemd.notify("READY=1")
    systemd.watch(lambda: True)
    assert threading.active_count() == before, "no thread watches"
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify("READY=1")  # systemd went away
