"""Amounts of bytes as text for people."""

from __future__ import annotations

_SUFFIXES = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(count: float) -> str:
    """Bytes with a unit of 1000: `0 B`, `999 B`, `1.2 kB`, `12.3 MB`, `123 GB`."""
    value = float(count)
    for suffix in _SUFFIXES:
        # 999.5 would be shown as 1000: it belongs to the next unit
        if value < 999.5 or suffix == _SUFFIXES[-1]:
            break
        value /= 1000
    if suffix == "B":
        return f"{value:.0f} B"
    return f"{value:.1f} {suffix}" if value < 99.95 else f"{value:.0f} {suffix}"
