"""Decides which cores of a message are recorded, and which are replicated now.

The rules are those of blind-peer 3.13 (`addCores`), with two differences: the record decides whether a core
is known, so that a deleted one can be added again; and a collected core returns when there is room for it.
"""

from __future__ import annotations

from typing import NamedTuple

from .records import Record

MAX_PRIORITY = 2
"""Highest priority of a request on a `blind-peer` channel (blind-peer 3.11)."""

MAX_RPC_PRIORITY = 1
"""The same for the RPC `add-core` (all versions)."""


class Stored(NamedTuple):
    """A core as it is stored."""

    length: int
    complete: bool


NOTHING = Stored(0, True)
"""A core that is not stored."""


def activates(
    record: Record | None, stored: Stored, *, length: int, announce: bool, priority: int, may_return: bool
) -> bool:
    """Whether a core that a client names is replicated with it now.

    `record` is None for a new core, `length` the client's. An equal and complete core is not: thousands of
    unchanged cores cost nothing when a client returns. A shorter one at the client is: that client lacks the
    newer blocks. `may_return`: there is room for a collected core.
    """
    if record is None or announce:
        return True
    if record.collected:
        return priority >= MAX_PRIORITY or may_return
    return stored.length != length or not stored.complete


def raised(record: Record, *, priority: int, announce: bool) -> bool:
    """Raise priority and announcement of a record as a later request asks. Returns whether it has changed;
    neither ever falls."""
    before = (record.priority, record.announce)
    record.priority = max(record.priority, priority)
    record.announce = record.announce or announce
    return before != (record.priority, record.announce)
