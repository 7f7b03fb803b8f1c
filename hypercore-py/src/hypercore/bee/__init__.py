"""Hyperbee: a sorted key-value store in a core."""

from .bee import Bee, BeeEntry, Change
from .kind import Kind, detect_kind, is_bee, kind_of
from .messages import Header
from .writer import BeeBatch, BeeWriter

__all__ = [
    "Bee",
    "BeeBatch",
    "BeeEntry",
    "BeeWriter",
    "Change",
    "Header",
    "Kind",
    "detect_kind",
    "is_bee",
    "kind_of",
]
