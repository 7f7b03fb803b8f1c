"""The reading half of a core: its head, which blocks are here, and handing them out verified."""

from __future__ import annotations

from collections.abc import Callable

from ..bitfield import Bitfield
from ..change import Change
from ..errors import BlockNotAvailable
from ..merkle.flat_tree import full_roots
from ..merkle.hashing import leaf_hash
from ..merkle.head import TreeHead
from ..merkle.offsets import byte_offset, missing_nodes, seek
from ..merkle.proof import create_proof
from ..merkle.source import require_node
from ..node import Node
from ..storage.base import CoreChanges, Dropped
from ..storage.core_storage import CoreStorage
from ..storage.node_pages import NODES_PER_PAGE
from ..wire.data import Data
from ..wire.request import Request
from .repair import offset_around_gaps, rebuilt

_BLOCKS_PER_PAGE = NODES_PER_PAGE // 2
_LONG_RUN = 32  # blocks in a row from which on it is cheaper to find both ends than to add up all sizes


Listener = Callable[[Change], None]


class StoredCore:
    """What `Core` is built on. See there."""

    __slots__ = (
        "_durable_head",
        "_have_bytes",
        "_hint",
        "_listeners",
        "_nodes",
        "bitfield",
        "durable",
        "head",
        "key",
        "manifest",
        "storage",
    )

    def __init__(self, storage: CoreStorage) -> None:
        self.storage = storage
        """For the store."""
        self._nodes = storage.nodes
        self.key = storage.key
        self.bitfield: Bitfield = storage.bitfield
        """Blocks present, durable or not. Read-only for callers."""
        self.durable: Bitfield = storage.durable
        """Blocks that no crash can take away: announce these."""
        self.manifest = storage.manifest
        self._listeners: list[Listener] = []
        self._hint = (0, 0)  # number and byte offset of the block that is likely to be asked for next
        self._have_bytes: int | None = None
        self.head = storage.head
        """The newest head we know. A crash may take us back to `durable_head`."""
        self._durable_head = self.head

    def __repr__(self) -> str:
        return f"<Core {self.key.hex()[:8]} fork {self.fork}, {self.bitfield.count} of {self.length} blocks>"

    # --- listeners

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called after every change, behind those that were added before."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Raises ValueError if it was not added."""
        self._listeners.remove(listener)

    # --- the head

    @property
    def discovery_key(self) -> bytes:
        return self.storage.discovery_key

    @property
    def fork(self) -> int:
        return self.head.fork

    @property
    def length(self) -> int:
        """Blocks, present or not."""
        return self.head.length

    @property
    def byte_length(self) -> int:
        return self.head.byte_length

    @property
    def roots(self) -> tuple[Node, ...]:
        return self.head.roots

    @property
    def signature(self) -> bytes | None:
        return self.head.signature

    @property
    def durable_head(self) -> TreeHead:
        """The newest durable head. A writer must not announce a newer one."""
        return self._durable_head

    @property
    def has_manifest(self) -> bool:
        """Whether there is a manifest to give to peers: compat cores have none."""
        return self.manifest is not None and not self.manifest.is_compat_with(self.key)

    # --- what is here

    @property
    def contiguous_length(self) -> int:
        """Leading blocks that are present."""
        return self.bitfield.contiguous

    @property
    def durable_contiguous_length(self) -> int:
        return self.durable.contiguous

    @property
    def complete(self) -> bool:
        """Whether every block of the head is present."""
        return self.bitfield.contiguous >= self.head.length

    @property
    def durable_complete(self) -> bool:
        """Whether the head and every block of it is durable."""
        return self._durable_head is self.head and self.durable.contiguous >= self.head.length

    @property
    def have_bytes(self) -> int:
        """Bytes of the blocks that are present."""
        if self.complete:
            return self.head.byte_length
        if self._have_bytes is None:
            self._have_bytes = sum(self._run_bytes(*run) for run in self.bitfield.runs())
        return self._have_bytes

    def _run_bytes(self, start: int, end: int) -> int:
        if end - start > _LONG_RUN:
            try:
                return sum(self._locate(end - 1)) - self._locate(start)[0]
            except BlockNotAvailable:
                pass  # the tree has a hole there
        leaves = (self._nodes.get(2 * index) for index in range(start, end))
        return sum(leaf.size for leaf in leaves if leaf is not None)

    def has(self, index: int) -> bool:
        return self.bitfield.get(index)

    def node(self, index: int) -> Node | None:
        """A stored tree node, by its flat-tree index."""
        return self._nodes.get(index)

    def missing_nodes(self, index: int) -> int:
        """How many nodes to ask for with block `index`."""
        return missing_nodes(self._nodes, self.head.length, 2 * index)

    def can_upgrade_from(self, remote_length: int) -> bool:
        """Whether we can prove our head to a peer that is at `remote_length` on our fork."""
        if remote_length == 0:
            return True
        if remote_length >= self.head.length:
            return False
        return all(self._nodes.get(index) is not None for index in full_roots(remote_length))

    def byte_range(self, index: int) -> tuple[int, int]:
        """Byte offset and size of a block that is present (or whose nodes are). Raises BlockNotAvailable."""
        return self._locate(index)

    def seek(self, position: int) -> tuple[int, int]:
        """The block that holds byte `position`, and the offset in it. Raises BlockNotAvailable."""
        return seek(self._nodes, self.head.roots, position)

    # --- reading

    def get(self, index: int) -> bytes | None:
        """A block, or None if it is not (or no longer) here."""
        if not self.bitfield.get(index):
            return None
        waiting = self.storage.waiting_block(index)
        if waiting is not None:
            return waiting
        leaf = self._nodes.get(2 * index)
        if leaf is not None:
            try:
                value = self.storage.stored_block(index, self._locate)
            except BlockNotAvailable:
                value = None
            if value is not None and len(value) == leaf.size and leaf_hash(value) == leaf.hash:
                return value
        if not self._handle_corrupt_pages() or self.bitfield.get(index):
            self._drop_corrupt([(index, index + 1)])
        return None

    def prove(self, request: Request) -> Data:
        """The answer to a peer's request. Raises InvalidRequest, or BlockNotAvailable if it is not here."""
        value = None if request.block is None else self._to_serve(request.block.index)
        manifest = self.manifest if self.has_manifest else None
        prologue = manifest.prologue if manifest is not None else None
        try:
            return create_proof(
                self._nodes,
                self.head.length,
                self.head.signature,
                request,
                value,
                prologue_length=prologue.length if prologue is not None else 0,
                manifest=manifest,
            )
        finally:
            self._handle_corrupt_pages()

    def _to_serve(self, index: int) -> bytes | None:
        """The block for a peer, from memory if another was given it a moment ago. None if it is not here."""
        if not self.bitfield.get(index):
            return None
        leaf, recent = self._nodes.get(2 * index), self.storage.recent
        value = None if leaf is None else recent.get(leaf.hash)
        if value is None:
            value = self.get(index)
            if value is not None and leaf is not None:
                recent.put(leaf.hash, value)
        return value

    # --- called by the store

    def snapshot_changes(self) -> tuple[CoreChanges | None, CoreChanges]:
        """What a flush writes: see `CoreStorage.snapshot_changes`."""
        return self.storage.snapshot_changes(self._locate)

    def commit(self, head: TreeHead) -> list[tuple[int, int]]:
        """A flush wrote what `snapshot_changes` gave when the head was `head`. Returns the blocks that became
        durable.
        """
        self._durable_head = head
        return self.storage.commit()

    # --- damage

    def _handle_corrupt_pages(self) -> bool:
        """Handle tree pages that were found corrupt. Returns False if there were none."""
        lost, self._nodes.lost = self._nodes.lost, None
        if not lost:
            return False
        self._hint = (0, 0)
        runs: list[tuple[int, int]] = []
        for page in sorted(set(lost)):
            first, end = page * NODES_PER_PAGE, (page + 1) * NODES_PER_PAGE
            known = [root for root in self.head.roots if first <= root.index < end]
            top = rebuilt(self._nodes, end - 1)
            self._nodes.put(known if top is None or top.index >= 2 * self.head.length else [*known, top])
            runs += self.bitfield.runs(page * _BLOCKS_PER_PAGE, (page + 1) * _BLOCKS_PER_PAGE)
        self.storage.touch()
        if runs:
            self._drop_corrupt(runs)
        return True

    def _drop_corrupt(self, runs: list[tuple[int, int]]) -> None:
        # Their room is not freed: they are about to be fetched again, and their place may not even be known.
        # For that, proofs have to find the roots, whatever happened to the page they were in.
        self._nodes.put(self.head.roots)
        self.storage.drop([Dropped(start, end, None, None) for start, end in runs])
        self._have_bytes = None
        for run in runs:
            self._notify(Change(lost=run, corrupt=True))

    # --- inside

    def _locate(self, index: int) -> tuple[int, int]:
        """Byte offset and size of a block."""
        leaf = require_node(self._nodes, 2 * index)
        likely, offset = self._hint
        if likely != index:
            try:
                offset = byte_offset(self._nodes, self.head.roots, 2 * index)
            except BlockNotAvailable:
                offset = offset_around_gaps(self._nodes, self.head.roots, 2 * index)
        self._hint = (index + 1, offset + leaf.size)
        return offset, leaf.size

    def _notify(self, change: Change, applier: Listener | None = None) -> Change:
        for listener in tuple(self._listeners):
            if listener != applier:
                listener(change)
        return change
