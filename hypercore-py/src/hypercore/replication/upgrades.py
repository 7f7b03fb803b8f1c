"""Follows the writer: longer heads, the manifest, and higher forks.

One upgrade is in flight at a time for a core, over all peers: its answer leads to the head of that peer, and
the next one starts from there. It is requested only from a peer whose last `sync` acknowledges our length and
offers an upgrade; official peers that cannot give it end the connection.

One peer proves the head of a higher fork from an empty tree; then peers on that fork are asked which blocks
both histories share.
"""

from __future__ import annotations

from collections.abc import Callable

from ..merkle.reorg import Reorg
from ..wire.data import Data
from ..wire.request import Request, RequestBlock, RequestHash, RequestUpgrade
from .config import ReplicationConfig
from .context import ReplicatorContext, arm_timer
from .events import ForkAvailable, Reorged
from .interfaces import PeerView, ReplicatedCore
from .requests import InflightRequest, InflightTracker, Purpose
from .scheduler import Scheduler


class UpgradeRequester:
    def __init__(
        self,
        core: ReplicatedCore,
        config: ReplicationConfig,
        requests: InflightTracker,
        scheduler: Scheduler,
        context: ReplicatorContext,
    ) -> None:
        self.max_fork = config.max_fork
        self._core = core
        self._config = config
        self._requests = requests
        self._scheduler = scheduler
        self._context = context
        self._upgrade: InflightRequest | None = None
        self._manifest: InflightRequest | None = None
        self._proofs: dict[int, InflightRequest] = {}  # fork -> request for its head
        self._reorg: Reorg | None = None
        self._refine: InflightRequest | None = None
        self._refine_until = 0.0
        self._offered = 0

    def fill(self, peer: PeerView, now: float) -> bool:
        """Send requests about the head. True if blocks may be requested as well."""
        fork = self._core.head.fork
        if peer.down.avoids_head:
            return peer.remote_fork == fork
        if peer.remote_fork > fork:
            self._follow(peer, now)
            return False
        if peer.remote_fork < fork:
            return False
        if not peer.down.head_refused:
            self._ask_head(self._best(peer, now), now)
        return True

    def try_head(self, peer: PeerView, now: float) -> None:
        """Send a request about the head, though such a request is suspected."""
        if peer.remote_fork > self._core.head.fork:
            self._follow(peer, now)
        elif peer.remote_fork == self._core.head.fork:
            self._ask_head(peer, now)

    def _ask_head(self, peer: PeerView, now: float) -> None:
        if self._upgrade is None and self._may_upgrade(peer):
            self._ask_upgrade(peer, now)
        elif (
            self._manifest is None
            and self._core.manifest is None
            and peer.remote_has_manifest
            and peer.remote_length == 0
        ):
            self._manifest = self._send(peer, now, Purpose.MANIFEST, manifest=True)

    # --- upgrades -------------------------------------------------------------------------------------------

    def _may_upgrade(self, peer: PeerView) -> bool:
        length = self._core.head.length
        return peer.remote_length > length and peer.length_acked == length and peer.remote_can_upgrade

    def _best(self, peer: PeerView, now: float) -> PeerView:
        """The peer from which to request an upgrade: `peer` or a better one.

        One request is in flight at a time, so peers that claim a longer head and give none must not get it
        again and again while an honest peer waits.
        """
        if self._upgrade is not None or not self._may_upgrade(peer):
            return peer
        return self._with_fewest_failures(peer, self._may_upgrade, now)

    def _with_fewest_failures(self, peer: PeerView, able: Callable[[PeerView], bool], now: float) -> PeerView:
        """Of `peer` and the `able` peers on its fork, the one with the fewest failures."""
        best, fewest = peer, self._failures(peer)
        for other in self._context.peers:
            if not fewest:
                break
            failures = self._failures(other)
            if (
                failures < fewest
                and other.remote_fork == peer.remote_fork
                and now >= other.down.stalled_until
                and self._can_be_asked(other)
                and able(other)
            ):
                best, fewest = other, failures
        return best

    def _failures(self, peer: PeerView) -> int:
        """Failed requests about its head, and one more if it never gave anything of the core."""
        return peer.down.head_failures + (not self._context.fullness.is_source(peer))

    def _can_be_asked(self, peer: PeerView) -> bool:
        """Whether requests about its head may be sent."""
        return peer.may_be_asked and not peer.down.head_refused and not peer.down.avoids_head

    def _may_prove(self, peer: PeerView) -> bool:
        """Whether the head of its fork may be requested. An empty tree has no signature."""
        return peer.remote_length > 0 and not any(sent.peer is peer for sent in self._proofs.values())

    def could_ask_elsewhere(self, sent: InflightRequest) -> bool:
        """Whether another peer offers the head that `sent` requests."""
        if sent is self._upgrade:
            fork, able = self._core.head.fork, self._may_upgrade
        elif sent.purpose is Purpose.PROOF:
            fork, able = sent.fork, self._may_prove
        else:
            return False
        return any(
            peer is not sent.peer and peer.remote_fork == fork and able(peer) and self._can_be_asked(peer)
            for peer in self._context.peers
        )

    def _ask_upgrade(self, peer: PeerView, now: float) -> None:
        core, block = self._core, self._provable_block(peer)
        with_block = (
            block is not None
            and self._scheduler.open_ended
            and self._context.downloading
            and not peer.down.avoids_head  # one suspect at a time
            and peer.down.availability.has(block)
            and not self._scheduler.is_claimed(block)
        )
        length = core.head.length
        self._upgrade = self._send(
            peer,
            now,
            Purpose.UPGRADE,
            block=RequestBlock(block, 0) if with_block and block is not None else None,
            upgrade=RequestUpgrade(length, peer.remote_length - length),
            manifest=core.manifest is None and peer.remote_has_manifest,
        )

    def _provable_block(self, peer: PeerView) -> int | None:
        """A block that the answer to an upgrade can prove as well: the last one, or the first if only the
        prologue may be proven, or None.

        Official servers answer an upgrade that begins inside the manifest's prologue with one to the end of
        the prologue (lib/merkle-tree.js `generateProof`). A block behind it cannot be proven in the same
        answer, and the request for it ends the connection. The nodes behind the prologue still come, as
        additional nodes.
        """
        manifest, length = self._core.manifest, self._core.head.length
        if manifest is None:
            in_prologue = length == 0 and peer.remote_has_manifest
        else:
            in_prologue = manifest.prologue is not None and length < manifest.prologue.length
        if not in_prologue:
            return peer.remote_length - 1
        # A peer that cleared blocks may have no proof of the first one
        return 0 if length == 0 and peer.down.availability.contiguous >= peer.remote_length else None

    # --- forks ----------------------------------------------------------------------------------------------

    def _follow(self, peer: PeerView, now: float) -> None:
        fork = peer.remote_fork
        if not self.wants_fork(fork):
            return
        if peer.down.head_refused or peer.remote_length == 0:  # an empty tree has no signature
            return
        if self._reorg is not None and self._reorg.head.fork >= fork:
            if self._reorg.head.fork == fork:
                self._ask_refinement(peer, self._reorg, now)
        elif fork not in self._proofs and self._may_prove(peer):
            peer = self._with_fewest_failures(peer, self._may_prove, now)
            self._proofs[fork] = self._send(
                peer,
                now,
                Purpose.PROOF,
                fork=fork,
                upgrade=RequestUpgrade(0, peer.remote_length),
                manifest=self._core.manifest is None,
            )

    def _ask_refinement(self, peer: PeerView, reorg: Reorg, now: float) -> None:
        wanted = reorg.request()
        if wanted is None or self._refine is not None:
            return
        block = wanted.index // 2
        if peer.down.availability.has(block):
            sent = self._send(
                peer, now, Purpose.REFINE, fork=reorg.head.fork, node=wanted.index, levels=wanted.nodes
            )
            self._refine = sent
        else:
            # A peer with the block has the nodes above it. This one may have it without having announced it
            peer.want_around(block)

    def can_request_upgrade(self, fork: int) -> bool:
        """Whether our blocks may be replaced by those of a higher fork; an empty core has none to lose."""
        return self.max_fork is None or fork <= self.max_fork or self._core.head.length == 0

    def wants_fork(self, fork: int) -> bool:
        """Whether a higher fork must be handled: followed, or reported."""
        return self.can_request_upgrade(fork) or fork > self._offered

    def on_proof(self, peer: PeerView, data: Data, now: float) -> bool:
        """The head of a higher fork came. False if it is useless. Raises VerificationError."""
        if data.fork <= self._core.head.fork:
            return True  # another peer was quicker
        if data.upgrade is None:
            return False
        if not self.can_request_upgrade(data.fork):
            if data.fork > self._offered:
                head = self._core.start_reorg(data).head
                self._offered = data.fork
                self._context.emit(ForkAvailable(peer, head.fork, head.length))
            return True
        if self._reorg is None or self._reorg.head.fork < data.fork:
            self._reorg = self._core.start_reorg(data)
            self._refine = None
            self._advance(self._reorg, now)
        return True

    def on_refinement(self, data: Data, now: float) -> bool:
        """A node shared by both histories came. False if it is useless. Raises VerificationError."""
        reorg = self._reorg
        if reorg is None or data.fork != reorg.head.fork:
            return True
        if data.hash is None:
            return False
        reorg.add_answer(data)
        self._advance(reorg, now)
        return True

    def _advance(self, reorg: Reorg, now: float) -> None:
        self._refine_until = now + self._config.refine_timeout
        if reorg.done:
            self._apply(reorg)
            return
        self._context.wake_at(self._refine_until)
        for peer in self._context.peers:
            if peer.remote_fork == reorg.head.fork:
                peer.mark_dirty()

    def _apply(self, reorg: Reorg) -> None:
        self._reorg = self._refine = None
        if reorg.head.fork <= self._core.head.fork or not self.can_request_upgrade(reorg.head.fork):
            return
        change = self._context.apply_reorg(reorg)
        head = self._core.head
        ancestors = head.length if change.truncated_to is None else change.truncated_to
        self._context.emit(Reorged(head.fork, head.length, ancestors))

    def tick(self, now: float) -> None:
        """Use the coarse result if no peer gave a finer one within `refine_timeout`. Raises StorageError."""
        if self._reorg is None:
            return
        if now >= self._refine_until:
            self._apply(self._reorg)
        else:
            self._context.wake_at(self._refine_until)

    # --- requests -------------------------------------------------------------------------------------------

    def _send(
        self,
        peer: PeerView,
        now: float,
        purpose: Purpose,
        *,
        fork: int | None = None,
        block: RequestBlock | None = None,
        upgrade: RequestUpgrade | None = None,
        node: int | None = None,
        levels: int = 0,
        manifest: bool = False,
    ) -> InflightRequest:
        fork = self._core.head.fork if fork is None else fork
        index = None if block is None else block.index
        sent = InflightRequest(self._requests.next_id(), peer, fork, purpose, now, index, node)
        if not self._requests:
            arm_timer(self._context, self._config, now)
        self._requests.add(sent)
        if index is not None:
            self._scheduler.claim(index)
        peer.send_request(
            Request(
                id=sent.id,
                fork=fork,
                block=block,
                hash=None if node is None else RequestHash(node, levels),
                upgrade=upgrade,
                manifest=manifest,
            )
        )
        return sent

    def on_request_done(self, sent: InflightRequest) -> None:
        """A request was answered, refused or cancelled: another may be sent."""
        if sent is self._upgrade:
            self._upgrade = None
        elif sent is self._manifest:
            self._manifest = None
        elif sent is self._refine:
            self._refine = None
        elif sent.purpose is Purpose.PROOF and self._proofs.get(sent.fork) is sent:
            del self._proofs[sent.fork]
