"""The version of the installed program, as a worker reports it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software() -> str:
    """Name and version; the name alone where nothing is installed."""
    try:
        return f"seederfarm {version('seederfarm')}"
    except PackageNotFoundError:
        return "seederfarm"
