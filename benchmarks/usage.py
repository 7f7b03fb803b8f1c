"""What a process costs, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """CPU time so far and the largest resident set so far."""

    cpu: float
    """Seconds, user and system, of all threads."""
    peak_rss: int
    """Bytes."""


def usage(pid: int) -> Usage:
    """What the process `pid` has used up to now. Raises OSError when there is no such process."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()  # the command's name may hold spaces and parentheses
    user, system = int(fields[11]), int(fields[12])
    peak = 0
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) * 1024
    return Usage((user + system) * _TICK, peak)


def resident(pid: int) -> int:
    """Bytes that are resident now."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
