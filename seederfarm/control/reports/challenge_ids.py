"""Ids of challenges, which control recognises after their rows are gone.

The row of a challenge goes with the copy that it is about, which may be removed before the answer comes. An
id is a UUID of three parts: the deadline in Unix seconds (4 bytes), random bytes (6), and the first 6 bytes
of a MAC over both and the worker that was asked. A forged one gains nothing: its answer is ignored either
way.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import compare_digest

from hypercore.crypto import blake2b_256

from ..messaging.identity import identity

_CONTEXT = b"seederfarm/challenge/1\n"
_RANDOM_BYTES, _MAC_BYTES = 6, 6


def make(node_id: str, deadline: datetime, random_bytes: Callable[[int], bytes] = os.urandom) -> uuid.UUID:
    """The id of a challenge to this worker."""
    head = int(deadline.timestamp()).to_bytes(4, "big") + random_bytes(_RANDOM_BYTES)
    return uuid.UUID(bytes=head + _mac(head, node_id))


def deadline_of(number: uuid.UUID, node_id: str) -> datetime | None:
    """The deadline, to the second, of a challenge that control has made for this worker; None for any other
    id."""
    head, mac = number.bytes[:-_MAC_BYTES], number.bytes[-_MAC_BYTES:]
    if not compare_digest(mac, _mac(head, node_id)):
        return None
    return datetime.fromtimestamp(int.from_bytes(head[:4], "big"), UTC)


def _mac(head: bytes, node_id: str) -> bytes:
    key = blake2b_256(_CONTEXT, identity().key_pair.seed)
    return blake2b_256(head, node_id.encode(), key=key)[:_MAC_BYTES]
