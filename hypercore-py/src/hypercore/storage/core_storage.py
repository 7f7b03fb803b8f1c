"""One open core as it will be stored: what is durable, what waits for the next flush, what is on its way.

Everything here runs in the thread that owns the store. `snapshot_changes` hands copies to the flush; what
changes meanwhile belongs to the flush after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import TypeAlias

from ..bitfield import PAGE_BITS, Bitfield
from ..errors import BlockNotAvailable, StoreUnreadable
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
"""Bytes counted for a waiting block besides its content, so that a million empty blocks count for
something.
"""

_ROOT = Struct("<Q32s")
_NONE: frozenset[int] = frozenset()  # one for all complete cores

Place: TypeAlias = Callable[[int], tuple[int, int]]
"""Byte offset and size of a block. Raises BlockNotAvailable if the tree lacks the nodes."""


class Shared:
    """What all cores of a store share."""

    __slots__ = ("backend", "cache", "dirty", "dirty_bytes", "recent")

    def __init__(self, backend: Backend, cache: PageCache) -> None:
        self.backend = backend
        self.cache = cache
        self.recent = RecentBlocks()
        self.dirty: set[CoreStorage] = set()
        """Cores that the next flush takes along."""
        self.dirty_bytes = 0
        """Bytes of blocks that wait for a flush or are in one."""


class _Waiting:
    """What one flush takes along of a core."""

    __slots__ = ("bit_pages", "blocks", "dropped", "moving", "node_floor", "runs", "stored_bits")

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.bit_pages: set[int] = set()
        self.dropped: list[Dropped] = []
        self.node_floor: int | None = None
        self.moving = False
        self.runs: list[tuple[int, int]] | None = None
        """The blocks in order, (start, end), once that is known and as long as it is."""
        self.stored_bits = _NONE

    def discard(self, start: int, end: int | None) -> int:
        """Forgets the blocks start..end; returns what they counted for."""
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
        """Blocks that a crash cannot take away. Always some of `bitfield`."""
        self.nodes = NodePages(row.id, shared.backend, shared.cache, row.length)
        self.removed = False
        self._stored_bits = frozenset(bit_pages) if bit_pages else _NONE
        self._waiting: _Waiting | None = None
        self._saving: _Waiting | None = None

    @property
    def recent(self) -> RecentBlocks:
        """Blocks of any core of the store that were served a moment ago."""
        return self._shared.recent

    @property
    def clean(self) -> bool:
        """Whether all of it is durable."""
        return self._waiting is None and self._saving is None

    def touch(self) -> None:
        """Marks the core as changed, so that the next flush writes it."""
        self._touched()

    def _touched(self) -> _Waiting:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = _Waiting()
            if not self.removed:
                self._shared.dirty.add(self)
        return waiting

    # --- blocks

    def add_block(self, index: int, value: bytes) -> bool:
        """Stores a verified block. False if it is there already."""
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
        """A block that is in memory because it is not durable yet."""
        for waiting in (self._waiting, self._saving):
            if waiting is not None and (value := waiting.blocks.get(index)) is not None:
                return value
        return None

    def stored_block(self, index: int, place: Place) -> bytes | None:
        """The bytes that are stored as a block, unchecked. None if they cannot be read."""
        backend = self._shared.backend
        if not self.in_file:
            value = backend.read_inline(self.id, index)
            if value is not None or not backend.keeps_files:
                return value
            # No row: a flush that has not come back yet (or reported an error) may have moved it into a file
        return backend.read_file(self.id, *place(index))

    def drop(self, dropped: Iterable[Dropped]) -> None:
        """Forgets blocks. The room they take is freed by the flush that makes this durable."""
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
        """Forgets all at and behind block `length`, which starts at `byte_length`. The head is the
        caller's.
        """
        self.nodes.truncate(length)
        self.drop([Dropped(length, None, byte_length, None)])

    def remove(self) -> None:
        """The core is deleted from the store: nothing of it will be flushed any more."""
        self._shared.dirty.discard(self)
        self._shared.cache.forget(self.id, 0, 1 << 62)
        for waiting in (self._waiting, self._saving):
            if waiting is not None:
                self._count(-waiting.discard(0, None))
        self.removed = True

    # --- becoming durable

    def snapshot_changes(self, place: Place) -> tuple[CoreChanges | None, CoreChanges]:
        """What to write first and what then (see `Batch`). Answer with `commit` or `rollback`."""
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
            dropped=[] if starts_file else saving.dropped,  # a new file has no room to free
            runs=runs,
            moving=moving,
        )
        if self.in_file and saving.dropped and runs:
            # Bytes of blocks that are durable now may be written over: they must be given up durably before
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
        """What `snapshot_changes` gave is durable. Returns the runs of blocks that became so."""
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
        """What `snapshot_changes` gave was not written, or only in part: the next flush takes it along."""
        saving, self._saving = self._saving, None
        assert saving is not None
        self.nodes.rollback(saving.node_floor)
        self._stored_bits |= saving.stored_bits  # rather too many: it is only asked which may have to go
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
        """The bit pages to write so that `bits` can be restored."""
        first = bits.contiguous // PAGE_BITS
        images = [(page, bits.page_image(page)) for page in sorted(changed) if page >= first]
        images = [(page, image) for page, image in images if image or page in self._stored_bits]
        images += [(page, b"") for page in self._stored_bits if page < first]
        self._stored_bits = self._stored_bits.union(page for page, image in images if image)
        self._stored_bits = self._stored_bits.difference(page for page, image in images if not image) or _NONE
        return images

    def _runs(self, blocks: dict[int, bytes], place: Place | None) -> list[BlockRun]:
        """Blocks in order, consecutive ones together; with their places if they go into a file."""
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
        """The durable rows that move into the file that is made now, and where to."""
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
    """The stored head. Raises StoreUnreadable if the row contradicts itself."""
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
