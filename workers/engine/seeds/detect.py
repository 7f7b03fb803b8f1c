"""Detects the kind of a key from its main core and the record of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence

from hypercore.core import Core

from ..model.interfaces import CoreSession
from ..model.kind import Finding, Kind, derived_blobs_key, inspect
from .cold import SeedRecord
from .tracked_core import TrackedCore


def detection_basis(part: TrackedCore, found: Kind | None) -> object:
    """The inputs of detection, for comparison. `found`: its result so far; block 0 of a drive decides."""
    core = part.core
    has_first = core.has(0)
    decides = (found is Kind.DRIVE or core.has(1)) if has_first else part.full
    return core.fork, core.manifest is not None, has_first, decides


def remembered(core: Core) -> Kind | None:
    """The kind recorded in an earlier run."""
    memo = SeedRecord.decode(core.meta)
    return None if memo is None else memo.kind


def detect_kind(
    part: TrackedCore, *, given: Kind | None, memo: SeedRecord | None, secrets: Sequence[bytes]
) -> Finding:
    """Detect the kind of the key of this main core. `given` is a person's choice, `memo` the earlier record,
    and `secrets` are encryption keys that may read it."""
    core = part.core
    kind = given or (Kind.DRIVE if remembered(core) is Kind.DRIVE else None)
    recorded = memo.second if memo is not None and memo.kind is Kind.DRIVE else None
    block0, block1 = core.get(0), core.get(1)
    found = inspect(core.key, core.manifest, block0, block1, given=kind, secrets=secrets, recorded=recorded)
    if found.kind is None and core.length and part.full:
        # Its first block is unavailable: it counts as a core, unless peers have its blobs core
        return Finding(Kind.CORE, probe=derived_blobs_key(core.key, core.manifest))
    return found


def all_lack(second: CoreSession, main: CoreSession) -> bool:
    """Whether each peer of the main core is known to have nothing of the second one: it rejected its channel,
    or is empty there. False without peers."""
    empty = {peer.remote_public_key for peer in second.peers if not peer.ahead}
    have_main = {peer.remote_public_key for peer in main.peers}
    return bool(have_main) and not second.core.length and have_main <= empty.union(second.declined)
