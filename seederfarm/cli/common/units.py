"""Numbers as people read them."""

from __future__ import annotations

from hypercore.sizes import size_text

size = size_text
"""`0 B`, `999 B`, `1.2 kB`, `12.3 MB`, `123 GB`."""


def address(host: str, port: int) -> str:
    """`203.0.113.7:49737`, or `UDP port 49737` where no address of ours is known yet."""
    return f"UDP port {port}" if host in ("0.0.0.0", "::") else f"{host}:{port}"


def rate(per_second: float) -> str:
    """Bytes a second; a dash for none."""
    return f"{size(per_second)}/s" if per_second >= 0.5 else "–"


def have_of(have: int, total: int) -> str:
    """`3.1 of 12.3 MB`, or just the total when all of it is here."""
    if have >= total:
        return size(total)
    left, right = size(have), size(total)
    if left.rpartition(" ")[2] == right.rpartition(" ")[2]:
        left = left.rpartition(" ")[0]
    return f"{left} of {right}"


def limit(name: str, value: float, most: int) -> str:
    """`↑ 1.0 of 2.0 MB/s`, `9.9 of 10.0 GB stored`, `12 of 64 connections`."""
    if name in ("up", "down"):
        used = size(min(value, most))
        if used.rpartition(" ")[2] == size(most).rpartition(" ")[2]:
            used = used.rpartition(" ")[0]
        return f"{'↑' if name == 'up' else '↓'} {used} of {size(most)}/s"
    if name == "disk":
        left, right = size(value), size(most)
        return f"{left.rpartition(' ')[0] if left[-2:] == right[-2:] else left} of {right} stored"
    return f"{round(value):,} of {most:,} {'connections' if name == 'peers' else name}"


def count_of(have: int, total: int) -> str:
    """`3,105 of 5,000`, or just the total when all of it is here."""
    return f"{total:,}" if have >= total else f"{have:,} of {total:,}"


def percent(fraction: float) -> str:
    """Whole percents, rounded down: 100% means all of it."""
    return f"{int(fraction * 100)}%"


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:12:05`, `2 d 3:12`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def plural(count: int, noun: str) -> str:
    """`1 peer`, `2 peers`, `1,200 peers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
