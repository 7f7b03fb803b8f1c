"""Events about cores that were rewritten, split or corrupted, and about keys that are too large."""

from __future__ import annotations

from collections.abc import Iterator

from hypercore.keys import encode_key

from ..model.events import Event, Forked, Problem
from ..model.kind import Finding
from ..removal.owners import MAX_CORES_OF_KEY
from .tracked_core import TrackedCore


def problems_of(key: bytes, part: TrackedCore, *, failed: bool) -> Iterator[Event]:
    """Events not emitted yet. `failed`: a conflict was emitted."""
    name = encode_key(part.core.key)
    news, part.forks = part.forks, []
    for fork in news:
        yield Forked(key=key, core=part.core.key, **fork._asdict())
        if fork.state == "quarantined":
            text = (
                f"the publisher has rewritten core {name}: fork {fork.new_fork} of "
                f"{fork.new_length} blocks in place of fork {fork.fork} of {fork.length}; what is "
                "here is kept and served, the new history is not fetched unless it is accepted"
            )
            yield Problem(key=key, code="FORK_QUARANTINED", message=text)
    if part.conflict and not failed:
        text = (
            f"the publisher of core {name} has signed two histories: two machines may "
            "publish with one secret, or one goes on from an old backup. What is here is kept and "
            "served; nothing newer is fetched, since nothing tells which history holds. Once there "
            "is only one, remove the key and add it again"
        )
        yield Problem(key=key, code="CONFLICT", message=text)
    if part.backed_off is not None:
        peer, reason, seconds = part.backed_off
        part.backed_off = None
        text = (
            f"peer {encode_key(peer)} {reason} of core {name}; it is not asked again for {seconds:.0f} s, "
            "all else goes on"
        )
        yield Problem(key=key, code="PEER_BACKOFF", message=text)
    if part.corrupt:
        blocks = "1 block" if part.corrupt == 1 else f"{part.corrupt} blocks"
        part.corrupt = 0
        text = (
            f"{blocks} of core {name} turned out damaged on disk; "
            "nothing damaged is served, and a peer is asked for it again"
        )
        yield Problem(key=key, code="BLOCK_DAMAGED", message=text)


def doubts_of(key: bytes, finding: Finding) -> Iterator[Event]:
    """Events about an uncertain kind of key, once."""
    if finding.sealed:
        text = (
            "it looks like an encrypted drive of an older version, whose blobs core (with the contents of "
            "its files) is unknown: an encrypted part alone names it. What this key has is kept. "
            "--encryption-key KEY finds the blobs core; or give the key of that core, too"
        )
        yield Problem(key=key, code="BLOBS_UNKNOWN", message=text)
    if finding.is_writer:
        text = (
            "it is the core of one writer of an autobase, an app with several writers: the cores of the "
            "others, and of what they make together, have keys of their own and are not kept by this one"
        )
        yield Problem(key=key, code="ONE_WRITER", message=text)


def too_many_cores(key: bytes, core: bytes) -> Problem:
    """`core` is one more than a key may have."""
    text = (
        f"the publisher has named core {encode_key(core)} as the drive's contents, after "
        f"{MAX_CORES_OF_KEY - 1} others: it is not fetched. What is here is kept and served; to begin anew, "
        "remove the key and add it again"
    )
    return Problem(key=key, code="TOO_MANY_CORES", message=text)


def too_many_blocks(key: bytes, blocks: int, limit: int) -> Problem:
    """A key has more blocks than are allowed."""
    text = (
        f"it has {blocks:,} blocks, {limit:,} may be (--max-blocks): nothing more of it is "
        "downloaded; what is here is kept and served"
    )
    return Problem(key=key, code="TOO_MANY_BLOCKS", message=text)
