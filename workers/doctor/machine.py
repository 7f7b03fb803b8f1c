"""Checks of the machine: program, disk, clock."""

from __future__ import annotations

import errno
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..engine.settings.settings import headroom
from ..units import format_size
from .finding import Finding

CLOCK_SKEW = 120.0
"""Seconds that two clocks may differ: messages that expire allow for more, certificates for little."""

SET_CLOCK = "sudo timedatectl set-ntp true"
TIMEOUT = 5.0


def check_versions() -> Finding:
    """Of the interpreter and the program."""
    try:
        ours = version("seederfarm")
    except PackageNotFoundError:
        ours = "from sources"
    machine = f"{platform.system()} on {platform.machine()}"
    text = f"seederfarm {ours}, Python {platform.python_version()}, {machine}"
    if sys.maxsize < 2**32:
        return Finding(
            "versions",
            "warning",
            text,
            "32 bits: use a 64-bit system, for which packages are compiled already",
        )
    return Finding("versions", "ok", text)


def check_disk(name: str, directory: Path, keep_free: int | None = None) -> Finding:
    """Whether it can be written, and has more room than what stays free. One that does not exist yet is not
    made. `keep_free`: None for the default."""
    try:
        while not directory.exists() and directory != directory.parent:
            directory = directory.parent
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x" * 4096)
        usage = shutil.disk_usage(directory)
    except OSError as error:
        return Finding(name, "problem", f"{directory}: {error.strerror or error}", _disk_hint(error))
    text = f"{directory}: {format_size(usage.free)} of {format_size(usage.total)} free"
    reserve = headroom(usage.total) if keep_free is None else keep_free
    if usage.free <= reserve:
        hint = f"Make room: downloads wait until {format_size(reserve)} are free (SEEDERFARM_KEEP_FREE)"
        return Finding(name, "warning", text, hint)
    return Finding(name, "ok", text)


def _disk_hint(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "The disk is read-only: an SD card that fails is mounted so. See dmesg, and replace it"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: make room"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Run this as the user of the worker or farm, or change the owner of the directory"
    return "Is the directory the right one, and its disk mounted?"


def check_clock() -> Finding:
    """Whether the system's clock is kept right. Messages and certificates have times."""
    command = ("timedatectl", "show", "--property", "NTPSynchronized", "--value")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        answer = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if answer == "no":
        return Finding("clock", "warning", "not synchronised with a time server", SET_CLOCK)
    if answer == "yes":
        return Finding("clock", "ok", "synchronised")
    hint = "timedatectl does not say: see that a time server sets it (chrony, systemd-timesyncd, the host)"
    return Finding("clock", "warning", "cannot say whether it is synchronised", hint)


def compare_clocks(ours: float, theirs: float, whose: str) -> Finding:
    """Unix times of this machine and of another one, asked at the same moment."""
    ahead = ours - theirs
    if abs(ahead) <= CLOCK_SKEW:
        return Finding("clock", "ok", f"within {max(1, round(abs(ahead)))} s of that of {whose}")
    text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {whose}"
    return Finding("clock", "problem", text, f"Set the one that is wrong: {SET_CLOCK}")
