"""Changes of a core, as its listeners get them."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """A change may have several parts; all are in effect when listeners are called."""

    upgraded: bool = False
    """Whether there is a new head (also after a truncation)."""
    truncated_to: int | None = None
    """The core is on a new fork, which shares this many blocks with the old one."""
    block: int | None = None
    """A block that a peer gave and that is now stored."""
    manifest: bool = False
    """Whether the manifest became known."""
    appended: tuple[int, int] | None = None
    """The local writer added blocks start..end."""
    lost: tuple[int, int] | None = None
    """No block of start..end is stored any more: they were cleared, or are corrupt."""
    corrupt: bool = False
    """Whether the lost blocks are corrupt."""


NO_CHANGE = Change()
"""No change."""
