"""The cores that clients have a worker's blind peer keep, as the worker reports them.

Clients are unknown peers, and a worker may be stolen: control registers at most what its own bounds allow.
What control has registered is marked in the worker's assignment (`AssignmentEntry.blind_peer`), so that the
worker knows what to report again.
"""

from __future__ import annotations

from typing import Final

from .message import Key, Message, Seconds

MAX_BLIND_CORES: Final = 200
"""Cores in a report. Ours."""

MAX_CORES_OF_WORKER: Final = 16_384
"""Cores of one worker's blind peer that are registered; beyond it they are only counted. Ours."""


class BlindCore(Message, frozen=True, kw_only=True):
    """A core that a client has named at the worker's blind peer."""

    key: Key
    client: Key | None = None
    """Public key of the client that named it first. None: the blind peer keeps it no longer."""
    announced: bool = False
    """A client that the worker's operator trusts has it announced."""
    active_at: Seconds | None = None
    """When the client, or a reader, last used it."""
