"""One open core: its durable part, the changes for the next flush, and those in a running flush.

All methods run in the thread that owns the store. `snapshot_changes` makes copies for the flush; later
changes belong to the next flush.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import TypeAlias

from ..bitfield import PAGE_BITS, Bitfield
from ..errors import BlockNotAvailable, LocalProtocolError, StoreUnreadable
from ..manifest import Manifest
from ..merkle.flat_tree import full_roots
from ..merkle.head import TreeHead
from ..node import Node
from .base import Backend, BlockRun, CoreChanges, CoreRow, Dropped
from .block_cache import RecentBlocks
from .node_pages import NodePages, PageCache

INLINE_MAX_BYTES = 1 << 20
"""Byte length up to which the blocks of a core are rows of the database; above, it gets a file of its own."""

BLOCK_OVERHEAD = 128
"""Bytes counted for a block in memory besides its content, so that empty blocks are not free."""

_ROOT = Struct("<Q32s")
_NONE: frozenset[int] = frozenset()  # one for all complete cores

Place: TypeAlias = Callable[[int], tuple[int, int]]
"""Byte offset and size of a block. Raises BlockNotAvailable if the tree lacks the nodes."""


class Shared:
    """State shared by all cores of a store."""

    __slots__ = ("backend", "cache", "dirty", "dirty_bytes", "recent")

    def __init__(self, backend: Backend, cache: PageCache) -> None:
        self.backend = backend
        self.cache = cache
        self.recent = RecentBlocks()
        self.dirty: set[CoreStorage] = set()
        """Cores with changes for the next flush."""
        self.dirty_bytes = 0
        """Bytes of blocks that wait for a flush or are in one."""


class _Waiting:
    """Changes of a core for one flush."""

    __slots__ = ("bit_pages", "blocks", "dropped", "moving", "node_floor", "runs", "stored_bits")

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.bit_pages: set[int] = set()
        self.dropped: list[Dropped] = []
        self.node_floor: int | None = None
        self.moving = False
        self.runs: list[tuple[int, int]] | None = None
        """The blocks in order as (start, end); None while not computed."""
        self.stored_bits = _NONE

    def discard(self, start: int, end: int | None) -> int:
        """Remove the blocks start..end. Returns the bytes they counted for."""
        if end is not None and end - start < len(self.blocks):
            doomed = [index for index in range(start, end) if index in self.blocks]
        else:
            doomed = [index for index in self.blocks if index >= start and (end is None or index < end)]
        if doomed:
            self.runs = None
        return sum(len(self.blocks.pop(index)) + BLOCK_OVERHEAD for index in doomed)


class CoreStorage:
    __slots__ = (
        "_saving",
        "_shared",
        "_stored_bits",
        "_waiting",
        "bitfield",
        "closed",
        "discovery_key",
        "durable",
        "head",
        "id",
        "in_file",
        "key",
        "manifest",
        "meta",
        "nodes",
        "removed",
    )

    def __init__(self, shared: Shared, row: CoreRow, bit_pages: dict[int, bytes]) -> None:
        self._shared = shared
        self.id, self.key, self.discovery_key = row.id, row.key, row.discovery_key
        self.manifest = None if row.manifest is None else Manifest.from_bytes(row.manifest)
        self.head = decode_head(row)
        self.meta = row.meta
        self.in_file = row.in_file
        self.bitfield = Bitfield.restore(row.contiguous, bit_pages)
        """Blocks present."""
        self.durable = self.bitfield.copy()
        """Durable blocks, a subset of `bitfield`."""
        self.nodes = NodePages(row.id, shared.backend, shared.cache, row.length)
        self.removed = False
        self.closed = False
        """Whether the store has closed the core; another object may stand for it."""
        self._stored_bits = frozenset(bit_pages) if bit_pages else _NONE
        self._waiting: _Waiting | None = None
        self._saving: _Waiting | None = None

    @property
    def recent(self) -> RecentBlocks:
        """Blocks of all cores of the store that were served lately."""
        return self._shared.recent

    @property
    def clean(self) -> bool:
        """Whether the core has no changes to flush."""
        return self._waiting is None and self._saving is None

    def touch(self) -> None:
        """Mark the core as changed, so that the next flush writes it. Raises LocalProtocolError if it is
        closed."""
        self._touched()

    def check_open(self) -> None:
        """Raise LocalProtocolError if the core is closed."""
        if self.closed:
            raise LocalProtocolError("the core is closed: open it again to change it")

    def _touched(self) -> _Waiting:
        waiting = self._waiting
        if waiting is None:
            self.check_open()
            waiting = self._waiting = _Waiting()
            if not self.removed:
                self._shared.dirty.add(self)
        return waiting

    # --- blocks

    def add_block(self, index: int, value: bytes) -> bool:
        """Store a verified block. False if it is stored already."""
        bits = self.bitfield
        if not bits.set(index):
            return False
        waiting = self._touched()
        waiting.blocks[index] = value
        if index >= bits.contiguous:
            waiting.bit_pages.add(index // PAGE_BITS)
        self._count(len(value) + BLOCK_OVERHEAD)
        return True

    def waiting_block(self, index: int) -> bytes | None:
        """A block that is not durable yet, from memory; None otherwise."""
        for waiting in (self._waiting, self._saving):
            if waiting is not None and (value := waiting.blocks.get(index)) is not None:
                return value
        return None

    def stored_block(self, index: int, place: Place) -> bytes | None:
        """The stored bytes of a block, not verified; None if they cannot be read."""
        backend = self._shared.backend
        if not self.in_file:
            value = backend.read_inline(self.id, index)
            if value is not None or not backend.keeps_files:
                return value
            # No row: a running (or failed) flush may have moved it into a file
        return backend.read_file(self.id, *place(index))

    def open_file(self) -> int | None:
        """A descriptor of the file of this core, for the caller to close; None without a file."""
        return self._shared.backend.open_file(self.id) if self.in_file else None

    def drop(self, dropped: Iterable[Dropped]) -> None:
        """Remove blocks. The flush that makes this durable frees their space."""
        waiting = self._touched()
        for run in dropped:
            waiting.dropped.append(run)
            reach = None if run.end is None else max(run.end, self.bitfield.contiguous)
            first, last = run.start // PAGE_BITS, None if reach is None else reach // PAGE_BITS
            self.bitfield.set_range(run.start, run.end, False)
            self.durable.set_range(run.start, run.end, False)
            for pages in (self._stored_bits, self.bitfield.pages(run.start, reach)):
                waiting.bit_pages.update(p for p in pages if first <= p and (last is None or p <= last))
            for holder in (self._waiting, self._saving):
                if holder is not None and holder.blocks:
                    self._count(-holder.discard(run.start, run.end))

    def truncate(self, length: int, byte_length: int | None) -> None:
        """Remove all blocks from `length` on, which starts at `byte_length`. The caller sets the head."""
        self.nodes.truncate(length)
        self.drop([Dropped(length, None, byte_length, None)])

    def remove(self) -> None:
        """The core is deleted from the store: drop its changes."""
        self._shared.dirty.discard(self)
        self._shared.cache.discard(self.id, 0, 1 << 62)
        for waiting in (self._waiting, self._saving):
            if waiting is not None:
                self._count(-waiting.discard(0, None))
        self.removed = True

    # --- becoming durable

    def snapshot_changes(self, place: Place) -> tuple[CoreChanges | None, CoreChanges]:
        """Changes to write first, and changes to write then (see `Batch`). Call `commit` or `rollback` after
        it."""
        assert self._waiting is not None and self._saving is None
        large = self._shared.backend.keeps_files and self.head.byte_length > INLINE_MAX_BYTES
        starts_file = large and not self.in_file
        runs = self._runs(self._waiting.blocks, place if self.in_file or starts_file else None)
        moving = self._moving(place) if starts_file else None
        self._shared.dirty.discard(self)
        saving, self._waiting = self._waiting, None
        self._saving = saving
        saving.runs = [(run.first, run.first + len(run.blocks)) for run in runs]
        saving.moving, saving.stored_bits = starts_file, self._stored_bits
        saving.node_floor, node_pages = self.nodes.snapshot_changes()
        first = None
        changes = CoreChanges(
            row=self._row(self.bitfield, self.in_file or starts_file),
            node_floor=saving.node_floor,
            node_pages=node_pages,
            dropped=[] if starts_file else saving.dropped,  # a new file has no space to free
            runs=runs,
            moving=moving,
        )
        if self.in_file and saving.dropped and runs:
            # Bytes of durable blocks may be overwritten: a commit must release these blocks first
            first = CoreChanges(
                row=self._row(self.durable, True),
                node_floor=saving.node_floor,
                node_pages=node_pages,
                bit_pages=self._bit_images(self.durable, saving.bit_pages),
                dropped=saving.dropped,
            )
            changes.node_floor, changes.node_pages, changes.dropped = None, [], []
        changes.bit_pages = self._bit_images(self.bitfield, saving.bit_pages)
        return first, changes

    def commit(self) -> list[tuple[int, int]]:
        """The changes of `snapshot_changes` are durable. Returns the runs of blocks that became durable."""
        saving, self._saving = self._saving, None
        assert saving is not None
        self.nodes.commit()
        self.in_file = self.in_file or saving.moving
        runs = _runs_of(sorted(saving.blocks)) if saving.runs is None else saving.runs
        for run in runs:
            self.durable.set_range(*run)
        self._count(-sum(map(len, saving.blocks.values())) - BLOCK_OVERHEAD * len(saving.blocks))
        return runs

    def rollback(self) -> None:
        """The changes of `snapshot_changes` were not written, or in part: the next flush writes them
        again."""
        saving, self._saving = self._saving, None
        assert saving is not None
        self.nodes.rollback(saving.node_floor)
        self._stored_bits |= saving.stored_bits  # may have too many: it only limits which pages are deleted
        if self.removed:
            return
        waiting = self._touched()
        waiting.blocks = saving.blocks | waiting.blocks
        waiting.bit_pages |= saving.bit_pages
        waiting.dropped = saving.dropped + waiting.dropped

    # --- inside

    def _count(self, size: int) -> None:
        if not self.removed:
            self._shared.dirty_bytes += size

    def _row(self, bits: Bitfield, in_file: bool) -> CoreRow:
        head = self.head
        return CoreRow(
            self.id,
            self.key,
            self.discovery_key,
            None if self.manifest is None else self.manifest.to_bytes(),
            head.fork,
            head.length,
            head.byte_length,
            b"".join(_ROOT.pack(root.size, root.hash) for root in head.roots),
            head.signature,
            bits.contiguous,
            in_file,
            self.meta,
        )

    def _bit_images(self, bits: Bitfield, changed: set[int]) -> list[tuple[int, bytes]]:
        """The bit pages to write, so that `bits` can be restored."""
        first = bits.contiguous // PAGE_BITS
        images = [(page, bits.page_image(page)) for page in sorted(changed) if page >= first]
        images = [(page, image) for page, image in images if image or page in self._stored_bits]
        images += [(page, b"") for page in self._stored_bits if page < first]
        self._stored_bits = self._stored_bits.union(page for page, image in images if image)
        self._stored_bits = self._stored_bits.difference(page for page, image in images if not image) or _NONE
        return images

    def _runs(self, blocks: dict[int, bytes], place: Place | None) -> list[BlockRun]:
        """Blocks in order, consecutive ones together, with byte offsets if they go into a file."""
        runs: list[BlockRun] = []
        for start, end in _runs_of(sorted(blocks)):
            try:
                offset = 0 if place is None else place(start)[0]
            except BlockNotAvailable:
                self.drop([Dropped(start, end, None, None)])
            else:
                runs.append(BlockRun(start, offset, [blocks[index] for index in range(start, end)]))
        return runs

    def _moving(self, place: Place) -> list[tuple[int, int, int]]:
        """The durable rows that move into the new file, with their byte offsets."""
        moving, lost = [], []
        for start, end in self.durable.runs():
            try:
                moving.append((start, end, place(start)[0]))
            except BlockNotAvailable:
                lost.append(Dropped(start, end, None, None))
        self.drop(lost)
        return moving


def _runs_of(indices: list[int]) -> list[tuple[int, int]]:
    """Numbers in order as runs (start, end)."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def decode_head(row: CoreRow) -> TreeHead:
    """The stored head. Raises StoreUnreadable if the row is inconsistent."""
    roots = tuple(
        Node(index, *_ROOT.unpack_from(row.roots, at * _ROOT.size))
        for at, index in enumerate(full_roots(row.length))
        if (at + 1) * _ROOT.size <= len(row.roots)
    )
    if len(roots) * _ROOT.size != len(row.roots) or sum(root.size for root in roots) != row.byte_length:
        raise StoreUnreadable(f"the stored head of core {row.key.hex()} is damaged")
    return TreeHead(
        fork=row.fork, length=row.length, byte_length=row.byte_length, roots=roots, signature=row.signature
    )
