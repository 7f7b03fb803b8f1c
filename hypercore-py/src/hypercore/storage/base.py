"""What a place to keep cores must do (`Backend`), and the shapes that are handed to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class CoreRow(NamedTuple):
    """What is stored about a core besides its tree, its bits and its blocks."""

    id: int
    """Local number. Never used for two cores while a process lives."""
    key: bytes
    discovery_key: bytes
    manifest: bytes | None
    """Encoded."""
    fork: int
    length: int
    byte_length: int
    roots: bytes
    """Size (8 bytes, little endian) and hash of each root. They are in the tree pages as well, but a corrupt
    page must not lose the whole core."""
    signature: bytes | None
    contiguous: int
    """Leading blocks that are stored; bit pages say which others are."""
    in_file: bool
    """Blocks are in a file of their own, each at its byte offset; else they are rows of the database."""
    meta: bytes | None
    """For the program that uses the store; the library gives it no meaning."""


class CoreInfo(NamedTuple):
    """A stored core, as `Store.cores` lists it."""

    key: bytes
    discovery_key: bytes
    fork: int
    length: int
    byte_length: int
    have: int
    """Blocks present, counted from the bitfield."""
    meta: bytes | None

    @property
    def complete(self) -> bool:
        """Whether every known block is present."""
        return self.have >= self.length


class BlockRun(NamedTuple):
    """Consecutive blocks to write."""

    first: int
    """Number of the first of them."""
    offset: int
    """Its byte offset in the core. Means nothing for blocks that become rows."""
    blocks: list[bytes]


class Dropped(NamedTuple):
    """Blocks whose room can be used again: numbers start..end, bytes byte_start..byte_end. None: to the
    end.
    """

    start: int
    end: int | None
    byte_start: int | None
    """None if the place in the file is not known, and so cannot be freed."""
    byte_end: int | None


@dataclass(slots=True, kw_only=True)
class CoreChanges:
    """What changed in one core. Applied in the order of the fields, in one transaction."""

    row: CoreRow
    node_floor: int | None = None
    """Tree pages from this one on are void."""
    node_pages: list[tuple[int, bytes]] = field(default_factory=list)
    bit_floor: int | None = None
    """Bit pages from this one on are void."""
    bit_pages: list[tuple[int, bytes]] = field(default_factory=list)
    """An empty image means that the page is void."""
    dropped: list[Dropped] = field(default_factory=list)
    runs: list[BlockRun] = field(default_factory=list)
    moving: list[tuple[int, int, int]] | None = None
    """The core gets its file now: stored rows (start, end, byte offset) move into it. The row says in_file.
    """


@dataclass(slots=True, kw_only=True)
class Batch:
    """One flush. `first` becomes durable before any byte of `then` is written: see `docs/storage.md`."""

    first: list[CoreChanges] = field(default_factory=list)
    then: list[CoreChanges] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    """Ids of cores to delete, before `then` is written."""
    meta: dict[str, bytes | None] = field(default_factory=dict)


class Backend(Protocol):
    """Reads are made by the thread that owns the store; `commit` may run in any other thread meanwhile.

    All raise StorageError or a subclass.
    """

    @property
    def read_only(self) -> bool:
        """Whether nothing can be committed."""

    @property
    def keeps_files(self) -> bool:
        """Whether large cores get a file of their own."""

    def next_id(self) -> int:
        """An id that no stored core has, and that was not given out before."""

    def find_key(self, discovery_key: bytes) -> bytes | None: ...

    def read_row(self, discovery_key: bytes) -> CoreRow | None: ...

    def read_node_page(self, core_id: int, page: int) -> bytes | None: ...

    def read_bit_pages(self, core_id: int) -> dict[int, bytes]: ...

    def read_inline(self, core_id: int, index: int) -> bytes | None:
        """A block kept as a row. None: there is no such row."""

    def read_file(self, core_id: int, offset: int, size: int) -> bytes | None:
        """Bytes of a core's file. None: they are not there, or the disk cannot read them any more."""

    def core_infos(self) -> list[tuple[int, CoreInfo]]:
        """All stored cores with their ids."""

    def core_manifests(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Id, key and encoded manifest of the next `limit` cores with an id above `after` that have one."""

    def read_meta(self, name: str) -> bytes | None: ...

    def meta_names(self, prefix: str) -> list[str]:
        """Stored names (ASCII) that begin with `prefix`, in order."""

    def commit(self, batch: Batch) -> None:
        """Makes a batch durable, all of it or (if it raises) nothing of it that is visible."""

    def forget(self, core_id: int) -> None:
        """Lets go of what is kept open for a core that is about to be removed."""

    def disk_bytes(self) -> int:
        """Bytes taken on disk."""

    def database_bytes(self) -> int:
        """Bytes in use for everything but the files of large cores. Quick to ask for; 0 without a disk."""

    def close(self) -> None: ...
