"""The assignment: the whole list of drives that one worker keeps. Control sends it in pages; workers follow
the newest version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from msgspec import Meta

from hypercore.crypto import blake2b_256

from .message import Count, Digest, Key, Kind, Message
from .rejection import MessageRejected, RejectReason

PAGE_ENTRIES = 1000
"""Entries of a page: about 100 KB of JSON."""

MAX_PAGES = 1000
"""Pages of an assignment; bounds what a worker collects."""

MAX_PEERS = 8
"""Peers of an entry. Ours."""

_MODULUS = 1 << 256


class AssignmentEntry(Message, frozen=True, kw_only=True):
    """A drive that the worker shall keep."""

    key: Key
    kind: Kind | None = None
    """Kind given by the operator. None: detected from the content."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """0 is downloaded first, 9 last."""
    max_fork: Count | None = None
    """Highest fork of the writer that is followed. None: any."""
    blind_peer: bool = False
    """The worker's blind peer keeps it for a client, as the worker has reported (`blind_cores`)."""
    seeded: bool = True
    """Its engine seeds it. False: the worker only reports and proves what its blind peer keeps of it, and the
    blind peer alone decides whether it is announced."""
    announce: bool = True
    """Its engine announces it. False: neither announced nor looked up."""
    peers: Annotated[list[Key], Meta(max_length=MAX_PEERS)] = []
    """Public keys of blind peers of other workers that have it, to fetch it from."""


class AssignmentPage(Message, frozen=True, kw_only=True):
    """A part of an assignment, small enough for one message."""

    version: Count
    page: Annotated[int, Meta(ge=0, lt=MAX_PAGES)]
    pages: Annotated[int, Meta(ge=1, le=MAX_PAGES)]
    digest: Digest
    """Of the whole assignment."""
    entries: Annotated[list[AssignmentEntry], Meta(max_length=PAGE_ENTRIES)]


class Assignment(Message, frozen=True, kw_only=True):
    """All drives that a worker shall keep."""

    version: Count = 0
    entries: list[AssignmentEntry] = []

    @property
    def digest(self) -> str:
        """SHA-256 of the entries, whatever their order."""
        return entries_digest(self.entries)

    def to_pages(self) -> list[AssignmentPage]:
        """Split into pages; an empty assignment has one. Raises MessageRejected (TOO_LARGE) above
        MAX_PAGES."""
        chunks = list(_chunks(self.entries)) or [[]]
        if len(chunks) > MAX_PAGES:
            raise MessageRejected(
                RejectReason.TOO_LARGE,
                f"an assignment of {len(self.entries)} entries, {MAX_PAGES * PAGE_ENTRIES} fit",
            )
        digest = self.digest
        return [
            AssignmentPage(version=self.version, page=i, pages=len(chunks), digest=digest, entries=chunk)
            for i, chunk in enumerate(chunks)
        ]


def _chunks(entries: list[AssignmentEntry]) -> Iterator[list[AssignmentEntry]]:
    for start in range(0, len(entries), PAGE_ENTRIES):
        yield entries[start : start + PAGE_ENTRIES]


def entry_hash(entry: AssignmentEntry) -> int:
    """The number that an entry adds to the digest of its assignment."""
    text = f"{entry.key} {entry.kind or '-'} {entry.priority}"
    if entry.max_fork is not None:
        text += f" {entry.max_fork}"
    if entry.blind_peer:
        text += " blind_peer" if entry.seeded else " blind_peer only"
    if not entry.announce:
        text += " quiet"
    if entry.peers:
        text += f" from {' '.join(sorted(entry.peers))}"
    return int.from_bytes(blake2b_256(text.encode()), "big")


def entries_digest(entries: Iterable[AssignmentEntry]) -> str:
    """Return a digest of the entries that does not depend on their order: the sum of their hashes modulo
    2^256, in hex.

    The sum can be updated as entries are added and removed. It is no cryptographic commitment; the pages are
    signed.
    """
    return f"{sum(map(entry_hash, entries)) % _MODULUS:064x}"


class AssignmentAssembler:
    """Joins pages, which may be lost, repeated or out of order, of one or more transmissions."""

    def __init__(self) -> None:
        self._version = -1
        self._digest = ""
        self._pages: dict[int, AssignmentPage] = {}

    def add(self, page: AssignmentPage) -> Assignment | None:
        """Return the assignment if this page completes it, else None. Ignores pages of older versions.

        Raises MessageRejected (MALFORMED) if all pages are there and do not match the digest.
        """
        if page.page >= page.pages or page.version < self._version:
            return None
        if page.version > self._version or page.digest != self._digest:
            self._version, self._digest, self._pages = page.version, page.digest, {}
        self._pages[page.page] = page
        if len(self._pages) < page.pages:
            return None
        entries = [entry for i in sorted(self._pages) for entry in self._pages[i].entries]
        assignment = Assignment(version=page.version, entries=entries)
        self._version, self._digest, self._pages = page.version, page.digest, {}
        if assignment.digest != page.digest or len({entry.key for entry in entries}) != len(entries):
            raise MessageRejected(
                RejectReason.MALFORMED, f"the pages of assignment {page.version} do not fit its digest"
            )
        return assignment
