"""A core: an append-only log of blocks under a signed Merkle tree, of which all or some is stored here.

`Core` knows what is valid (every block and node in it was verified), its storage knows what is durable. It is
synchronous and does no locking: it belongs to the thread of its store.

Readers get verified bytes or none. Blocks are hashed each time they come from the disk; a block that does not
match is dropped, listeners are notified, and it can be downloaded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..change import NO_CHANGE, Change
from ..crypto import KeyPair
from ..errors import BlockNotAvailable, InvalidProof, LocalProtocolError, VerificationError
from ..manifest import Manifest
from ..merkle.batch import TreeBatch
from ..merkle.flat_tree import full_roots, left_child, right_child
from ..merkle.hashing import leaf_node
from ..merkle.head import TreeHead
from ..merkle.offsets import byte_offset
from ..merkle.reorg import Reorg
from ..merkle.signing import sign_head, verify_head
from ..merkle.source import require_node
from ..merkle.verify import Verified, verify_data
from ..storage.base import Dropped
from ..storage.node_pages import NODES_PER_PAGE
from ..wire.data import Data
from .scrub import scrub_order
from .stored import Listener, StoredCore

MAX_BLOCK_BYTES = 15 << 20
"""Largest block that can be appended: the limit of the official writer (hypercore index.js)."""

MAX_CORE_BYTES = 1 << 43
"""Byte length beyond which an upgrade is refused (8 TiB): half of what an ext4 file can be. A writer may
sign any number, and a place that no file can have would make every flush fail."""


class Core(StoredCore):
    """Made by a `Store`."""

    __slots__ = ()

    # --- a peer's data

    def apply(self, data: Data, *, applier: Listener | None = None) -> Change:
        """Verify an answer and take it in, all of it or nothing. Returns what has changed.

        All listeners but `applier` are notified of it; that one has the result. Damage that is found on the
        way is another change, of which it is notified like the others. Raises VerificationError or a child
        of it.
        """
        try:
            verified = verify_data(data, self.head, self._nodes, self.key, self.manifest)
        except VerificationError:
            if self._handle_corrupt_pages():
                return NO_CHANGE  # our own tree had a hole: the peer may well be right
            raise
        return self._commit(verified, applier)

    def start_reorg(self, data: Data) -> Reorg:
        """Begins to follow the writer onto a higher fork. Raises VerificationError or a child of it."""
        try:
            return Reorg.start(data, self.head, self._nodes, self.key, self.manifest)
        finally:
            self._handle_corrupt_pages()

    def apply_reorg(self, reorg: Reorg, *, applier: Listener | None = None) -> Change:
        """Adopt a fork: what both trees share stays, the rest of the old one goes. In one piece. `applier` as
        for `apply`."""
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

        Raises LocalProtocolError if the key pair may not sign or a block is above MAX_BLOCK_BYTES. The new
        head must not be announced before a flush has made it durable: after a crash the writer would sign
        another one of the same length.
        """
        manifest = self.manifest or Manifest.default(self.key)
        batch = TreeBatch(self.head.roots, fork=self.head.fork)
        start = self.head.length
        for index, block in enumerate(blocks, start):
            if len(block) > MAX_BLOCK_BYTES:
                raise LocalProtocolError(
                    f"a block of {len(block)} bytes, at most {MAX_BLOCK_BYTES} are allowed"
                )
            batch.append_root(leaf_node(index, block), claimed=False)
        if not batch.upgraded:
            return NO_CHANGE
        head = batch.head(self._sign(manifest, batch, key_pair))
        _check_size(head)
        self._nodes.put(batch.new)
        self._set_head(head)
        for index, block in enumerate(blocks, start):
            self.storage.add_block(index, bytes(block))
        self._have_bytes = None
        return self._notify(Change(upgraded=True, appended=(start, head.length)))

    def truncate(self, length: int, key_pair: KeyPair, fork: int | None = None) -> Change:
        """Cuts the core to `length` blocks, on a new fork (the next one unless given), and signs that.

        Raises LocalProtocolError for a length or fork that is no truncation, BlockNotAvailable if nodes are
        missing.
        """
        manifest = self.manifest or Manifest.default(self.key)
        fork = self.head.fork + 1 if fork is None else fork
        if not 0 <= length <= self.head.length or fork <= self.head.fork:
            raise LocalProtocolError(f"cannot truncate {self!r} to {length} blocks on fork {fork}")
        if manifest.prologue is not None and length < manifest.prologue.length:
            raise LocalProtocolError(f"cannot cut into the prologue of {manifest.prologue.length} blocks")
        roots = [require_node(self._nodes, index) for index in full_roots(length)]
        batch = TreeBatch(roots, fork=fork)
        head = batch.head(self._sign(manifest, batch, key_pair))
        self._truncate(length)
        self._set_head(head)
        return self._notify(Change(upgraded=True, truncated_to=length))

    def clear(self, start: int, end: int | None = None) -> Change:
        """Forgets blocks start..end and frees their room. The tree stays, so they can be fetched again."""
        runs = list(self.bitfield.runs(start, end))
        if not runs:
            return NO_CHANGE
        self.storage.drop([self._dropped(*run) for run in runs])
        self._have_bytes = None
        return self._notify(Change(lost=(runs[0][0], runs[-1][1])))

    def _sign(self, manifest: Manifest, tree: TreeBatch, key_pair: KeyPair) -> bytes | None:
        prologue = None if manifest.is_compat_with(self.key) else manifest.prologue
        if manifest.version and prologue is not None and tree.length <= prologue.length and not tree.fork:
            return None
        return sign_head(manifest, self.key, tree, key_pair)

    # --- what else is kept

    @property
    def meta(self) -> bytes | None:
        """Bytes that the program keeps with the core."""
        return self.storage.meta

    @meta.setter
    def meta(self, value: bytes | None) -> None:
        if value != self.storage.meta:
            self.storage.meta = value
            self.storage.touch()

    def set_manifest(self, manifest: Manifest) -> None:
        """Raises LocalProtocolError if it is not this core's."""
        if manifest.key() != self.key and not manifest.is_compat_with(self.key):
            raise LocalProtocolError("the manifest is not that of the core")
        self._set_manifest(manifest)
        self._notify(Change(manifest=True))

    # --- scrubbing

    def check_head(self) -> bool:
        """Whether the stored signature holds for the stored roots."""
        if self.head.length == 0:
            return True
        manifest = self.manifest or Manifest.default(self.key)
        return verify_head(manifest, self.key, self.head, self.head.signature)

    def verify(self, start: int = 0) -> Iterator[tuple[int, bool]]:
        """Reads every block that is present, from `start` on, and checks it up to the signed roots.

        Gives its number and whether it is sound; what is not is dropped, as by `get`. With a head whose
        signature does not hold no block is sound, and none is dropped. The core may be used between two
        steps; damage that others find meanwhile is given as well.
        """
        head_is_sound = self.check_head()
        lost: list[tuple[int, int]] = []

        def note(change: Change) -> None:
            if change.corrupt and change.lost is not None:
                lost.append(change.lost)

        self.add_listener(note)
        try:
            for number, contradicts in scrub_order(self._nodes, lambda: self.head, self.bitfield, start):
                if contradicts:
                    # As only a bug could leave them: neither child is worth anything, nor is what lies beside
                    for child in (left_child(number), right_child(number)):
                        self._nodes.lose_page(child // NODES_PER_PAGE)
                    self._handle_corrupt_pages()
                elif self.get(number) is not None:
                    yield number, head_is_sound
                while lost:
                    yield from ((index, False) for index in range(*lost.pop(0)))
        finally:
            self.remove_listener(note)

    # --- inside

    def _dropped(self, start: int, end: int) -> Dropped:
        try:
            first = self._locate(start)[0]
            return Dropped(start, end, first, sum(self._locate(end - 1)))
        except BlockNotAvailable:
            return Dropped(start, end, None, None)

    def _truncate(self, length: int) -> None:
        """Forgets all from block `length` on."""
        try:
            end = byte_offset(self._nodes, self.head.roots, 2 * length)
        except BlockNotAvailable:
            end = None
        self.storage.truncate(length, end)
        self._hint = (0, 0)
        self._have_bytes = None

    def _set_head(self, head: TreeHead) -> None:
        self.head = self.storage.head = head
        self.storage.touch()

    def _set_manifest(self, manifest: Manifest) -> None:
        self.manifest = self.storage.manifest = manifest
        self.storage.touch()


def _check_size(head: TreeHead) -> None:
    if head.byte_length > MAX_CORE_BYTES:
        raise InvalidProof(f"a core of {head.byte_length} bytes, at most {MAX_CORE_BYTES} are accepted")
