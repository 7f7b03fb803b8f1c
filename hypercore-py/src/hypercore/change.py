"""Changes of a core, as its listeners get them."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """Several things may have happened at once; all of it is in effect when listeners are called."""

    upgraded: bool = False
    """There is a new head (also after a truncation)."""
    truncated_to: int | None = None
    """The core is on a new fork, which shares this many blocks with the old one."""
    block: int | None = None
    """This block came from a peer and is present now."""
    manifest: bool = False
    """The manifest is known now."""
    appended: tuple[int, int] | None = None
    """The local writer added blocks start..end."""
    lost: tuple[int, int] | None = None
    """No block of start..end is stored any more: they were cleared, or are corrupt."""
    corrupt: bool = False
    """The lost blocks were found damaged."""


NO_CHANGE = Change()
"""No change."""
