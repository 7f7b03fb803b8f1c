"""What a check found."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One line of a report."""

    check: str
    """What was checked, in a word or two."""
    state: State
    text: str
    hint: str = ""
    """What to do; empty where nothing is wrong."""
