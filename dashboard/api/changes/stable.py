"""Positions in the stream, and up to which row of a table nothing can appear any more. No database.

PostgreSQL gives a row its number before its transaction ends, so that a lower number may appear after a
higher one. A reader that went on behind the higher one would never see it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_ID: Final = 2**63 - 1
LONGEST: Final = 300.0
"""Seconds for which the stream waits for a missing number; a transaction that writes events for longer is
missed. Ours."""
AGAIN: Final = 0.5
"""Seconds between the first check of a gap and the one that counts: a transaction may have taken a number and
not yet its own. Ours."""
_FORM: Final = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


class Position(NamedTuple):
    """The last event and the last change of a state that were read; as text `17-4`."""

    event: int
    state: int

    def __str__(self) -> str:
        return f"{self.event}-{self.state}"

    def is_before(self, other: Position) -> bool:
        """Whether something lies between here and `other`."""
        return self.event < other.event or self.state < other.state

    @staticmethod
    def read(text: str) -> Position:
        """Parse the text of a position. Raises ValueError."""
        parts = _FORM.fullmatch(text)
        if parts is None:
            raise ValueError("expected two numbers, such as 17-4")
        found = Position(int(parts[1]), int(parts[2]))
        if max(found) > MAX_ID:
            raise ValueError("expected two numbers, such as 17-4")
        return found


class Seen(NamedTuple):
    """The rows of one table that matter at one moment. The transactions are numbered."""

    ids: Sequence[int]
    """Rows behind the stable ones, ascending."""
    oldest_running: int
    """Before the rows were read: transactions with lower numbers had ended."""
    next_one: int
    """After the rows were read: transactions that had begun have lower numbers."""


class Stable:
    """Finds the last stable row of one table."""

    def __init__(self, last: int) -> None:
        self.last = last
        """Rows up to this one can be read."""
        self._since: float | None = None
        """When a gap was first seen."""
        self._until = 0
        """Transactions that can fill a gap have lower numbers. 0: not known yet."""
        self._covers = 0
        """The highest row that was there then: gaps before it can be filled by these alone."""

    def update(self, seen: Seen, now: float) -> int:
        """Take what the database has now; return `last`, the last stable row. `now` is seconds of a monotonic
        clock."""
        over = self._since is not None and (
            (self._until and seen.oldest_running >= self._until) or now - self._since >= LONGEST
        )
        covered = self._covers if over and self._until else (seen.ids[-1] if over and seen.ids else 0)
        for pk in seen.ids:
            if pk > self.last + 1 and pk > covered:
                break
            self.last = pk
        if over:
            self._since, self._until = None, 0
        if seen.ids and self.last < seen.ids[-1]:
            self._check(seen, now)
        else:
            self._since, self._until = None, 0
        return self.last

    def _check(self, seen: Seen, now: float) -> None:
        if self._since is None:
            self._since = now
        elif not self._until and now - self._since >= AGAIN:
            self._until, self._covers = seen.next_one, seen.ids[-1]
