"""The interface of a place that stores cores (`Backend`), and the types that it takes and returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class CoreRow(NamedTuple):
    """The row of a core: everything but its tree, bits and blocks."""

    id: int
    """Local number. Not used for two cores in the lifetime of a process."""
    key: bytes
    discovery_key: bytes
    manifest: bytes | None
    """Encoded."""
    fork: int
    length: int
    byte_length: int
    roots: bytes
    """Size (8 bytes, little endian) and hash of each root. The tree pages have them as well; this copy
    survives a corrupt page."""
    signature: bytes | None
    contiguous: int
    """Number of leading blocks that are stored; bit pages have the others."""
    in_file: bool
    """Whether blocks are in a file of their own, each at its byte offset; else they are rows of the
    database."""
    meta: bytes | None
    """Bytes of the program that uses the store."""


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
    """Number of the first block."""
    offset: int
    """Its byte offset in the core; unused for blocks that become rows."""
    blocks: list[bytes]


class Dropped(NamedTuple):
    """Blocks whose disk space can be freed: numbers start..end, bytes byte_start..byte_end. None: to the
    end."""

    start: int
    end: int | None
    byte_start: int | None
    """None if the offset is not known, so that the space cannot be freed."""
    byte_end: int | None


@dataclass(slots=True, kw_only=True)
class CoreChanges:
    """Changes of one core, applied in the order of the fields, in one transaction."""

    row: CoreRow
    node_floor: int | None = None
    """Tree pages from this number on are deleted."""
    node_pages: list[tuple[int, bytes]] = field(default_factory=list)
    bit_pages: list[tuple[int, bytes]] = field(default_factory=list)
    """Number and image of each page. An empty image deletes the page."""
    dropped: list[Dropped] = field(default_factory=list)
    runs: list[BlockRun] = field(default_factory=list)
    moving: list[tuple[int, int, int]] | None = None
    """The core gets a file (`in_file`): stored rows (start, end, byte offset) move into it. None: no move."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One flush. `first` becomes durable before any byte of `then` is written: see `docs/storage.md`."""

    first: list[CoreChanges] = field(default_factory=list)
    then: list[CoreChanges] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    """Ids of cores to delete, before `then` is written."""
    meta: dict[str, bytes | None] = field(default_factory=dict)


class Backend(Protocol):
    """Reads run in the thread that owns the store; `commit` may run in another thread at the same time.

    All methods raise StorageError or a subclass.
    """

    @property
    def read_only(self) -> bool:
        """Whether nothing can be committed."""

    @property
    def keeps_files(self) -> bool:
        """Whether large cores get a file of their own."""

    def next_id(self) -> int:
        """An id that no stored core has and that was not returned before."""

    def find_key(self, discovery_key: bytes) -> bytes | None:
        """Return the key of a stored core, or None."""

    def read_row(self, discovery_key: bytes) -> CoreRow | None:
        """Return the row of a stored core, or None."""

    def read_node_page(self, core_id: int, page: int) -> bytes | None:
        """Return a page of tree nodes as stored, checksum included, or None."""

    def read_bit_pages(self, core_id: int) -> dict[int, bytes]:
        """Return the pages of the bitfield by their numbers."""

    def read_inline(self, core_id: int, index: int) -> bytes | None:
        """A block stored as a row; None without such a row."""

    def read_file(self, core_id: int, offset: int, size: int) -> bytes | None:
        """Bytes of a core's file; None if they are missing or the disk cannot read them."""

    def open_file(self, core_id: int) -> int | None:
        """A descriptor of a core's file, for the caller to close; None without a file."""

    def core_infos(self) -> list[tuple[int, CoreInfo]]:
        """All stored cores with their ids."""

    def core_manifests(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Id, key and encoded manifest of the next `limit` cores with an id above `after` that have one."""

    def read_meta(self, name: str) -> bytes | None:
        """Return the value of a name, or None."""

    def meta_names(self, prefix: str) -> list[str]:
        """Stored names (ASCII) that begin with `prefix`, in order."""

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, all of it or, if it raises, no visible part."""

    def close_files(self, core_id: int) -> None:
        """Close the file of a core that will be removed."""

    def disk_bytes(self) -> int:
        """Bytes taken on disk."""

    def database_bytes(self) -> int:
        """Bytes in use without the files of large cores. Cheap; 0 without a disk."""

    def close(self) -> None:
        """Release the files and the lock."""
