"""A core: an append-only list of blocks under a signed Merkle tree, stored in whole or in part.

Every block and node of a `Core` was verified; its storage has which of them are durable. It is synchronous
and has no locks: it belongs to the thread of its store.

Readers get verified bytes or none. Blocks are hashed on every read from disk; a corrupt block is dropped,
listeners are notified, and it can be downloaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..bitfield import Bitfield
from ..change import NO_CHANGE, Change
from ..crypto import KeyPair
from ..errors import BlockNotAvailable, InvalidProof, LocalProtocolError, VerificationError
from ..manifest import Manifest
from ..merkle.flat_tree import full_roots, left_child, right_child
from ..merkle.hashing import leaf_hash
from ..merkle.head import TreeHead
from ..merkle.offsets import byte_offset, missing_nodes, seek
from ..merkle.proof import create_proof
from ..merkle.reorg import Reorg
from ..merkle.signing import verify_head
from ..merkle.verify import Verified, verify_data
from ..node import Node
from ..storage.base import CoreChanges, Dropped
from ..storage.core_storage import CoreStorage
from ..storage.node_pages import NODES_PER_PAGE
from ..wire.data import Data
from ..wire.request import Request
from .block_locator import BlockLocator
from .repair import nodes_of_page
from .scrub import scrub_order
from .stored_run import StoredRun, leading_leaves
from .writing import append_blocks, signed_head, truncate_tree

_BLOCKS_PER_PAGE = NODES_PER_PAGE // 2

Listener = Callable[[Change], None]

MAX_CORE_BYTES = 1 << 43
"""Byte length beyond which an upgrade is refused (8 TiB): half of the largest ext4 file. A writer may sign
any number, and an offset beyond the largest file would make every flush fail."""


class Core:
    """A core of a `Store`: its blocks, its tree, its head."""

    __slots__ = (
        "_durable_head",
        "_have_bytes",
        "_listeners",
        "_locator",
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
        """Durable blocks. Only these may be announced."""
        self.manifest = storage.manifest
        self._listeners: list[Listener] = []
        self._have_bytes: int | None = None
        self.head = storage.head
        """The newest head. After a crash the core has `durable_head`."""
        self._locator = BlockLocator(self._nodes, self.head.roots)
        self._durable_head = self.head

    def __repr__(self) -> str:
        return f"<Core {self.key.hex()[:8]} fork {self.fork}, {self.bitfield.count} of {self.length} blocks>"

    # --- listeners

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` after every change, after listeners that were added before."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Remove a listener. Raises ValueError if it was not added."""
        self._listeners.remove(listener)

    # --- the head

    @property
    def discovery_key(self) -> bytes:
        """The BLAKE2b hash that names the core to peers, 32 bytes."""
        return self.storage.discovery_key

    @property
    def fork(self) -> int:
        """How often the writer has truncated it."""
        return self.head.fork

    @property
    def length(self) -> int:
        """Blocks, present or not."""
        return self.head.length

    @property
    def byte_length(self) -> int:
        """Bytes of all blocks."""
        return self.head.byte_length

    @property
    def roots(self) -> tuple[Node, ...]:
        """The roots of the Merkle tree, from the left."""
        return self.head.roots

    @property
    def signature(self) -> bytes | None:
        """The writer's signature over the head; empty for a core of length 0."""
        return self.head.signature

    @property
    def durable_head(self) -> TreeHead:
        """The newest durable head. A writer must not announce a newer one."""
        return self._durable_head

    @property
    def has_manifest(self) -> bool:
        """Whether there is a manifest for peers: compat cores have none."""
        return self.manifest is not None and not self.manifest.is_compat_with(self.key)

    # --- blocks and nodes

    @property
    def contiguous_length(self) -> int:
        """Leading blocks that are present."""
        return self.bitfield.contiguous

    @property
    def durable_contiguous_length(self) -> int:
        """Number of leading blocks that are durable."""
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
            self._have_bytes = self._locator.total_bytes(self.bitfield.runs())
        return self._have_bytes

    def has(self, index: int) -> bool:
        """Whether block `index` is stored."""
        return self.bitfield.get(index)

    def node(self, index: int) -> Node | None:
        """A stored tree node, by its flat-tree index."""
        return self._nodes.get(index)

    def missing_nodes(self, index: int) -> int:
        """Number of nodes to request with block `index`."""
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
        return self._locator.locate(index)

    def seek(self, position: int) -> tuple[int, int]:
        """The block that holds byte `position`, and the offset in it. Raises BlockNotAvailable."""
        return seek(self._nodes, self.head.roots, position)

    # --- reading

    def get(self, index: int) -> bytes | None:
        """A block, or None if it is not stored (any more)."""
        if not self.bitfield.get(index):
            return None
        waiting = self.storage.waiting_block(index)
        if waiting is not None:
            return waiting
        leaf = self._nodes.get(2 * index)
        if leaf is not None:
            try:
                value = self.storage.stored_block(index, self._locator.locate)
            except BlockNotAvailable:
                value = None
            if value is not None and len(value) == leaf.size and leaf_hash(value) == leaf.hash:
                return value
        if not self._handle_corrupt_pages() or self.bitfield.get(index):
            self._drop_corrupt([(index, index + 1)])
        return None

    def stored_run(self, start: int, end: int, max_bytes: int) -> StoredRun | None:
        """The durable blocks from `start` on, before `end`, as one read of `max_bytes` at most, or of one
        block. None unless block `start` is in a file of the core."""
        leaves = leading_leaves(self._nodes, self.durable, range(start, end), max_bytes)
        try:
            offset = self._locator.locate(start)[0] if leaves else 0
        except BlockNotAvailable:
            return None
        descriptor = self.storage.open_file() if leaves else None
        return None if descriptor is None else StoredRun(descriptor, offset, leaves)

    def prove(self, request: Request) -> Data:
        """The answer to a peer's request. Raises InvalidRequest, or BlockNotAvailable if a block is not
        stored."""
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
        """The block for a peer, from memory if another peer got it lately. None if it is not stored."""
        if not self.bitfield.get(index):
            return None
        leaf, recent = self._nodes.get(2 * index), self.storage.recent
        value = None if leaf is None else recent.get(leaf.hash)
        if value is None:
            value = self.get(index)
            if value is not None and leaf is not None:
                recent.put(leaf.hash, value)
        return value

    # --- a peer's data

    def apply(self, data: Data, *, applier: Listener | None = None) -> Change:
        """Verify and store an answer, all of it or nothing. Returns the change.

        All listeners but `applier` are notified; that one has the result. Corruption found meanwhile is
        another change, of which `applier` is notified as well. Raises VerificationError or a subclass.
        """
        try:
            verified = verify_data(data, self.head, self._nodes, self.key, self.manifest)
        except VerificationError:
            if self._handle_corrupt_pages():
                return NO_CHANGE  # our own tree lacked nodes: the peer is not blamed
            raise
        return self._commit(verified, applier)

    def start_reorg(self, data: Data) -> Reorg:
        """Verify the head of a higher fork, to follow it. Raises VerificationError or a subclass."""
        try:
            return Reorg.start(data, self.head, self._nodes, self.key, self.manifest)
        finally:
            self._handle_corrupt_pages()

    def apply_reorg(self, reorg: Reorg, *, applier: Listener | None = None) -> Change:
        """Adopt a fork, in one change: shared blocks stay, others are deleted. `applier` as for `apply`."""
        old, head = self.head, reorg.head
        if head.fork <= old.fork:
            raise LocalProtocolError(f"fork {head.fork} is not above {old.fork}")
        _check_size(head)
        shared = min(reorg.ancestors, old.length)
        self._truncate(shared)
        self._nodes.put(reorg.new_nodes)
        self._set_head(head)
        if reorg.manifest is not None:
            self._set_manifest(reorg.manifest)
        change = Change(upgraded=True, truncated_to=shared, manifest=reorg.manifest is not None)
        return self._notify(change, applier)

    def _commit(self, verified: Verified, applier: Listener | None) -> Change:
        storage = self.storage
        nodes, head, manifest, content, _ = verified
        if head is not None:
            _check_size(head)
        if self._nodes.put(nodes):
            storage.touch()
        if head is not None:
            self._set_head(head)
        if manifest is not None:
            self._set_manifest(manifest)
        block = None
        if content is not None and storage.add_block(*content):
            block, value = content
            if self._have_bytes is not None:
                self._have_bytes += len(value)
        self._handle_corrupt_pages()
        if head is None and manifest is None and block is None:
            return NO_CHANGE
        change = Change(upgraded=head is not None, block=block, manifest=manifest is not None)
        return self._notify(change, applier)

    # --- writing

    def append(self, blocks: Sequence[bytes], key_pair: KeyPair) -> Change:
        """Append blocks and sign the new head. Returns the change.

        Raises LocalProtocolError if the key pair may not sign, a block is above MAX_BLOCK_BYTES, or the core
        is closed. The new head must not be announced before a flush has made it durable: after a crash the
        writer would sign another one of the same length.
        """
        self.storage.check_open()
        batch = append_blocks(self.head, blocks)
        if not batch.upgraded:
            return NO_CHANGE
        start = self.head.length
        head = signed_head(self.key, self._manifest_or_default(), batch, key_pair)
        _check_size(head)
        self._nodes.put(batch.new)
        self._set_head(head)
        for index, block in enumerate(blocks, start):
            self.storage.add_block(index, bytes(block))
        self._have_bytes = None
        return self._notify(Change(upgraded=True, appended=(start, head.length)))

    def truncate(self, length: int, key_pair: KeyPair, fork: int | None = None) -> Change:
        """Cut the core to `length` blocks, on a new fork (the next one unless given), and sign the new head.

        Raises LocalProtocolError for a length or fork that is no truncation or if the core is closed,
        BlockNotAvailable if nodes are missing.
        """
        self.storage.check_open()
        manifest = self._manifest_or_default()
        fork = self.head.fork + 1 if fork is None else fork
        batch = truncate_tree(self._nodes, self.head, length, fork, manifest)
        head = signed_head(self.key, manifest, batch, key_pair)
        self._truncate(length)
        self._set_head(head)
        return self._notify(Change(upgraded=True, truncated_to=length))

    def clear(self, start: int, end: int | None = None) -> Change:
        """Delete blocks start..end and free their space. The tree stays, so they can be fetched again."""
        runs = list(self.bitfield.runs(start, end))
        if not runs:
            return NO_CHANGE
        self.storage.drop([self._locator.dropped(*run) for run in runs])
        self._have_bytes = None
        return self._notify(Change(lost=(runs[0][0], runs[-1][1])))

    # --- meta and manifest

    @property
    def meta(self) -> bytes | None:
        """Bytes that the program stores with the core."""
        return self.storage.meta

    @meta.setter
    def meta(self, value: bytes | None) -> None:
        if value != self.storage.meta:
            self.storage.touch()
            self.storage.meta = value

    def set_manifest(self, manifest: Manifest) -> None:
        """Store the manifest. Raises LocalProtocolError if it is not this core's."""
        if manifest.key() != self.key and not manifest.is_compat_with(self.key):
            raise LocalProtocolError("the manifest is not that of the core")
        self._set_manifest(manifest)
        self._notify(Change(manifest=True))

    # --- scrubbing

    def check_head(self) -> bool:
        """Whether the stored signature is valid for the stored roots."""
        if self.head.length == 0:
            return True
        return verify_head(self._manifest_or_default(), self.key, self.head, self.head.signature)

    def verify(self, start: int = 0) -> Iterator[tuple[int, bool]]:
        """Read every block that is present, from `start` on, and check it up to the signed roots.

        Yields its number and whether it is sound; a corrupt one is dropped, as by `get`. If the signature of
        the head is invalid, no block is sound, and none is dropped. The core may be used between two steps;
        corruption that is found meanwhile is yielded as well.
        """
        head_is_sound = self.check_head()
        lost: list[tuple[int, int]] = []

        def record(change: Change) -> None:
            if change.corrupt and change.lost is not None:
                lost.append(change.lost)

        self.add_listener(record)
        try:
            for number, contradicts in scrub_order(self._nodes, lambda: self.head, self.bitfield, start):
                if contradicts:
                    # Only a bug can cause this: neither child can be trusted, nor their neighbours
                    for child in (left_child(number), right_child(number)):
                        self._nodes.lose_page(child // NODES_PER_PAGE)
                    self._handle_corrupt_pages()
                elif self.get(number) is not None:
                    yield number, head_is_sound
                while lost:
                    yield from ((index, False) for index in range(*lost.pop(0)))
        finally:
            self.remove_listener(record)

    # --- corruption

    def _handle_corrupt_pages(self) -> bool:
        """Handle tree pages that were found corrupt. Returns False if there were none."""
        lost, self._nodes.lost = self._nodes.lost, None
        if not lost:
            return False
        self._locator.reset()
        runs: list[tuple[int, int]] = []
        for page in sorted(set(lost)):
            self._nodes.put(nodes_of_page(self._nodes, self.head, page))
            runs += self.bitfield.runs(page * _BLOCKS_PER_PAGE, (page + 1) * _BLOCKS_PER_PAGE)
        self.storage.touch()
        if runs:
            self._drop_corrupt(runs)
        return True

    def _drop_corrupt(self, runs: list[tuple[int, int]]) -> None:
        # Their space is not freed: they will be fetched again, and their offsets may be unknown.
        # Proofs for them need the roots, also if these were in a lost page.
        self._nodes.put(self.head.roots)
        self.storage.drop([Dropped(start, end, None, None) for start, end in runs])
        self._have_bytes = None
        for run in runs:
            self._notify(Change(lost=run, corrupt=True))

    # --- called by the store

    def snapshot_changes(self) -> tuple[CoreChanges | None, CoreChanges]:
        """The changes for a flush: see `CoreStorage.snapshot_changes`."""
        return self.storage.snapshot_changes(self._locator.locate)

    def commit(self, head: TreeHead) -> list[tuple[int, int]]:
        """A flush wrote the changes of `snapshot_changes`, made when the head was `head`. Returns the runs of
        blocks that became durable."""
        self._durable_head = head
        return self.storage.commit()

    # --- inside

    def _manifest_or_default(self) -> Manifest:
        return self.manifest or Manifest.default(self.key)

    def _truncate(self, length: int) -> None:
        """Delete all blocks from `length` on."""
        try:
            end = byte_offset(self._nodes, self.head.roots, 2 * length)
        except BlockNotAvailable:
            end = None
        self.storage.truncate(length, end)
        self._locator.reset()
        self._have_bytes = None

    def _set_head(self, head: TreeHead) -> None:
        self.head = self.storage.head = head
        self._locator.roots = head.roots
        self.storage.touch()

    def _set_manifest(self, manifest: Manifest) -> None:
        self.manifest = self.storage.manifest = manifest
        self.storage.touch()

    def _notify(self, change: Change, applier: Listener | None = None) -> Change:
        for listener in tuple(self._listeners):
            if listener != applier:
                listener(change)
        return change


def _check_size(head: TreeHead) -> None:
    if head.byte_length > MAX_CORE_BYTES:
        raise InvalidProof(f"a core of {head.byte_length} bytes, at most {MAX_CORE_BYTES} are accepted")
