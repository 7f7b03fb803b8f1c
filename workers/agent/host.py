"""The machine, as psutil sees it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from farmwire.report import HostStats


def host_stats(data: Path) -> HostStats:
    """Current statistics; `cpu_percent` since the previous call."""
    load, load_5, load_15 = psutil.getloadavg()
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(data))
    return HostStats(
        cpu_percent=psutil.cpu_percent(interval=None),
        load=load,
        load_5=load_5,
        load_15=load_15,
        cores=psutil.cpu_count() or 1,
        memory_bytes=memory.total,
        memory_used_bytes=memory.total - memory.available,
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
        uptime=max(0.0, time.time() - psutil.boot_time()),
    )


def disk_bytes(data: Path) -> int:
    """Bytes of the file system that holds `data`."""
    return int(psutil.disk_usage(str(data)).total)


def rss_of(pid: int) -> int:
    """Resident bytes of a process; 0 if it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
