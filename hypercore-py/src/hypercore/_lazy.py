"""Packages whose public names are imported when they are first used.

A program that only decodes a key then loads no database, crypto library or event loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The `__getattr__` of `package`. `homes` maps relative module names to their public names."""
    modules = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module, package), name)
        setattr(sys.modules[package], name, value)  # not asked for here again
        return value

    return get
